"""`subpx bench refiner`: refiners against each other on data that none of ours was trained on, in one run.

Every figure stands beside that of the points as detected and, where there are weights for the detector, of Keypt2Subpx
as published and as trained by us (`retrained`). Held back are the `held_back` photographs and a street of another seed,
whose layout is new but whose surfaces are made of the photographs that training may use; a KITTI folder and a folder of
posed photographs are never trained on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from subpx_ros import __version__
from subpx_ros.config import load_config
from subpx_ros.console import note, say
from subpx_ros.evaluation.bench_results import Table
from subpx_ros.evaluation.environment import library_versions, machine
from subpx_ros.evaluation.refiner_checks import (
    EndPoints,
    Refiners,
    SecondOnly,
    calibration,
    end_point_errors,
    microseconds_per_match,
    pose_accuracy,
    row_residuals,
)
from subpx_ros.evaluation.run import write_json
from subpx_ros.evaluation.side_by_side import PUBLISHED, RETRAINED, refiners_for
from subpx_ros.output import output_folder
from subpx_ros.pipeline import FrontEnd
from subpx_ros.training.config import StreetSourceConfig, WarpsSourceConfig
from subpx_ros.training.sources import PairSource

DETECTORS = ("xfeat", "aliked", "sift")
"""Presets of the package."""
_WARPS_SEED, _STREET_SEED = 20001, 30001


def run_bench(
    out: Path,
    kitti: Path | None = None,
    pairs: Path | None = None,
    device: str = "auto",
    presets: Sequence[str] = DETECTORS,
    warps: int = 28,
    street: int = 12,
) -> dict[str, Any]:
    """Measure, print tables, and write `refiner_bench.json` and the pictures into `out`.

    Args:
        out: folder for the outputs.
        kitti: a KITTI stereo sequence folder; without it there are no row residuals.
        pairs: a folder of photographs with a COLMAP text model; without it there is no pose accuracy.
        device: auto, cpu or cuda.
        presets: detectors with their matchers.
        warps: pairs of held-back photographs.
        street: pairs of the held-back street.

    Raises:
        SubpxError: data, weights or device cannot be had.
    """
    output_folder(out)
    bench = _Bench(device, warps, street)
    for preset in presets:
        bench.measure(preset, kitti, pairs)
    for given, option, what in ((kitti, "--kitti", "row residuals"), (pairs, "--pairs", "pose accuracy")):
        if given is None:
            bench.skip(f"{what}: give {option} PATH")
    result = bench.result | {"package_version": __version__, "versions": library_versions(), "machine": machine()}
    tables = _tables(result)
    result["tables"] = [asdict(each) for each in tables]
    write_json(out / "refiner_bench.json", result)
    for each in tables:
        each.show()
    bench.draw(out)
    say(f"outputs in {out}: refiner_bench.json, offsets.png, patches_*.png" + (", inliers.png" if pairs else ""))
    return result


class _Bench:
    """Collects the rows of all detectors."""

    def __init__(self, device: str, warps: int, street: int) -> None:
        self._device = device
        self._sources = _held_back(warps, street)
        self.result: dict[str, Any] = {
            "device": device,
            "data": {name: dict(source.describe()) for name, source in self._sources.items()},
            **{check: [] for check in ("end_point", "calibration", "time", "rows", "pose", "skipped")},
        }
        self._drawn: dict[str, EndPoints] = {}

    def measure(self, preset: str, kitti: Path | None, pairs: Path | None) -> None:
        config = load_config({"preset": preset, "device": self._device, "refiner": "none"})
        front_end = FrontEnd(config, note)
        detector = front_end.detector.name
        refiners = refiners_for(front_end, self.skip)
        for name, source in self._sources.items():
            errors = end_point_errors(source, front_end, refiners, f"{detector}, {name}")
            self._drawn.setdefault(detector, errors)
            self._add("end_point", [errors.row(each) for each in refiners], detector, name)
            for each, covariances in errors.covariances.items():
                row = {"refiner": each} | calibration(errors.vectors[each], covariances)
                self._add("calibration", [row], detector, name)
        timed = self._sources.get("street") or next(iter(self._sources.values()))
        self._add("time", microseconds_per_match(timed.pair(0), front_end, refiners), detector)
        if kitti is not None:
            from subpx_ros.datasets.kitti import KittiSequence

            rows = row_residuals(KittiSequence(kitti, "stereo"), front_end, _with_second_only(refiners))
            self._add("rows", rows, detector)
        if pairs is not None:
            from subpx_ros.datasets.pairs import open_pairs

            self._add("pose", pose_accuracy(open_pairs(str(pairs), "colmap"), front_end, refiners), detector)

    def skip(self, line: str) -> None:
        note(f"skipped {line}")
        self.result["skipped"].append(line)

    def draw(self, out: Path) -> None:
        from subpx_ros.evaluation.refiner_figures import plot_inliers, plot_offsets, plot_patches

        plot_offsets(out / "offsets.png", self._drawn)
        for detector, errors in self._drawn.items():
            if errors.samples:
                plot_patches(out / f"patches_{detector}.png", errors.samples[0])
        if self.result["pose"]:
            plot_inliers(out / "inliers.png", self.result["pose"])

    def _add(self, check: str, rows: Sequence[dict[str, Any]], detector: str, data: str = "") -> None:
        where = {"detector": detector} | ({"data": data} if data else {})
        self.result[check].extend(where | row for row in rows)


def _held_back(warps: int, street: int) -> dict[str, PairSource]:
    sources: dict[str, PairSource] = {}
    if warps:
        from subpx_ros.training.sources.warps import WarpsSource

        sources["warps"] = WarpsSource(WarpsSourceConfig(pairs=warps, seed=_WARPS_SEED, photographs="held_back"))
    if street:
        from subpx_ros.training.sources.street import StreetSource

        sources["street"] = StreetSource(StreetSourceConfig(pairs=street, seed=_STREET_SEED, gap=2, stereo=0.5))
    return sources


def _with_second_only(refiners: Refiners) -> Refiners:
    moving_both = {name: refiner for name, refiner in refiners.items() if name in (PUBLISHED, RETRAINED)}
    return dict(refiners) | {f"{name}, second point": SecondOnly(refiner) for name, refiner in moving_both.items()}


_TABLES = (
    (
        "end_point",
        "end-point error under exact ground truth, matches within 3 px as detected",
        {
            "data": "data",
            "matches": "matches",
            "mean_px": "mean (px)",
            "median_px": "median (px)",
            "ratio": "ratio to detected",
        },
    ),
    (
        "calibration",
        "predicted covariance: share inside the sigma ellipses",
        {
            "data": "data",
            "matches": "matches",
            "percent_of_nominal_1": "1 sigma (% of nominal)",
            "percent_of_nominal_2": "2 sigma (% of nominal)",
        },
    ),
    ("time", "time per match", {"matches": "matches", "microseconds": "median (us)"}),
    (
        "rows",
        "left-right row residual, smooth offset removed",
        {"matches": "matches", "median_px": "median (px)", "rms_clipped_px": "rms clipped at 2 px (px)"},
    ),
    (
        "pose",
        "relative pose (PoseLib, 1 px)",
        {
            "pairs": "pairs",
            "auc5": "AUC@5 deg (%)",
            "auc10": "AUC@10 deg (%)",
            "auc20": "AUC@20 deg (%)",
            "inlier_share": "inliers (share)",
        },
    ),
)


def _tables(result: dict[str, Any]) -> list[Table]:
    return [
        Table(
            title,
            ["detector", "refiner", *columns.values()],
            [[row["detector"], row["refiner"], *(row[key] for key in columns)] for row in result[check]],
        )
        for check, title, columns in _TABLES
        if result[check]
    ]
