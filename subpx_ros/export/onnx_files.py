"""Writing a stage as an ONNX file and running it again."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from subpx_ros.errors import ConfigError
from subpx_ros.output import written_beside
from subpx_ros.parallel import one_thread_an_operation

_OPSET = 20
_NEEDED = ("onnx", "onnxruntime", "onnxscript")


def require_onnx() -> None:
    """Raises ConfigError naming what has to be installed."""
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        raise ConfigError(
            f"export needs the packages {', '.join(missing)}, which are not installed: pip install 'subpx_ros[export]'"
        )


def write_onnx(
    module: nn.Module,
    inputs: dict[str, torch.Tensor],
    outputs: Sequence[str],
    path: Path,
    any_size: Sequence[str] = (),
) -> None:
    """Write a module as one ONNX file, complete or not at all.

    Args:
        module: taking the inputs by position, giving tensors.
        inputs: an example of each input, in order.
        outputs: names of what it gives.
        path: the file.
        any_size: the inputs whose last two dimensions may have any size.
    """
    free = {-2: torch.export.Dim.DYNAMIC, -1: torch.export.Dim.DYNAMIC}
    shapes = tuple(
        {value.ndim + axis: size for axis, size in free.items()} if name in any_size else None
        for name, value in inputs.items()
    )
    # The exporter sees what its own thread does.
    with torch.no_grad(), one_thread_an_operation(), _quiet():
        program = torch.onnx.export(
            module.eval(),
            tuple(inputs.values()),
            dynamo=True,
            opset_version=_OPSET,
            input_names=list(inputs),
            output_names=list(outputs),
            dynamic_shapes=shapes if any_size else None,
            verbose=False,
        )
    assert program is not None
    with written_beside(path) as temporary:
        program.save(temporary, external_data=False)


class OnnxStage:
    """An ONNX file in onnxruntime on the CPU."""

    def __init__(self, path: Path) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self.inputs = [given.name for given in self._session.get_inputs()]
        """Those that the file uses: what does not influence its outputs is left out when it is written."""
        self._outputs = [output.name for output in self._session.get_outputs()]

    def __call__(self, inputs: dict[str, torch.Tensor]) -> dict[str, NDArray[Any]]:
        """Its outputs by name."""
        arrays = {name: np.ascontiguousarray(inputs[name].numpy()) for name in self.inputs}
        return dict(zip(self._outputs, self._session.run(None, arrays), strict=True))


@contextlib.contextmanager
def _quiet() -> Any:
    """Without the exporter's remarks on packages that are not needed, its progress lines, and the graphs of attempts
    that failed before the one that succeeds (to stderr); an error that remains is raised."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
