"""A folder of results as a report's content. What lies there is not trusted: sizes and types are checked."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from subpx_ros.errors import DataError
from subpx_ros.report.content import Part, Picture, Report
from subpx_ros.report.kinds import KINDS

_MOST_TEXT_BYTES = 256 << 20
_MOST_PICTURE_BYTES = 32 << 20
_MOST_PICTURES = 200
_MOST_PIXELS = 1 << 26

_CAPTIONS = {
    "trajectory": "Top view of the estimated path, against the truth where it is known, and the position error along it.",
    "drift": "KITTI drift of translation and rotation over the length of a segment and over speed.",
    "frames": "Matches and inliers of every frame, and the time that its stages took.",
    "matches": "Matches of two frames at their refined positions; lines are inliers, coloured by how far refinement "
    "moved them, dots are other matches.",
    "offsets": "How far, and in which direction, refinement moves the second point of a match.",
    "recall": "Share of the pairs whose error is below the value on the axis.",
    "latency": "Median time per stage; whiskers reach the 95th percentile.",
    "inliers": "Share of the matches that agree with the estimated pose.",
    "patches": "Patches of both images around matches, with the detected, the refined and the true points.",
}
"""By the name of the picture, or what it begins with; in the order of the page."""


def read_report(folder: Path) -> Report:
    """What the folder of a run, a benchmark or a training holds.

    Raises:
        DataError: it is none, a file in it is broken, or a picture is no PNG.
    """
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder: give the --out of a run, a benchmark or a training")
    found = [name for name in KINDS if (folder / name).is_file()]
    if not found:
        raise DataError(
            f"{folder} holds no results: one of {', '.join(KINDS)} is required, as 'subpx run', 'replay', 'eval', "
            "'bench', 'export' and 'train' leave them (a run that was stopped leaves none)"
        )
    found_pictures = [*folder.glob("*.png"), *folder.glob("pictures/**/*.png")]
    # A dot before the name: a command is just writing it.
    pictures = sorted((path for path in found_pictures if not path.name.startswith(".")), key=_order)
    if len(pictures) > _MOST_PICTURES:
        raise DataError(f"{folder} holds {len(pictures)} pictures: at most {_MOST_PICTURES} go into one page")
    settings = folder / "config.yaml"
    return Report(
        [_part(folder / name) for name in found],
        [_picture(path, folder) for path in pictures],
        _text(settings) if settings.is_file() else "",
    )


def _part(path: Path) -> Part:
    text = _text(path)
    try:
        values = json.loads(text, parse_constant=_refuse)
        if not isinstance(values, Mapping):
            raise TypeError("an object was expected")
        return KINDS[path.name](values)
    except RecursionError:
        raise DataError(f"{path} is nested too deeply for a file of results") from None
    except (ValueError, TypeError, KeyError, AttributeError, IndexError) as error:
        reason = f"{error.args[0]!r} is missing" if isinstance(error, KeyError) else str(error)
        raise DataError(f"{path} is not what this version writes: {reason[:200]}; run the command again") from None


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is no JSON")


def _text(path: Path) -> str:
    content = _bytes(path, _MOST_TEXT_BYTES)
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        raise DataError(f"{path} is not a text file") from None


def _bytes(path: Path, most: int) -> bytes:
    try:
        with path.open("rb") as stream:
            content = stream.read(most + 1)
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from None
    if len(content) > most:
        raise DataError(f"{path} has more than {most >> 20} MiB, too much for a page")
    return content


def _picture(path: Path, folder: Path) -> Picture:
    from PIL import Image

    png = _bytes(path, _MOST_PICTURE_BYTES)
    try:
        with Image.open(io.BytesIO(png), formats=["PNG"]) as image:
            width, height = image.size
            image.verify()
    except Exception:  # noqa: BLE001 - the decoder raises whatever a damaged file leads it to
        raise DataError(f"{path} is no whole PNG file: remove it or run the command again") from None
    if width * height > _MOST_PIXELS:
        raise DataError(f"{path} has {width}x{height} pixels, too many for a page: remove it")
    name = path.relative_to(folder).with_suffix("").as_posix()
    return Picture(name, _caption(path.stem, name), width, height, png)


def _order(path: Path) -> tuple[int, Path]:
    known = _known(path.stem)
    return (list(_CAPTIONS).index(known) if known else len(_CAPTIONS)), path


def _known(stem: str) -> str | None:
    return next((name for name in (stem, stem.partition("_")[0]) if name in _CAPTIONS), None)


def _caption(stem: str, name: str) -> str:
    known = _known(stem)
    if known is None:
        return name
    return _CAPTIONS[known] if name == known else f"{name}: {_CAPTIONS[known]}"
