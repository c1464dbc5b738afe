"""Settings of the rendered street."""

from __future__ import annotations

from dataclasses import dataclass, field

from subpx_ros.settings import Settings, setting

LAYOUTS = ("street", "highway")


@dataclass(frozen=True)
class DisturbanceConfig(Settings):
    """What makes a drive harder. Nothing of it changes the street, the poses or what a clean frame shows."""

    traffic_gap_m: float = setting(
        0.0,
        "Mean distance from one moving vehicle to the next, in the camera's lane as in the oncoming one; 0: no traffic.",
        unit="m",
        minimum=0.0,
        maximum=200.0,
    )
    dark_from: int = setting(0, "First frame of the exposure drop.", unit="frames", minimum=0, maximum=10**6)
    dark_frames: int = setting(0, "Frames of the exposure drop; 0: none.", unit="frames", minimum=0, maximum=1000)
    dark_light: float = setting(
        0.06, "Light of a dark frame relative to the others; the noise of the sensor stays.", minimum=0.0, maximum=1.0
    )
    blurred_share: float = setting(
        0.0, "Share of the frames with motion blur, spread over the drive.", minimum=0.0, maximum=1.0
    )
    exposure_share: float = setting(
        0.35, "Time of exposure of a blurred frame, in intervals between two frames.", minimum=0.0, maximum=1.0
    )
    missing_frame: int = setting(
        0, "Frame that the recording lacks; 0: it lacks none.", unit="frames", minimum=0, maximum=10**6
    )


@dataclass(frozen=True)
class StreetConfig(Settings):
    """What is built, and how the camera that drives through it sees."""

    seed: int = setting(6, "Seed of the layout, the textures, the drive and the noise.", minimum=0, maximum=2**31 - 1)
    length_m: float = setting(
        80.0, "Length of the road that can be driven, along its centreline.", unit="m", minimum=50.0, maximum=5000.0
    )
    speed_m: float = setting(
        1.0, "Mean distance between two frames; it varies smoothly by up to 15 %.", unit="m", minimum=0.05, maximum=3.0
    )
    frame_interval_s: float = setting(0.1, "Time between two frames.", unit="s", minimum=0.001, maximum=10.0)
    camera_height_m: float = setting(1.65, "Height of the cameras above the road.", unit="m", minimum=0.3, maximum=4.0)
    shot_noise: float = setting(
        0.012, "Standard deviation of the noise of a white pixel, white is 1.", minimum=0.0, maximum=0.2
    )
    read_noise: float = setting(
        0.004, "Standard deviation of the noise of a black pixel, white is 1.", minimum=0.0, maximum=0.2
    )
    vignetting: float = setting(0.18, "Loss of light in the corners of the image.", minimum=0.0, maximum=0.8)
    exposure_drift: float = setting(
        0.08, "Amplitude of the slow change of exposure that both cameras share.", minimum=0.0, maximum=0.5
    )
    gain_difference: float = setting(
        0.015, "Largest deviation of the gain of one camera from the common one.", minimum=0.0, maximum=0.2
    )
    layout: str = setting(
        "street",
        "street: houses and parked cars close to the lane, tight bends; highway: a wide smooth road, everything else "
        "far from it, long bends.",
        choices=LAYOUTS,
    )
    disturbances: DisturbanceConfig = field(default_factory=DisturbanceConfig)
