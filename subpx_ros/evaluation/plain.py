"""The plain pipeline that speed is compared with: every image through the detector as its library gives it, the
published refiner as its authors run it, a robust pose. Written for the comparison only.
"""

from __future__ import annotations

import numpy as np
import poselib
import torch
from numpy.typing import NDArray
from torch.nn.functional import normalize, pad

from subpx_ros import weights
from subpx_ros.config import Config, RefinementConfig
from subpx_ros.datatypes import Features, Frame, Matches
from subpx_ros.fit import shipped_keypt2subpx
from subpx_ros.pipeline import FrontEnd
from subpx_ros.pose import ransac_mono, ransac_options
from subpx_ros.refinement.keypt2subpx import PATCH_RADIUS, Keypt2SubpxNetwork, network_for
from subpx_ros.relative_motion import Stopwatch
from subpx_ros.triangulation import StereoPoints, triangulate

_SIDE = 2 * PATCH_RADIUS + 1


def published_network(detector: str) -> Keypt2SubpxNetwork:
    """The network of the published refiner for a detector, with the weights that the package ships for it.

    Time does not depend on the values of weights. Raises WeightsError where none fit.
    """
    name = shipped_keypt2subpx(detector)
    tensors, source = weights.load_chosen(RefinementConfig().weights, name, lambda line: None)
    return network_for(tensors, source).eval()


def refine_as_published(
    network: Keypt2SubpxNetwork,
    keypoints: tuple[torch.Tensor, torch.Tensor],
    maps: tuple[torch.Tensor, torch.Tensor],
    descriptors: tuple[torch.Tensor, torch.Tensor],
) -> tuple[torch.Tensor, torch.Tensor]:
    """Refined keypoints of both views (M, 2), computed as by the authors' module: all patches of a view in one batch.

    Arguments as `refine_pairs` takes them. Like that module this checks the range of the images, gathers patches pixel
    by pixel, one map at a time, and computes the soft-argmax with a term that keeps its sum from zero.
    """
    mean = (descriptors[0] + descriptors[1]) / 2.0
    refined = []
    for points, view in zip(keypoints, maps, strict=True):
        if not bool((view[0] < 1.0 + 1e-5).all()) or not bool((view[0] > -1.0 - 1e-5).all()):
            raise ValueError("grey in [0, 1] is required")
        patches = torch.cat([_gathered(each[None], points) for each in view], dim=1)
        for layer in (network.conv1a, network.conv1b, network.conv2a, network.conv2b):
            patches = torch.relu_(layer(patches))
        response = (normalize(network.conv3(patches), dim=1) * mean[:, :, None, None]).sum(dim=1)
        refined.append(points + 2.5 * _soft_argmax(response))
    return refined[0], refined[1]


def _gathered(image: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
    """Patches (M, 1, 11, 11) of an image (1, H, W)."""
    padded = pad(image, (PATCH_RADIUS,) * 4)
    corner = points.int().long()
    corner = torch.stack([corner[:, axis].clamp(0, padded.shape[2 - axis] - 1 - _SIDE) for axis in (0, 1)], dim=1)
    steps = torch.arange(_SIDE, device=points.device)
    x, y = torch.meshgrid(steps, steps, indexing="xy")
    places = (torch.stack([x, y], dim=2)[:, :, None] + corner).reshape(-1, 2)
    sampled = padded.permute(1, 2, 0)[places[:, 1], places[:, 0]]
    return sampled.reshape(_SIDE, _SIDE, -1, 1).permute(2, 3, 0, 1)


def _soft_argmax(response: torch.Tensor) -> torch.Tensor:
    """(M, 2) x and y from the middle of responses (M, 5, 5)."""
    flat = response.flatten(1)
    weight = torch.exp(flat - flat.amax(dim=1, keepdim=True))
    share = 1.0 / (weight.sum(dim=1, keepdim=True) + 1e-6)
    steps = torch.linspace(0, 4, 5, device=response.device)
    y, x = torch.meshgrid(steps, steps, indexing="ij")
    places = [((axis.flatten() * weight) * share).sum(dim=1) for axis in (x, y)]
    return torch.stack(places, dim=1) - 2.0


class PlainPipeline:
    """Relates every frame to the one before it and keeps nothing else."""

    def __init__(self, config: Config, front_end: FrontEnd) -> None:
        self._config, self._front_end = config, front_end
        self._network = published_network(front_end.detector.name).to(front_end.device)
        self._detector = _LibraryXfeat(config, front_end) if front_end.detector.name == "xfeat" else None

    def relate(self, before: Frame, frame: Frame, watch: Stopwatch) -> None:
        """The pose of `frame` by that before it. Stereo: the reference pair is known; the new pair is described and
        matched along the rows. One camera: both images are described, as the published module takes pairs."""
        stereo = frame.right_image is not None
        first = self._detect([before.image])[0] if stereo else None
        with watch.stage("total"):
            with watch.stage("features"):
                images = (
                    [frame.image, frame.right_image] if frame.right_image is not None else [before.image, frame.image]
                )
                views = [self._detect([image])[0] for image in images]
            current = views[0] if stereo else views[1]
            reference = first if first is not None else views[0]
            if stereo:
                self._stereo(views, frame, watch)
            with watch.stage("matching"):
                matches = self._front_end.match(reference, current)
            with watch.stage("refinement"):
                points0, points1 = self._refine(reference, current, matches)
            with watch.stage("pose"):
                self._pose(points0, points1, frame, matches)

    def _detect(self, images: list[NDArray[np.uint8]]) -> list[Features]:
        if self._detector is None:
            return self._front_end.detect(images)
        return self._detector(images)

    def _stereo(self, views: list[Features], frame: Frame, watch: Stopwatch) -> None:
        assert frame.rig.right is not None
        with watch.stage("stereo"):
            found = self._front_end.match_along_rows(views[0], views[1], frame.rig.left.cx - frame.rig.right.cx)
        with watch.stage("refinement"):
            left, right = self._refine(views[0], views[1], found)
        self._disparity = np.full(len(views[0]), np.nan)
        self._disparity[found.indices0.cpu().numpy()] = left[:, 0] - right[:, 0]

    def _refine(self, first: Features, second: Features, matches: Matches) -> tuple[NDArray[np.float64], ...]:
        # The authors run it without gradients.
        with torch.no_grad():
            refined = refine_as_published(
                self._network,
                (first.keypoints[matches.indices0], second.keypoints[matches.indices1]),
                (_maps(first, self._network), _maps(second, self._network)),
                (first.descriptors[matches.indices0], second.descriptors[matches.indices1]),
            )
        return tuple(each.cpu().numpy().astype(np.float64) for each in refined)

    def _pose(self, points0: NDArray[np.float64], points1: NDArray[np.float64], frame: Frame, matches: Matches) -> None:
        camera, config = frame.rig.left, self._config.pose
        if frame.right_image is None:
            ransac_mono(points0, points1, camera, camera, config)
            return
        seen = StereoPoints(points1, self._disparity[matches.indices1.cpu().numpy()])
        points = triangulate(seen, frame.rig)
        usable = np.isfinite(points[:, 2])
        if np.count_nonzero(usable) >= config.min_matches:
            options = ransac_options(config) | {"max_reproj_error": config.reprojection_threshold_px}
            pinhole = {"model": "PINHOLE", "width": camera.width, "height": camera.height}
            pinhole |= {"params": [camera.fx, camera.fy, camera.cx, camera.cy]}
            poselib.estimate_absolute_pose(points0[usable], points[usable], pinhole, options)


def _maps(features: Features, network: Keypt2SubpxNetwork) -> torch.Tensor:
    if not network.use_score_map or features.score_map is None:
        return features.image[None]
    return torch.stack([features.image, features.score_map])


class _LibraryXfeat:
    """kornia's own XFeat, from image to descriptors."""

    def __init__(self, config: Config, front_end: FrontEnd) -> None:
        from kornia.feature.xfeat import XFeat

        self._xfeat = XFeat(config.features.max_keypoints, config.features.detection_threshold)
        tensors, source = weights.load_chosen(config.features.weights, "xfeat", lambda line: None)
        weights.load_into(self._xfeat.net, tensors, source)
        self._xfeat = self._xfeat.eval().to(front_end.device)
        self._device = front_end.device

    def __call__(self, images: list[NDArray[np.uint8]]) -> list[Features]:
        views = []
        for image in images:
            grey = torch.from_numpy(image).to(self._device).float().div_(255.0)
            found = self._xfeat.detectAndCompute(grey[None, None])[0]
            views.append(Features(found["keypoints"], found["scores"], found["descriptors"], grey))
        return views
