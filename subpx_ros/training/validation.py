"""How good a network is on pairs that it does not learn from."""

from __future__ import annotations

import numpy as np
import torch

from subpx_ros.config import PoseConfig
from subpx_ros.evaluation.pose_auc import THRESHOLDS_DEG, area_under_curve, pose_error_deg
from subpx_ros.pose import ransac_mono
from subpx_ros.training.config import TrainConfig
from subpx_ros.training.matches import MatchStore, StoredPair
from subpx_ros.training.networks import Chosen, Shifts, TrainableNetwork

INLIER_PX = 3.0
"""Matches whose detected end-point error is larger are wrong ones, which no refiner is to mend."""


@torch.no_grad()
def validate(
    network: TrainableNetwork, store: MatchStore, pairs: list[int], config: TrainConfig, device: torch.device
) -> dict[str, float]:
    """loss, auc5, auc10, auc20 (percent, PoseLib at 1 px) and end_point_px, each also before refinement (`detected_…`).

    A figure that the data does not allow is left out: end points need exact targets, poses a scene that is not flat.
    """
    losses: list[tuple[float, float]] = []
    poses: list[tuple[float, float]] = []
    errors: list[torch.Tensor] = []
    network.eval()
    for index in pairs:
        pair = store.read(index)
        indices = torch.arange(len(pair))
        chosen = Chosen.of(pair, indices, device)
        stages = network(*(tensor.to(device) for tensor in network.inputs(pair, indices)))
        still = Shifts(*(torch.zeros_like(field) for field in stages[-1]))
        losses.append((float(network.loss(chosen, stages)), float(network.loss(chosen, [still] * len(stages)))))
        if pair.essential is not None and not pair.flat:
            poses.append((_pose_error(pair, chosen, stages[-1]), _pose_error(pair, chosen, still)))
        both = torch.stack([chosen.end_point_errors(shifts).norm(dim=1) for shifts in (stages[-1], still)], dim=1)
        errors.append(both[both.isfinite().all(dim=1) & (both[:, 1] < INLIER_PX)].cpu())
    network.train()

    metrics: dict[str, float] = {}
    for column, prefix in enumerate(("", "detected_")):
        metrics[f"{prefix}loss"] = float(np.mean([each[column] for each in losses]))
        if poses:
            areas = area_under_curve([each[column] for each in poses])
            metrics |= {
                f"{prefix}auc{limit:.0f}": 100.0 * area for limit, area in zip(THRESHOLDS_DEG, areas, strict=True)
            }
        end_points = torch.cat(errors)[:, column]
        if len(end_points):
            metrics[f"{prefix}end_point_px"] = float(end_points.double().mean())
    return metrics


def _pose_error(pair: StoredPair, chosen: Chosen, shifts: Shifts) -> float:
    refined0, refined1 = (
        (keypoints + shift).cpu().numpy().astype(np.float64)
        for keypoints, shift in ((chosen.keypoints0, shifts.shift0), (chosen.keypoints1, shifts.shift1))
    )
    assert pair.T_0_1 is not None
    found = ransac_mono(refined0, refined1, pair.camera0, pair.camera1, PoseConfig())
    return pose_error_deg(found[0] if found else None, pair.T_0_1)
