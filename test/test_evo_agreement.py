"""ATE and RPE against evo: its stored figures always, evo itself where it is installed. The package never imports it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_metrics import drive, moved, scaled

from subpx_ros.datatypes import Array
from subpx_ros.evaluation.accuracy import accuracy
from subpx_ros.evaluation.compare import evaluate
from subpx_ros.evaluation.metrics import absolute_error, relative_errors, rescaled
from subpx_ros.geometry import rotation_from_vector, se3

DATA = Path(__file__).parent / "data" / "evo"
RUNS: list[dict[str, Any]] = json.loads((DATA / "figures.json").read_text())["runs"]
TOLERANCE = 1e-6


@pytest.mark.parametrize("run", RUNS, ids=lambda run: str(run["command"]))
def test_stored_figures_of_evo(run: dict[str, Any]) -> None:
    ours = evaluate(DATA / "estimate.tum", DATA / "truth.tum", align_scale=run["align_scale"])
    if run["figure"] == "ate_m":
        assert ours["ate_m"] == pytest.approx(run["rmse"], abs=TOLERANCE)
    else:
        name = {"rpe_m": "t_m", "rpe_deg": "r_deg"}[run["figure"]]
        assert ours["rpe"][f"{name}_rmse"] == pytest.approx(run["rmse"], abs=TOLERANCE)
        assert ours["rpe"][f"{name}_median"] == pytest.approx(run["median"], abs=TOLERANCE)


@pytest.mark.parametrize("align_scale", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_evo_itself_gives_the_same(seed: int, align_scale: bool) -> None:
    reason = "evo is not installed; it is GPL and no requirement: pip install evo in a venv of your own"
    metrics = pytest.importorskip("evo.core.metrics", reason=reason)
    trajectory = pytest.importorskip("evo.core.trajectory", reason=reason)
    generator = np.random.default_rng(seed)
    truth = drive(200, seed)
    noise = [se3(rotation_from_vector(generator.normal(0, 0.01, 3)), generator.normal(0, 0.1, 3)) for _ in truth]
    estimate = moved(scaled(truth, 1.0 if seed % 2 else 0.8) @ np.array(noise))

    def figure(kind: Any, statistic: Any, align: bool) -> float:
        reference, other = (trajectory.PosePath3D(poses_se3=list(poses)) for poses in (truth, estimate))
        if align:
            other.align(reference, correct_scale=align_scale)
        elif align_scale:
            other.align(reference, correct_only_scale=True)
        kind.process_data((reference, other))
        return float(kind.get_statistic(statistic))

    def relative(relation: Any, statistic: Any) -> float:
        return figure(metrics.RPE(relation, delta=1, delta_unit=metrics.Unit.frames), statistic, align=False)

    kinds, relations = metrics.StatisticsType, metrics.PoseRelation
    ours = accuracy(estimate, truth, align_scale)
    ate = figure(metrics.APE(relations.translation_part), kinds.rmse, align=True)
    assert ours["ate_m"] == pytest.approx(ate, abs=TOLERANCE)
    assert absolute_error(estimate, truth, align_scale) == pytest.approx(ate, abs=TOLERANCE)
    for name, relation in (("t_m", relations.translation_part), ("r_deg", relations.rotation_angle_deg)):
        for end, statistic in (("rmse", kinds.rmse), ("median", kinds.median)):
            assert ours["rpe"][f"{name}_{end}"] == pytest.approx(relative(relation, statistic), abs=TOLERANCE)
    shown: Array | None = rescaled(estimate, truth) if align_scale else estimate
    assert shown is not None
    assert relative_errors(shown, truth)[0].max() == pytest.approx(
        relative(relations.translation_part, kinds.max), abs=TOLERANCE
    )
