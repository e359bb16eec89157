"""Hashes that copies are found by, kept by extraction: those that decoding the video anew gives, or none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from deepfake.catalog.hashing import Job as HashJob
from deepfake.catalog.hashing import hash_video
from deepfake.faces import extractor
from deepfake.faces.copy_hashes import Hashed, Settings, grid_places, hashed_in_passing, kept_hashes
from deepfake.faces.crop_store import read_rows, write_shard
from deepfake.faces.extracted import Job
from deepfake.faces.extractor import extract
from deepfake.media.clips import write_clip
from deepfake.media.demux import scan
from deepfake.settings import Extract
from moving_squares import SquareDetector
from wandering_pictures import moving

GROUPS = {"x264-params": "cpu-independent=1:keyint=24:bframes=2", "preset": "ultrafast"}


@pytest.fixture(autouse=True)
def detector(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extractor, "_detector", lambda *arguments: SquareDetector())


def clip(folder: Path, seconds: float, fps: float = 12) -> Path:
    frames = moving(3, seconds)
    write_clip(folder / "clip.mp4", frames, fps, options=GROUPS)
    return folder / "clip.mp4"


def kept_of(path: Path, folder: Path, settings: Extract) -> Hashed | None:
    made = extract(Job("v", path, folder, "v.tar", settings))
    assert made.failure is None
    return kept_hashes(folder, "v.tar", Settings())


def same(one: Hashed, other: Hashed, n: int | None = None) -> bool:
    n = len(other.times_N) if n is None else n
    times = np.allclose(one.times_N, other.times_N[:n], atol=1e-4)
    return times and np.array_equal(one.words_N4, other.words_N4[:n]) and one.duration_s == other.duration_s


@pytest.mark.parametrize("seconds", [2.0, 10.0])
def test_a_short_clip_keeps_the_hashes_that_decoding_it_anew_gives(tmp_path: Path, seconds: float) -> None:
    path = clip(tmp_path, seconds)
    made, kept = hash_video(HashJob(path, Settings())), kept_of(path, tmp_path, Extract())
    assert kept is not None and len(made.times_N) == seconds * 4
    assert same(kept, made)


def test_of_half_a_minute_the_last_half_second_at_most_is_missing(tmp_path: Path) -> None:
    path = clip(tmp_path, 29.0)
    made, kept = hash_video(HashJob(path, Settings())), kept_of(path, tmp_path, Extract())
    assert kept is not None and 0 < len(made.times_N) - len(kept.times_N) <= 2
    assert same(kept, made, len(kept.times_N))


def test_a_video_that_is_searched_keeps_all_of_them(tmp_path: Path) -> None:
    path = clip(tmp_path, 45.0)
    made, kept = hash_video(HashJob(path, Settings())), kept_of(path, tmp_path, Extract())
    assert kept is not None and same(kept, made)


def test_what_extraction_did_not_decode_leaves_none(tmp_path: Path) -> None:
    path = clip(tmp_path, 10.0)
    assert kept_of(path, tmp_path, Extract(sampling="keyframe")) is None
    demuxed = scan(path)
    places = grid_places(demuxed, 4.0).tolist()
    thumbs = dict.fromkeys(places, np.tile(np.arange(128, dtype=np.uint8), (72, 1)))
    assert hashed_in_passing(demuxed, thumbs, Settings()) is not None
    for missing in (places[0], places[20], places[-3]):
        assert hashed_in_passing(demuxed, {p: t for p, t in thumbs.items() if p != missing}, Settings()) is None
    ends: Sequence[int] = places[:-2]
    assert hashed_in_passing(demuxed, {place: thumbs[place] for place in ends}, Settings()) is not None
    assert hashed_in_passing(demuxed, {place: thumbs[place] for place in places[:-3]}, Settings()) is None


def test_a_damaged_video_keeps_none_and_neither_does_one_of_more_than_two_minutes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = clip(tmp_path, 10.0)
    monkeypatch.setattr("deepfake.faces.copy_hashes.LONGEST_S", 9.0)
    assert kept_of(path, tmp_path, Extract()) is None
    monkeypatch.undo()
    monkeypatch.setattr(extractor, "_detector", lambda *arguments: SquareDetector())
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2 : len(raw) // 2 + 400] = bytes(400)
    path.write_bytes(raw)
    assert kept_of(path, tmp_path, Extract()) is None


def test_a_shard_of_an_older_version_of_other_settings_or_a_lost_one_has_none(tmp_path: Path) -> None:
    assert kept_of(clip(tmp_path, 2.0), tmp_path, Extract()) is not None
    assert kept_hashes(tmp_path, "v.tar", replace(Settings(), version=0)) is None
    assert kept_hashes(tmp_path, "w.tar", Settings()) is None
    rows = read_rows(tmp_path / "v.tar")
    write_shard(tmp_path / "old.tar", [], {name: value for name, value in rows.items() if name != "copy_hashes"})
    assert kept_hashes(tmp_path, "old.tar", Settings()) is None
    (tmp_path / "cut.tar").write_bytes((tmp_path / "v.tar").read_bytes()[:700])
    assert kept_hashes(tmp_path, "cut.tar", Settings()) is None
