"""What figures depend on besides the settings: versions and the machine."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from pathlib import Path
from typing import Any

from subpx_ros import __version__

_LIBRARIES = {
    "numpy": ("numpy",),
    "torch": ("torch",),
    "opencv": ("opencv-python-headless", "opencv-python", "opencv-contrib-python"),
    "kornia": ("kornia",),
    "poselib": ("poselib",),
    "rosbags": ("rosbags",),
}


def library_versions() -> dict[str, str]:
    """Versions of this package, Python and the libraries that results depend on; absent ones are left out."""
    versions = {"subpx_ros": __version__, "python": platform.python_version()}
    for name, distributions in _LIBRARIES.items():
        for distribution in distributions:
            try:
                versions[name] = importlib.metadata.version(distribution)
                break
            except importlib.metadata.PackageNotFoundError:
                continue
    return versions


def machine() -> dict[str, Any]:
    """What figures of time depend on."""
    values: dict[str, Any] = {
        "system": platform.platform(),
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "gpu": None,
    }
    import torch

    if torch.cuda.is_available():
        values["gpu"] = torch.cuda.get_device_name()
    return values


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())
