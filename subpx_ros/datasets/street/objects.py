"""Textures of what stands along the road: facades with windows, vehicles, posters, paint."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from subpx_ros.datasets.street.photographs import PICTURES, load_photographs
from subpx_ros.datasets.street.surfaces import TEXELS_PER_M, clouding, crop, grain, wall

Image = NDArray[np.float32]

WORDS = ("HOTEL", "BAKERY", "BOOKS", "CAFE", "OPTIK", "RADIO", "MARKET", "TAXI", "CINEMA", "BANK", "FLOWERS", "TOOLS")


def facade(width_m: float, height_m: float, rng: np.random.Generator) -> Image:
    """The front of a house: wall, windows in storeys, a ground floor with a door and a shop window."""
    shape = (round(height_m * TEXELS_PER_M), round(width_m * TEXELS_PER_M))
    front = wall(shape, rng)
    ground_floor = round(3.2 * TEXELS_PER_M)
    storeys = max(int((shape[0] - ground_floor) // (2.8 * TEXELS_PER_M)), 1)
    storey = (shape[0] - ground_floor) / storeys
    columns = max(int(width_m // rng.uniform(2.2, 3.2)), 2)
    bay = shape[1] / columns
    size = (round(storey * rng.uniform(0.5, 0.66)), round(bay * rng.uniform(0.42, 0.62)))
    frame, sash = rng.uniform(0.15, 0.85), int(rng.integers(2))
    for floor in range(storeys):
        for column in range(columns):
            top = round(floor * storey + 0.5 * (storey - size[0]))
            left = round(column * bay + 0.5 * (bay - size[1]))
            _window(front[top : top + size[0], left : left + size[1]], frame, sash, rng)
            _sill(front, top + size[0], left, size[1], rng)
        ledge = round((floor + 1) * storey)
        front[ledge - 6 : ledge + 4] += rng.uniform(-0.15, 0.2)
    _ground_floor(front[shape[0] - ground_floor :], frame, rng)
    front[: round(0.25 * TEXELS_PER_M)] *= rng.uniform(0.45, 0.8)
    return np.clip(front, 0.02, 0.97)


def _picture(rng: np.random.Generator) -> Image:
    return load_photographs()[PICTURES[rng.integers(len(PICTURES))]]


def _window(pane: Image, frame: float, sash: int, rng: np.random.Generator) -> None:
    """Draw a window into `pane`: what is behind or mirrored in it is a part of some picture."""
    height, width = pane.shape
    view = crop(_picture(rng), pane.shape, rng.uniform(0.2, 0.8), rng)
    pane[:] = rng.uniform(0.06, 0.22) + rng.uniform(0.35, 0.75) * view
    if rng.random() < 0.35:
        pane[: round(height * rng.uniform(0.15, 0.7))] = rng.uniform(0.45, 0.8)
    bar = max(width // 22, 3)
    edge = frame + 0.1 * rng.uniform(-1, 1)
    pane[:bar] = pane[-bar:] = edge
    pane[:, :bar] = pane[:, -bar:] = edge
    pane[:, width // 2 - bar // 2 : width // 2 + bar // 2 + 1] = edge
    if sash:
        pane[height // 3 : height // 3 + bar] = edge
    pane[bar : bar + 4, bar:-bar] *= 0.6


def _sill(front: Image, row: int, left: int, width: int, rng: np.random.Generator) -> None:
    front[row : row + 6, max(left - 6, 0) : left + width + 6] = rng.uniform(0.5, 0.8)
    front[row + 6 : row + 11, max(left - 6, 0) : left + width + 6] *= 0.6


def _ground_floor(floor: Image, frame: float, rng: np.random.Generator) -> None:
    """A sign, a door, shop windows with posters."""
    height, width = floor.shape
    band = round(0.6 * TEXELS_PER_M)
    if rng.random() < 0.6:
        tone = rng.uniform(0.1, 0.85)
        left = int(rng.uniform(0.02, 0.3) * width)
        right = int(rng.uniform(0.6, 0.98) * width)
        floor[4:band, left:right] = tone + 0.02 * grain("gravel", (band - 4, right - left), rng)
        text = f"{WORDS[rng.integers(len(WORDS))]} {rng.integers(2, 99)}"
        ink = 0.9 if tone < 0.5 else 0.08
        _write(floor, text, (left + 10, band - 10), 0.95, float(ink))
    x = round(rng.uniform(0.2, 0.8) * TEXELS_PER_M)
    while x < width - TEXELS_PER_M:
        span = min(round(rng.uniform(1.0, 2.6) * TEXELS_PER_M), width - x - 8)
        if rng.random() < 0.35:
            _door(floor[band + 8 :, x : x + min(span, round(1.2 * TEXELS_PER_M))], rng)
            span = min(span, round(1.2 * TEXELS_PER_M))
        else:
            pane = floor[band + 10 : height - round(0.5 * TEXELS_PER_M), x : x + span]
            _window(pane, frame, 0, rng)
            _poster(pane, rng)
        x += span + round(rng.uniform(0.25, 0.8) * TEXELS_PER_M)


def _write(surface: Image, text: str, foot: tuple[int, int], scale: float, ink: float) -> None:
    """Letters of intensity `ink`, their lower left corner at `foot` (x, y); OpenCV 5 writes on 8-bit images only."""
    import cv2

    mask = np.zeros(surface.shape, dtype=np.uint8)
    cv2.putText(mask, text, foot, cv2.FONT_HERSHEY_SIMPLEX, scale, 255, 2 if scale > 0.5 else 1, cv2.LINE_AA)
    surface += (ink - surface) * (mask.astype(np.float32) / 255.0)


def _door(panel: Image, rng: np.random.Generator) -> None:
    height, width = panel.shape
    panel[:] = rng.uniform(0.15, 0.5) + 0.03 * grain("gravel", panel.shape, rng)
    for row in range(3):
        top, bottom = round((0.06 + 0.31 * row) * height), round((0.31 + 0.31 * row) * height)
        panel[top:bottom, width // 8 : -width // 8] *= rng.uniform(0.6, 1.3)
    panel[:, :3] = panel[:, -3:] = 0.7
    panel[:3] = 0.7


def _poster(pane: Image, rng: np.random.Generator) -> None:
    height, width = pane.shape
    rows, columns = round(height * rng.uniform(0.35, 0.6)), round(width * rng.uniform(0.25, 0.45))
    top, left = rng.integers(4, height - rows - 3), rng.integers(4, width - columns - 3)
    pane[top : top + rows, left : left + columns] = 0.1 + 0.85 * crop(_picture(rng), (rows, columns), 0.3, rng)


def board(rng: np.random.Generator) -> Image:
    """A poster column's side, 1.2 m wide and 1.8 m high."""
    shape = (round(1.8 * TEXELS_PER_M), round(1.2 * TEXELS_PER_M))
    poster = 0.08 + 0.85 * crop(_picture(rng), shape, rng.uniform(0.25, 0.6), rng)
    poster[:4] = poster[-4:] = 0.75
    poster[:, :4] = poster[:, -4:] = 0.75
    return np.clip(poster, 0.02, 0.97)


def vehicle_side(length_m: float, height_m: float, paint: float, windows: bool, rng: np.random.Generator) -> Image:
    """The lower or only box of a car or van from the side: panels, wheels, for vans windows and an advertisement."""
    import cv2

    shape = (round(height_m * TEXELS_PER_M), round(length_m * TEXELS_PER_M))
    side = _bodywork(shape, paint, rng)
    if windows:
        pane = side[round(0.12 * shape[0]) : round(0.42 * shape[0]), round(0.68 * shape[1]) : round(0.93 * shape[1])]
        _window(pane, paint * 0.5, 0, rng)
        place = side[round(0.15 * shape[0]) : round(0.65 * shape[0]), round(0.12 * shape[1]) : round(0.5 * shape[1])]
        place[:] = 0.1 + 0.8 * crop(_picture(rng), place.shape, 0.3, rng)
    for column in (0.3, 0.52, 0.74):
        x = round(column * shape[1])
        side[4:-8, x : x + 2] *= 0.5
        side[shape[0] // 4 : shape[0] // 4 + 4, x + 6 : x + 16] = 0.15
    for column in (0.19, 0.8):
        centre = (round(column * shape[1]), shape[0] - 4)
        cv2.circle(side, centre, round(0.36 * TEXELS_PER_M), 0.03, -1, cv2.LINE_AA)
        cv2.circle(side, centre, round(0.21 * TEXELS_PER_M), float(rng.uniform(0.4, 0.7)), -1, cv2.LINE_AA)
        for angle in np.arange(5) * 2 * np.pi / 5 + rng.uniform(0, 1):
            tip = (round(centre[0] + 13 * np.cos(angle)), round(centre[1] + 13 * np.sin(angle)))
            cv2.line(side, centre, tip, 0.1, 3, cv2.LINE_AA)
    return np.clip(side, 0.02, 0.97)


def vehicle_end(width_m: float, height_m: float, paint: float, windows: bool, rng: np.random.Generator) -> Image:
    """The front or back of a vehicle's lower or only box: lamps, plate, bumper, for vans windows."""
    shape = (round(height_m * TEXELS_PER_M), round(width_m * TEXELS_PER_M))
    end = _bodywork(shape, paint, rng)
    row = shape[0] // 2
    if windows:
        _window(
            end[round(0.08 * shape[0]) : round(0.36 * shape[0]), shape[1] // 10 : -shape[1] // 10], paint * 0.5, 0, rng
        )
    lamp = round(0.16 * shape[1])
    for part in (end[row - 14 : row, 5 : 5 + lamp], end[row - 14 : row, -5 - lamp : -5]):
        part[:] = rng.uniform(0.1, 0.95)
        part[3:-3, 4:-4] *= 0.6
    plate = end[row + 4 : row + 14, shape[1] // 2 - 18 : shape[1] // 2 + 18]
    plate[:] = 0.85
    text = f"{rng.integers(1000, 9999)}"
    _write(end, text, (shape[1] // 2 - 15, row + 13), 0.36, 0.05)
    end[-10:] *= 0.35
    return np.clip(end, 0.02, 0.97)


def vehicle_glass(shape: tuple[int, int], bars: int, rng: np.random.Generator) -> Image:
    """A band of car windows (h, w) that mirror the surroundings, with `bars` pillars between them."""
    glass = 0.05 + 0.55 * crop(_picture(rng), shape, 0.3, rng)
    pillar = rng.uniform(0.15, 0.8)
    for x in np.linspace(3, shape[1] - 4, bars):
        glass[:, round(x) - 3 : round(x) + 4] = pillar
    glass[:4] = pillar
    return np.clip(glass, 0.02, 0.97)


def vehicle_top(paint: float, rng: np.random.Generator) -> Image:
    """A roof or bonnet."""
    return np.clip(_bodywork((100, 160), paint, rng), 0.02, 0.97)


def _bodywork(shape: tuple[int, int], paint: float, rng: np.random.Generator) -> Image:
    """Painted metal: broad reflections and some dirt."""
    return np.asarray(paint * (0.95 + 0.15 * clouding(shape, 6, rng)) + 0.014 * grain("gravel", shape, rng))


def road_paint(rng: np.random.Generator) -> Image:
    """A worn stripe of road paint, 3 m long and 0.16 m wide."""
    shape = (round(0.16 * TEXELS_PER_M), 3 * TEXELS_PER_M)
    return np.clip(0.74 + 0.1 * grain("gravel", shape, rng), 0.3, 0.95)
