"""The exceptions of this package: one root, so that the command line can tell bad input from a defect."""

from __future__ import annotations


class SubpxError(Exception):
    """Bad usage, configuration or input. The message says what was required, what came and what to do."""


class ConfigError(SubpxError):
    """A setting is unknown, of the wrong type or out of its range."""


class DataError(SubpxError):
    """A data set, image, bag or trajectory is missing, damaged or inconsistent."""


class WeightsError(SubpxError):
    """A checkpoint is missing, damaged, tampered with or does not fit."""


class DeviceError(SubpxError):
    """The compute device asked for is not available."""


class TrainingError(SubpxError):
    """A training cannot go on: its loss is not finite, or it does not belong to what is on disk."""
