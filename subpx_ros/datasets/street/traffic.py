"""Moving vehicles: one queue ahead of the cameras in their lane, one that comes towards them, each at its own speed."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from subpx_ros.datasets.street.centreline import Centreline
from subpx_ros.datasets.street.drive import Drive, Wave
from subpx_ros.datasets.street.furniture import place_car, place_van
from subpx_ros.datasets.street.mesh import Mesh, MeshBuilder, joined
from subpx_ros.datasets.street.textures import TextureSet
from subpx_ros.geometry import rotation_from_vector, se3

AHEAD_M = 65.0
BEHIND_M = 8.0
"""What is farther ahead of or behind the cameras is not driving."""
BODIES = 12
"""Different vehicles; every other one is a van with a livery."""
SWAY = 0.2
"""How far a vehicle is from its place in the queue, in gaps, at most."""


class Traffic:
    """Where the moving vehicles are at any time, the same for the same seed. Nothing is kept of one time for another."""

    def __init__(
        self,
        line: Centreline,
        drive: Drive,
        lane_m: float,
        textures: TextureSet,
        gap_m: float,
        speed_m: float,
        seed: int,
    ) -> None:
        """Queues with a vehicle every `gap_m` metres; the oncoming one drives `speed_m` metres a frame."""
        self._line, self._drive = line, drive
        self._lane_m, self._gap_m, self._speed_m, self._seed = lane_m, gap_m, speed_m, seed
        rng = np.random.default_rng([seed, 5])
        self._bodies = [_body(textures, rng, van=number % 2 == 0) for number in range(BODIES)]

    def at(self, time: float) -> Mesh | None:
        """The vehicles near the cameras at a time in frames, as faces that move; None where there are none."""
        vehicles = [self._placed(*vehicle) for vehicle in self._near(time)]
        return joined(vehicles) if vehicles else None

    def _near(self, time: float) -> Iterator[tuple[int, float, float]]:
        """Number of the body, arc length, and 1 for along the road or -1 for against it."""
        camera = float(self._drive.arc(time))
        for number in range(1, int(AHEAD_M / self._gap_m) + 1):
            body, sway = self._vehicle(6, number, time)
            yield body, camera + self._gap_m * (number + sway), 1.0
        travelled = self._speed_m * time
        first, last = (
            int(np.floor((camera + reach + travelled) / self._gap_m)) for reach in (-BEHIND_M - self._gap_m, AHEAD_M)
        )
        for number in range(max(first, 0), last + 1):
            body, sway = self._vehicle(7, number, time)
            yield body, self._gap_m * (number + sway) - travelled, -1.0

    def _vehicle(self, queue: int, number: int, time: float) -> tuple[int, float]:
        """Number of the body of a vehicle, and how far it is from its place, in gaps."""
        rng = np.random.default_rng([self._seed, queue, number])
        body, period = int(rng.integers(BODIES)), rng.uniform(30.0, 70.0)
        return body, SWAY * float(Wave(rng, period)(time))

    def _placed(self, body: int, arc: float, direction: float) -> Mesh:
        place = self._line.offset(arc, -direction * self._lane_m)
        heading = float(self._line.at(arc)[2]) + (0.0 if direction > 0 else np.pi)
        return self._bodies[body].in_motion(se3(rotation_from_vector(np.array([0.0, 0.0, heading])), place))


def _body(textures: TextureSet, rng: np.random.Generator, van: bool) -> Mesh:
    """A vehicle that stands at the origin and looks along x."""
    builder = MeshBuilder()
    if van:
        place_van(builder, textures, np.zeros(3), 0.0, rng, livery=True)
    else:
        place_car(builder, textures, np.zeros(3), 0.0, rng)
    return builder.build()
