import csv
import hashlib
import io
import json
import shutil
import sys
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deepfake.demo import build as demo_build
from deepfake.demo import fetch
from deepfake.demo import plan as demo_plan
from deepfake.demo.build import build
from deepfake.demo.plan import Original, Package, Recipe, Shot, Source
from deepfake.errors import UserError
from deepfake.faces.geometry import CANONICAL_POINTS
from deepfake.files import sha256_of
from deepfake.media.clips import write_clip
from deepfake.media.demux import VideoError
from deepfake.media.video import probe

WIDTH_PX, HEIGHT_PX, N_FRAMES = 128, 96, 16
FACE = CANONICAL_POINTS * 22 + [64, 36]


def pictures(seed: int) -> Iterator[np.ndarray]:
    rng = np.random.default_rng(seed)
    still = rng.integers(60, 200, (HEIGHT_PX // 8, WIDTH_PX // 8, 3)).repeat(8, 0).repeat(8, 1)
    for number in range(N_FRAMES):
        yield np.roll(still, number, axis=1).astype(np.uint8)


def wheel(path: Path, members: dict[str, bytes]) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return sha256_of(path)


def digest_of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Recipe:
    """Two drawn people in a wheel that is already in the cache; faces are where they were drawn."""
    monkeypatch.setattr(demo_build, "find_landmarks", lambda frames: np.repeat(FACE[None], len(frames), 0))
    monkeypatch.setattr(demo_build, "run_each", lambda function, items, *_: ((item, function(item)) for item in items))
    members = {}
    for seed, name in enumerate(("ann", "bob")):
        write_clip(tmp_path / f"{name}.mp4", pictures(seed), 25, options={"preset": "ultrafast"})
        members[f"pkg/{name}.mp4"] = (tmp_path / f"{name}.mp4").read_bytes()
    sha256 = wheel(tmp_path / "packages" / "pkg-1-py3-none-any.whl", members)
    sources = {Path(name).stem: Source("pkg", name, digest_of(data), Path(name).stem) for name, data in members.items()}
    originals = (
        Original(
            "dfdc_train_part_0", Shot("ann", 0, 8), ("cross_identity_swap", "self_blend"), donor=Shot("bob", 0, 8)
        ),
        Original("dfdc_train_part_1", Shot("bob", 0, 8), ("mouth_from_another_time",)),
        Original("test_videos", Shot("bob", 8, 6), ("autoencoder_texture",), beside=Shot("ann", 4, 6)),
        Original("test_videos", Shot("bob", 4, 8), form="damaged"),
        Original("test_videos", Shot("ann", 0, 0), form="copy"),
    )
    return Recipe((Package("pkg", "1", "pkg-1-py3-none-any.whl", sha256),), sources, lambda have: originals)


def bytes_below(root: Path) -> dict[str, bytes]:
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def test_the_layout_is_that_of_dfdc(tmp_path: Path, recipe: Recipe) -> None:
    root = tmp_path / "demo"
    built = build(root, tmp_path / "packages", recipe=recipe)
    assert built.n_made == len(built.videos) == 9
    metadata = json.loads((root / "dfdc_train_part_0" / "metadata.json").read_text())
    assert sorted(metadata) == sorted(path.name for path in (root / "dfdc_train_part_0").glob("*.mp4"))
    reals = [name for name, entry in metadata.items() if entry["label"] == "REAL"]
    fakes = [entry for entry in metadata.values() if entry["label"] == "FAKE"]
    assert [metadata[name] for name in reals] == [{"label": "REAL", "split": "train", "identity": "ann"}]
    assert {entry["original"] for entry in fakes} == set(reals)
    assert {entry["manipulation"] for entry in fakes} == {"cross_identity_swap", "self_blend"}
    test_names = sorted(path.name for path in (root / "test_videos").iterdir())
    assert [row["filename"] for row in rows(root / "sample_submission.csv")] == test_names
    assert {row["label"] for row in rows(root / "sample_submission.csv")} == {"0.5"}
    labels = rows(root / "test_labels.csv")
    assert [row["filename"] for row in labels] == test_names
    assert sorted(row["family"] for row in labels) == ["autoencoder_texture", "real", "real", "real"]
    assert {row["identity"] for row in labels if row["family"] == "autoencoder_texture"} == {"bob+ann"}


def test_a_pair_is_as_wide_as_both_and_a_fake_differs_from_its_original(tmp_path: Path, recipe: Recipe) -> None:
    root = tmp_path / "demo"
    built = build(root, tmp_path / "packages", recipe=recipe)
    pair = next(video for video in built.videos if video.identity == "bob+ann" and video.label == "REAL")
    probed = probe(root / pair.path)
    assert (probed.width_px, probed.height_px, probed.n_frames) == (2 * WIDTH_PX, HEIGHT_PX, 6)
    contents = bytes_below(root)
    for video in built.videos:
        if video.label == "FAKE":
            assert contents[video.path] != contents[f"{video.folder}/{video.original}"]


def test_the_damaged_file_cannot_be_opened_and_the_copy_keeps_its_bytes(tmp_path: Path, recipe: Recipe) -> None:
    root = tmp_path / "demo"
    built = build(root, tmp_path / "packages", recipe=recipe)
    damaged, copied = (video for video in built.videos if video.folder == "test_videos" and "+" not in video.identity)
    with pytest.raises(VideoError):
        probe(root / damaged.path)
    assert sha256_of(root / copied.path) == recipe.sources["ann"].sha256


def test_a_second_call_makes_nothing_and_force_makes_the_same_again(tmp_path: Path, recipe: Recipe) -> None:
    root = tmp_path / "demo"
    build(root, tmp_path / "packages", recipe=recipe)
    before = bytes_below(root)
    again = build(root, tmp_path / "packages", recipe=recipe)
    assert (again.n_made, len(again.videos)) == (0, 9)
    assert build(root, tmp_path / "packages", force=True, recipe=recipe).n_made == 9
    assert bytes_below(root) == before


def test_a_stopped_call_goes_on_where_it_was(tmp_path: Path, recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = tmp_path / "whole"
    build(whole, tmp_path / "packages", recipe=recipe)
    write, calls = demo_build.write_clip, 0

    def write_three(*args: Any, **named: Any) -> int:
        nonlocal calls
        calls += 1
        if calls > 3:
            raise KeyboardInterrupt
        return write(*args, **named)

    root = tmp_path / "demo"
    monkeypatch.setattr(demo_build, "write_clip", write_three)
    with pytest.raises(KeyboardInterrupt):
        build(root, tmp_path / "packages", recipe=recipe)
    assert not root.exists()
    (tmp_path / ".demo.part" / "dfdc_train_part_0" / ".half.12.part.mp4").write_bytes(b"half a clip")
    monkeypatch.setattr(demo_build, "write_clip", write)
    assert build(root, tmp_path / "packages", recipe=recipe).n_made == 6
    assert bytes_below(root) == bytes_below(whole)
    assert not (tmp_path / ".demo.part").exists()


def test_a_missing_or_changed_file_is_made_again(tmp_path: Path, recipe: Recipe) -> None:
    root = tmp_path / "demo"
    built = build(root, tmp_path / "packages", recipe=recipe)
    before = bytes_below(root)
    (root / built.videos[0].path).unlink()
    assert build(root, tmp_path / "packages", recipe=recipe).n_made == 9
    assert bytes_below(root) == before


def test_a_folder_with_files_of_others_is_left_alone(tmp_path: Path, recipe: Recipe) -> None:
    root = tmp_path / "demo"
    root.mkdir()
    (root / "mine.mp4").write_bytes(b"a film of mine")
    with pytest.raises(UserError, match=r"mine\.mp4.*--root"):
        build(root, tmp_path / "packages", recipe=recipe)
    assert bytes_below(root) == {"mine.mp4": b"a film of mine"}


def test_a_hidden_file_of_the_desktop_is_no_change(tmp_path: Path, recipe: Recipe) -> None:
    root = tmp_path / "demo"
    build(root, tmp_path / "packages", recipe=recipe)
    (root / ".DS_Store").write_bytes(b"x")
    assert build(root, tmp_path / "packages", recipe=recipe).n_made == 0


def test_an_archive_with_a_wrong_hash_is_refused(tmp_path: Path, recipe: Recipe) -> None:
    wheel(tmp_path / "packages" / "pkg-1-py3-none-any.whl", {"pkg/ann.mp4": b"something else"})
    with pytest.raises(UserError, match=r"found sha256 .* wanted .* delete it"):
        build(tmp_path / "demo", tmp_path / "packages", recipe=recipe)
    assert not (tmp_path / "demo").exists()


def test_a_clip_with_a_wrong_hash_is_refused(tmp_path: Path, recipe: Recipe) -> None:
    (tmp_path / "packages" / "clips").mkdir()
    (tmp_path / "packages" / "clips" / "ann.mp4").write_bytes(b"something else")
    with pytest.raises(UserError, match=r"ann\.mp4: found sha256"):
        build(tmp_path / "demo", tmp_path / "packages", recipe=recipe)


def fake_registry(data: bytes) -> Callable[[list[str], str], None]:
    def run(command: list[str], what: str) -> None:
        (Path(command[-2]) / "pkg-1-py3-none-any.whl").write_bytes(data)

    return run


def test_a_fetched_archive_is_kept_only_with_the_right_hash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = Package("pkg", "1", "pkg-1-py3-none-any.whl", digest_of(b"right"))
    monkeypatch.setattr(fetch, "_run_tool", fake_registry(b"wrong"))
    with pytest.raises(UserError, match="not used"):
        fetch.fetch(package, tmp_path)
    assert not bytes_below(tmp_path)
    monkeypatch.setattr(fetch, "_run_tool", fake_registry(b"right"))
    assert fetch.fetch(package, tmp_path).read_bytes() == b"right"
    assert list(bytes_below(tmp_path)) == ["pkg-1-py3-none-any.whl"]


def test_without_a_network_the_message_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        fetch, "_command", lambda package, folder: [sys.executable, "-c", "raise SystemExit('ERROR: no')"]
    )
    package = Package("pkg", "1", "pkg.whl", "0" * 64)
    with pytest.raises(UserError, match=r"by hand: put pkg\.whl into .*ERROR: no.*network"):
        fetch.fetch(package, tmp_path)


def test_without_npm_it_goes_on_and_says_so(tmp_path: Path, recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    extra = Package("extra", "1", "extra-1.tgz", "0" * 64, tool="npm")
    more = Recipe(
        (*recipe.packages, extra), {**recipe.sources, "eve": Source("extra", "eve.mp4", "0", "eve")}, recipe.plan
    )
    built = build(tmp_path / "demo", tmp_path / "packages", recipe=more)
    assert len(built.notes) == 1
    assert "npm was not found" in built.notes[0]
    assert build(tmp_path / "demo", tmp_path / "packages", recipe=more).notes == built.notes


def test_names_out_of_an_archive_never_become_paths(tmp_path: Path) -> None:
    sha256 = wheel(tmp_path / "evil.whl", {"../../evil.mp4": b"evil", "good.mp4": b"good"})
    sources = {"one": Source("evil", "../../evil.mp4", digest_of(b"evil"), "nobody")}
    recipe = Recipe((Package("evil", "1", "evil.whl", sha256),), sources, lambda have: ())
    clips = fetch.extract(recipe, {"evil": tmp_path / "evil.whl"}, tmp_path / "packages" / "clips")
    assert clips == {"one": tmp_path / "packages" / "clips" / "one.mp4"}
    assert sorted(bytes_below(tmp_path)) == ["evil.whl", "packages/clips/one.mp4"]


def test_a_link_in_a_tgz_is_not_followed(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tgz", "w:gz") as tar:
        link = tarfile.TarInfo("clip.mp4")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
        plain = tarfile.TarInfo("plain.mp4")
        plain.size = 3
        tar.addfile(plain, io.BytesIO(b"abc"))
    assert fetch.read_member(tmp_path / "a.tgz", "plain.mp4") == b"abc"
    with pytest.raises(UserError, match="no regular file"):
        fetch.read_member(tmp_path / "a.tgz", "clip.mp4")
    with pytest.raises(UserError, match="has no file 'other'"):
        fetch.read_member(tmp_path / "a.tgz", "other")


def test_an_archive_that_is_none_is_an_error_in_words(tmp_path: Path) -> None:
    for name in ("a.tgz", "a.whl"):
        (tmp_path / name).write_bytes(b"not an archive")
        with pytest.raises(UserError, match="not a readable archive"):
            fetch.read_member(tmp_path / name, "clip.mp4")


def test_a_shot_past_the_end_of_its_source_is_an_error(tmp_path: Path, recipe: Recipe) -> None:
    with pytest.raises(ValueError, match="6 of the 8 frames from 10 on"):
        demo_build.read_shot(tmp_path / "ann.mp4", Shot("ann", 10, 8))


@pytest.mark.parametrize(
    "have", [set(demo_plan.SOURCES), {"wolfgang", "single", "face_noface", "noface_face", "title"}]
)
def test_the_plan_holds_what_the_demo_promises_with_and_without_npm(have: set[str]) -> None:
    have = have | {"carphone", "cartoon"}
    plan = demo_plan.demo_plan(have)
    videos = [video for original in plan for video in demo_build.videos_of(original, demo_plan.SOURCES)]
    train = [video for video in videos if video.folder != demo_plan.TEST_FOLDER]
    assert len(videos) >= 40
    assert len({video.path for video in videos}) == len(videos)
    assert len({video.identity for video in train if not video.identity.startswith("nobody")}) >= 3
    for folder in {video.folder for video in videos}:
        assert {video.label for video in videos if video.folder == folder} == {"REAL", "FAKE"}
    made = {video.manipulation for video in train if video.manipulation}
    assert made == {*demo_build.MANIPULATIONS, demo_plan.SWAP}
    assert {original.form for original in plan} == {"clip", "copy", "damaged"}
    assert any(original.codec == "libx265" for original in plan)
    assert any(original.beside for original in plan)
    used = {shot.source for o in plan for shot in (o.shot, o.donor, o.beside) if shot}
    assert used <= have


def test_with_npm_the_person_of_the_test_fakes_is_never_seen_in_training() -> None:
    plan = demo_plan.demo_plan(set(demo_plan.SOURCES))
    videos = [video for original in plan for video in demo_build.videos_of(original, demo_plan.SOURCES)]
    train = {video.identity for video in videos if video.folder != demo_plan.TEST_FOLDER}
    fakes = {video.identity.split("+")[0] for video in videos if video.folder == "test_videos" and video.manipulation}
    assert fakes == {"man_blue_wall"}
    assert not fakes & train


def test_every_source_belongs_to_a_package_and_hashes_are_hashes() -> None:
    packages = {package.name for package in demo_plan.PACKAGES}
    assert {source.package for source in demo_plan.SOURCES.values()} == packages
    hashes = [item.sha256 for item in (*demo_plan.PACKAGES, *demo_plan.SOURCES.values())]
    assert len(set(hashes)) == len(hashes)
    assert all(len(value) == 64 and set(value) <= set("0123456789abcdef") for value in hashes)


def test_the_summary_counts_every_video(tmp_path: Path, recipe: Recipe) -> None:
    text = demo_build.summary(build(tmp_path / "demo", tmp_path / "packages", recipe=recipe).videos)
    assert "dfdc_train_part_0" in text
    assert [line.split()[1:4] for line in text.splitlines() if line.startswith("all")] == [["9", "5", "4"]]
    assert "  self_blend: 1" in text.splitlines()
