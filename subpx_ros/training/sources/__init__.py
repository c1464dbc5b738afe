"""Sources of training pairs. A new one is a file in this folder, its settings, and a line in `create_source`."""

from __future__ import annotations

from subpx_ros.errors import DataError
from subpx_ros.training.config import DataConfig
from subpx_ros.training.sources.source import JoinedSource, PairSource

__all__ = ["JoinedSource", "PairSource", "create_source"]


def create_source(config: DataConfig) -> PairSource:
    """All pairs that the configuration asks for, source after source.

    Raises:
        SubpxError: no source has pairs, or its data is missing or damaged.
    """
    sources: list[PairSource] = []
    if config.street.pairs:
        from subpx_ros.training.sources.street import StreetSource

        sources.append(StreetSource(config.street))
    if config.warps.pairs:
        from subpx_ros.training.sources.warps import WarpsSource

        sources.append(WarpsSource(config.warps))
    if config.rgbd.pairs:
        from subpx_ros.training.sources.rgbd import RgbdSource

        sources.append(RgbdSource(config.rgbd))
    if config.kitti.pairs:
        from subpx_ros.training.sources.kitti import KittiSource

        sources.append(KittiSource(config.kitti))
    if config.megadepth.pairs:
        from subpx_ros.training.sources.megadepth import MegaDepthSource

        sources.append(MegaDepthSource(config.megadepth))
    if not sources:
        raise DataError("no pairs: give at least one source a number of pairs above 0")
    return JoinedSource(sources)
