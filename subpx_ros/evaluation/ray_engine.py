"""Items of a benchmark on a Ray cluster (optional). Every machine needs this package and the data at the same paths.

Without RAY_ADDRESS in the environment Ray starts on this machine alone.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any

from subpx_ros.errors import ConfigError, SubpxError
from subpx_ros.evaluation.runner import Benchmark, Done, Item, Measure, attempt


class _Measurer:
    """Lives in a process of the cluster."""

    def __init__(self, benchmark: Benchmark) -> None:
        self._benchmark = benchmark
        self._measure: Measure | None = None

    def prepare(self) -> str | None:
        """What keeps the benchmark from running here, if anything does."""
        try:
            self._measure = self._benchmark.prepare()
        except SubpxError as error:
            return str(error)
        return None

    def run(self, item: Item) -> Done:
        assert self._measure is not None
        return attempt(self._measure, item)


def on_ray(benchmark: Benchmark, items: Sequence[Item], count: int) -> Iterator[Done]:
    """What comes of the items, in the order in which they are done.

    Raises:
        ConfigError: Ray is not installed.
        SubpxError: no process of the cluster can load what the benchmark needs.
    """
    try:
        import ray
    except ImportError:
        raise ConfigError("engine 'ray' needs Ray: pip install 'subpx_ros[cluster]', or use --engine local") from None
    started = not ray.is_initialized()
    if started:
        ray.init(include_dashboard=False, log_to_driver=False, logging_level="error")
    try:
        yield from _through_actors(ray, benchmark, items, count)
    finally:
        if started:
            ray.shutdown()


def _through_actors(ray: Any, benchmark: Benchmark, items: Sequence[Item], count: int) -> Iterator[Done]:
    gpus = float(ray.cluster_resources().get("GPU", 0.0))
    measurer = ray.remote(num_cpus=1, num_gpus=min(1.0, gpus / count))(_Measurer)
    queue = deque(items)
    # What each actor is doing: getting ready (None) or an item. Actors that the cluster has no room for stay unready
    # and are not waited for once all items are done.
    doing: dict[Any, tuple[Any, Item | None]] = {}

    def start() -> None:
        actor = measurer.remote(benchmark)
        doing[actor.prepare.remote()] = actor, None

    for _ in range(min(count, len(queue))):
        start()
    while queue or any(item for _, item in doing.values()):
        finished = ray.wait(list(doing))[0][0]
        actor, item = doing.pop(finished)
        try:
            heard = ray.get(finished)
        except ray.exceptions.RayError as error:
            cause = (str(error).strip().splitlines() or ["no reason is known"])[-1].strip()
            reason = f"a process of the cluster ended: {type(error).__name__}: {cause}"
            if item is None:
                raise SubpxError(f"{reason} (this package must be installed on every machine)") from None
            yield Done(item, None, reason)
            if queue:
                start()
            continue
        if item is not None:
            yield heard
        elif heard is not None:
            raise SubpxError(heard)
        if queue:
            following = queue.popleft()
            doing[actor.run.remote(following)] = actor, following
