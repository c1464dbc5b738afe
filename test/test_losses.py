"""The losses of training: against plain computations, and what they must not react to."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from subpx_ros.datatypes import Camera
from subpx_ros.geometry import essential_matrix, rotation_from_vector, sampson_distance, se3
from subpx_ros.training.losses import (
    clamped_sampson_loss,
    covariance_loss,
    end_point_loss,
    refinement_loss,
    squared_sampson_px,
)

CAMERA = Camera(500.0, 500.0, 320.0, 240.0, 640, 480)
E = essential_matrix(se3(rotation_from_vector(np.array([0.02, -0.05, 0.01])), np.array([1.0, 0.1, 0.2])))


def points(seed: int, count: int = 50) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).uniform(0.0, 480.0, (count, 2))).float()


def test_squared_sampson_is_that_of_the_geometry_in_pixels() -> None:
    keypoints0, keypoints1 = points(0), points(1)
    squared = squared_sampson_px(E, keypoints0, keypoints1, CAMERA, CAMERA).numpy()
    rays0, rays1 = (CAMERA.normalise(each.numpy()) for each in (keypoints0, keypoints1))
    # With one focal length for both axes and cameras a distance on the plane z = 1 is one in pixels over it.
    assert np.allclose(squared, (500.0 * sampson_distance(E, rays0, rays1)) ** 2, rtol=1e-6)


def test_matches_beyond_the_threshold_count_as_it_and_have_no_gradient() -> None:
    keypoints0, keypoints1 = points(0), points(1).requires_grad_()
    distance = squared_sampson_px(E, keypoints0, keypoints1, CAMERA, CAMERA).detach().sqrt()
    threshold = float(distance.median())
    loss = clamped_sampson_loss(E, keypoints0, keypoints1, CAMERA, CAMERA, threshold)
    assert loss.item() == pytest.approx(float(distance.clamp_max(threshold).square().mean()))
    loss.backward()
    assert keypoints1.grad is not None
    beyond = distance > threshold
    assert 0 < int(beyond.sum()) < len(beyond)
    assert torch.all(keypoints1.grad[beyond] == 0) and torch.all(keypoints1.grad[~beyond].abs().sum(dim=1) > 0)


def test_end_point_loss_is_the_mean_length() -> None:
    errors = torch.tensor([[3.0, 4.0], [0.0, 1.0]])
    assert float(end_point_loss(errors)) == pytest.approx(3.0, abs=1e-3)
    zero = torch.zeros(2, 2, requires_grad=True)
    end_point_loss(zero).backward()
    assert zero.grad is not None and torch.all(torch.isfinite(zero.grad))


def test_covariance_loss_is_least_at_the_true_covariance() -> None:
    generator = np.random.default_rng(0)
    covariance = np.array([[0.30, 0.12], [0.12, 0.15]])
    errors = torch.from_numpy(generator.multivariate_normal([0.0, 0.0], covariance, 4000)).float()
    # U with U covariance U^T = 1.
    u11 = 1.0 / np.sqrt(covariance[1, 1])
    u00 = np.sqrt(np.linalg.inv(covariance)[0, 0])
    u01 = np.linalg.inv(covariance)[0, 1] / u00
    right = torch.tensor([np.log(u00), u01, np.log(u11)], dtype=torch.float32)
    least = float(covariance_loss(errors, right.expand(len(errors), 3)))
    for change in torch.cat([0.2 * torch.eye(3), -0.2 * torch.eye(3)]):
        assert float(covariance_loss(errors, (right + change).expand(len(errors), 3))) > least + 0.001


def test_covariance_teaches_no_shift() -> None:
    errors = torch.randn(5, 2, generator=torch.Generator().manual_seed(0)).requires_grad_()
    whitening = torch.zeros(5, 3, requires_grad=True)
    covariance_loss(errors, whitening).backward()
    assert errors.grad is None and whitening.grad is not None and whitening.grad.abs().sum() > 0


def test_every_stage_learns_its_end_point_and_the_last_its_covariance() -> None:
    stages = [
        (torch.ones(4, 2, requires_grad=True), torch.zeros(4, 3, requires_grad=True)),
        (torch.full((4, 2), 0.5, requires_grad=True), torch.zeros(4, 3, requires_grad=True)),
    ]
    refinement_loss(stages).backward()
    assert stages[0][0].grad is not None and stages[1][0].grad is not None
    assert stages[0][1].grad is None and stages[1][1].grad is not None
