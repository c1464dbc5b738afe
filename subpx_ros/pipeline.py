"""Two views in, refined matches out: the stages that odometry, `subpx match` and training share."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from subpx_ros.config import Config
from subpx_ros.datatypes import Features, Matches, RefinedMatches
from subpx_ros.device import select_device, set_threads
from subpx_ros.features import create_detector
from subpx_ros.fit import check_fit
from subpx_ros.matching import create_matcher
from subpx_ros.matching.mutual_nn import StereoRowMatcher
from subpx_ros.processors import team_of_this_thread
from subpx_ros.refinement import create_refiner
from subpx_ros.static.stages import in_fixed_size

_SHARED_BY_THREADS = 1 << 20
"""Numbers: PyTorch lets all of its threads work on so many."""


class FrontEnd:
    """Detector, matchers and refiner as the configuration names them, loaded once."""

    def __init__(self, config: Config, report: Callable[[str], None] = lambda line: None) -> None:
        """
        Args:
            config: all settings.
            report: called with lines for people while models load, and when a GPU does not do what it should.

        Raises:
            SubpxError: a model, its weights or the device cannot be had.
        """
        check_fit(config)
        self.device = select_device(config.device)
        set_threads(config.threads)
        self._team = team_of_this_thread(lambda: torch.zeros(_SHARED_BY_THREADS).add_(1.0), torch.get_num_threads())
        self.detector = create_detector(config.features, self.device, report)
        self.matcher = create_matcher(config.matching, self.detector, self.device, report)
        self.stereo_matcher = StereoRowMatcher(config.matching)
        self.refiner = create_refiner(config.refiner, config.refinement, self.detector, self.device, report)
        if config.fixed_size == "on" or (config.fixed_size == "auto" and self.device.type == "cuda"):
            self.detector, self.matcher, self.refiner = in_fixed_size(self.detector, self.matcher, self.refiner, report)
        self._stereo = config.matching.stereo

    @property
    def stereo_by_patches(self) -> bool:
        """Whether right points are searched for, instead of the right image being described."""
        return self._stereo == "patches" or (self._stereo == "auto" and self.refiner.name == "subpx")

    def reconfigure(self, config: Config) -> None:
        """Other limits of detector and matchers, from the next frame on; the models stay as they are."""
        self.detector.reconfigure(config.features)
        self.matcher.reconfigure(config.matching)
        self.stereo_matcher = StereoRowMatcher(config.matching)

    def detect(self, images: Sequence[NDArray[np.uint8]]) -> list[Features]:
        """Features of each image: the first that is computed of a frame, after a pause perhaps."""
        with self._team.apart():
            return self.detector.detect(images)

    def match(self, features0: Features, features1: Features) -> Matches:
        return self.matcher.match(features0, features1)

    def match_along_rows(self, left: Features, right: Features, principal_offset_px: float) -> Matches:
        return self.stereo_matcher.match(left, right, principal_offset_px)

    def refine(self, features0: Features, features1: Features, matches: Matches) -> RefinedMatches:
        return self.refiner.refine(features0, features1, matches)

    def refine_tracked(
        self,
        firsts: Sequence[Features],
        number: NDArray[np.intp],
        features1: Features,
        matches: Matches,
    ) -> RefinedMatches:
        """As `refine`, of matches whose first keypoints lie in the views with the given numbers (M,)."""
        return self.refiner.refine_tracked(firsts, number, features1, matches)
