"""The pip build: CMakeLists.txt builds and installs everything, and its install tree becomes the wheel.

On a ROS distribution colcon uses CMakeLists.txt directly and never looks at this file.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from xml.etree import ElementTree

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).parent.resolve()
NAME = "subpx_ros"


def package_version() -> str:
    """The version in package.xml, the one place that states it for both builds."""
    version = ElementTree.parse(ROOT / "package.xml").getroot().findtext("version")
    if version is None:
        raise SystemExit("package.xml has no <version>")
    return version


def ros_prefix() -> Path:
    """The ROS installation that this interpreter sees: the wheels in its own prefix, or a sourced distribution."""
    import rosidl_pycommon

    # <prefix>/lib/python3.x/site-packages/rosidl_pycommon/__init__.py
    return Path(rosidl_pycommon.__file__).resolve().parents[4]


def projects(prefix: Path) -> dict[str, Path]:
    """The CMake projects to build, by the Python package that each makes."""
    # The real tf2_msgs has services; our stand-in, which an earlier install may have left there, has none.
    if (prefix / "share" / "tf2_msgs" / "srv").is_dir():
        return {NAME: ROOT}
    return {"tf2_msgs": ROOT / "third_party" / "tf2_msgs", NAME: ROOT}


@contextmanager
def work_folder(build: Path, made_by: str) -> Iterator[Path]:
    """Where CMake works. What it compiled is kept for next time as long as `made_by` stays the same."""
    if not str(build).isascii():  # the message generators' lists of files are ASCII
        with TemporaryDirectory() as folder:
            yield Path(folder)
        return
    work, mark = build / "cmake", build / "cmake" / "made_by"
    if not mark.is_file() or mark.read_text() != made_by:
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True)
        mark.write_text(made_by)
    yield work


class CMakeInstall(build_ext):
    """Runs CMake into a staging prefix, then hands the staged files to setuptools."""

    def run(self) -> None:
        prefix = ros_prefix()
        stage = Path(self.build_temp).resolve() / "stage"
        for leftover in (stage, self.build_lib):
            shutil.rmtree(leftover, ignore_errors=True)
        with work_folder(Path(self.build_temp).resolve(), f"{ROOT}\n{sys.executable}\n{prefix}\n") as work:
            for name, source in projects(prefix).items():
                self._cmake(source, work / name, stage, prefix)
                self._hand_over(name, stage)
        self._hand_over_data(stage)

    def _cmake(self, source: Path, build: Path, stage: Path, prefix: Path) -> None:
        env = dict(os.environ, AMENT_PREFIX_PATH=str(prefix))
        configure = [
            *("cmake", "-S", str(source), "-B", str(build), "-G", "Ninja"),
            "-DCMAKE_BUILD_TYPE=Release",
            "-DBUILD_TESTING=OFF",
            f"-DCMAKE_INSTALL_PREFIX={stage}",
            f"-DCMAKE_PREFIX_PATH={prefix}",
            f"-DPython3_EXECUTABLE={sys.executable}",
            "-DPYTHON_INSTALL_DIR=python",
        ]
        subprocess.check_call(configure, env=env)
        subprocess.check_call(["cmake", "--build", str(build), "--target", "install"], env=env)

    def _hand_over(self, name: str, stage: Path) -> None:
        shutil.copytree(
            stage / "python" / name, Path(self.build_lib, name), ignore=shutil.ignore_patterns("__pycache__")
        )

    def _hand_over_data(self, stage: Path) -> None:
        """All that is not Python keeps its place under the prefix: lib/, share/, include/."""
        for folder, _, files in os.walk(stage):
            place = Path(folder).relative_to(stage)
            if files and place.parts[0] != "python":
                self.distribution.data_files.append((str(place), [os.path.join(folder, name) for name in files]))


setup(
    version=package_version(),
    packages=[],
    ext_modules=[Extension(NAME, [])],  # marks the wheel as built for this interpreter and machine
    cmdclass={"build_ext": CMakeInstall},
    data_files=[],
)
