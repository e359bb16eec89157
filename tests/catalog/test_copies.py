"""Copies: what is found of hand-made hashes and of changed clips, and which seconds are said to be which."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from pathlib import Path

import cv2
import numpy as np
import pytest

from deepfake.catalog.alignment import Range, aligned_ranges, best_run, clear_bits, moves_alike
from deepfake.catalog.copies import LIMITS, find_like, index_videos
from deepfake.catalog.copy_index import Index, Row, read_index, write_part
from deepfake.catalog.hashing import Asked, Hashed, Held, Job, Settings, asked_of, hash_video, hashed_and_asked
from deepfake.catalog.search import gains_of_videos
from deepfake.errors import UserError
from deepfake.faces.descriptors import bytes_of, words_of
from deepfake.media.clips import write_clip
from wandering_pictures import FPS, Frames, moving

STEP_S = 0.25  # of an index


def hashes(n: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 2**64, (n, 4), dtype=np.uint64)


def held(n: int, seed: int) -> Held:
    return Held(np.arange(n) * STEP_S, hashes(n, seed), n * STEP_S)


def shown(words: np.ndarray, step_s: float, mirrored: bool = False) -> Asked:
    """A clip that shows these hashes, one a step, as it is or mirrored."""
    other = hashes(len(words), 99)[:, None]
    both = (other, words[:, None]) if mirrored else (words[:, None], other)
    return Asked(np.arange(len(words)) * step_s, *map(np.ascontiguousarray, both), len(words) * step_s)


def seconds(one: Range) -> list[float]:
    return [one.clip_from_s, one.clip_to_s, one.from_s, one.to_s]


def test_an_excerpt_lies_at_its_seconds() -> None:
    video = held(40, 0)
    (found,) = aligned_ranges(shown(video.words_NW[8:20], STEP_S), video, LIMITS)
    assert seconds(found) == pytest.approx([0, 3, 2, 5], abs=STEP_S / 2)
    assert (found.speed, found.is_mirrored, found.n_frames, found.bits) == (1.0, False, 12, 0.0)


def test_two_spliced_excerpts_are_two_ranges_in_the_order_of_the_clip() -> None:
    video = held(40, 0)
    clip = np.concatenate([video.words_NW[24:36], hashes(6, 5), video.words_NW[4:12]])
    first, second = aligned_ranges(shown(clip, STEP_S), video, LIMITS)
    assert seconds(first) == pytest.approx([0, 3, 6, 9], abs=STEP_S / 2)
    assert seconds(second) == pytest.approx([4.5, 6.5, 1, 3], abs=STEP_S / 2)


def test_a_clip_that_runs_faster_says_so() -> None:
    video = held(44, 0)
    quick = video.words_NW[np.minimum((np.arange(80) * 1.1 / 2).round().astype(int), 43)]
    (found,) = aligned_ranges(shown(quick, STEP_S / 2), video, LIMITS)
    assert found.speed == pytest.approx(1.1, abs=0.03)
    assert seconds(found) == pytest.approx([0, 10, 0, 11], abs=0.3)


def test_a_mirrored_clip_says_so() -> None:
    video = held(20, 0)
    (found,) = aligned_ranges(shown(video.words_NW, STEP_S, mirrored=True), video, LIMITS)
    assert found.is_mirrored and found.n_frames == 20


def test_other_hashes_are_no_copy_and_neither_are_fewer_than_four() -> None:
    video = held(40, 0)
    assert aligned_ranges(shown(hashes(40, 1), STEP_S), video, LIMITS) == []
    few = np.concatenate([hashes(8, 2), video.words_NW[10:13], hashes(8, 3)])
    assert aligned_ranges(shown(few, STEP_S), video, LIMITS) == []


def near_but_still(words: np.ndarray, turned: np.ndarray) -> np.ndarray:
    """The first hash all along, with bits turned, always the same ones."""
    raw = np.unpackbits(np.frombuffer(bytes_of(words[:1]), np.uint8)).copy()
    raw[turned] ^= 1
    return words_of(np.packbits(raw).tobytes()).repeat(len(words), axis=0)


SPREAD = np.array([number % 8 * 32 + number // 8 for number in range(64)])  # one bit in each eighth, then the next ones


@pytest.mark.parametrize(
    ("turned", "is_copy"), [(SPREAD[:26], True), (SPREAD[:27], False), (SPREAD, False), (np.arange(64), True)]
)
def test_what_is_only_near_must_move_alike_unless_something_is_laid_over_it(turned: np.ndarray, is_copy: bool) -> None:
    still = hashes(1, 0).repeat(20, axis=0)
    video = Held(np.arange(20) * STEP_S, still, 5.0)
    assert bool(aligned_ranges(shown(near_but_still(still, turned), STEP_S), video, LIMITS)) is is_copy


def test_clear_bits_are_counted_without_the_two_eighths_that_differ_most() -> None:
    one, other = np.zeros((2, 4), np.uint64), np.zeros((2, 4), np.uint64)
    other[0, 0] = 0xFF  # eight bits of the first eighth, in one of two pictures
    other[:, 1] = 0xFFFFFFFF  # all of another
    other[1, 3] = 0b111
    assert clear_bits(one, other) == pytest.approx(1.5 * 8 / 6)
    assert clear_bits(one, one) == 0.0


def test_moving_alike_is_the_share_of_common_changes() -> None:
    words = np.zeros((4, 4), np.uint64)
    words[2, 0] = 0b11
    other = np.zeros((4, 4), np.uint64)
    other[2, 0] = 0b01
    assert moves_alike(words, other) == 0.5
    assert moves_alike(words, words) == 1.0
    assert moves_alike(other * 0, other * 0) == 0.0


def test_the_best_run_is_the_one_with_the_highest_sum() -> None:
    assert best_run(np.array([-1.0, 2, 3, -4, 5, -9, 5])) == (6.0, 1, 5)
    assert best_run(np.array([-1.0]))[0] <= 0


def test_the_search_counts_as_numpy_does() -> None:
    words, starts, asked = hashes(30, 0), np.array([0, 4, 4, 20, 30]), hashes(6, 1).reshape(3, 2, 4)
    bits = np.bitwise_count(asked.reshape(6, 1, 4) ^ words[None]).sum(2).astype(int).reshape(3, 2, 30).min(1)
    wanted = [np.maximum(128 - bits[:, a:b], 0).max(1, initial=0).sum() for a, b in itertools.pairwise(starts)]
    for threads in (1, 3):
        assert gains_of_videos(words, starts, asked, 128, threads).tolist() == wanted


def row(name: str, n: int, seed: int, reason: str | None = None) -> Row:
    times = np.arange(n, dtype=np.float32) / 4
    return Row("folder", name, 10, seed, Hashed(times, hashes(n, seed), n / 4, reason))


def same(one: Index, other: Index) -> bool:
    lists = (one.keys, one.states, one.reasons) == (other.keys, other.states, other.reasons)
    arrays = ("durations_V", "starts_V", "times_N", "words_N4")
    return lists and all(np.array_equal(getattr(one, name), getattr(other, name)) for name in arrays)


@pytest.mark.parametrize("seed", range(8))
def test_appending_equals_rebuilding(tmp_path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows = [row(f"v{i:02d}", int(rng.integers(0, 9)), i, "cut short" if i == 3 else None) for i in range(20)]
    rng.shuffle(rows)  # type: ignore[arg-type]
    write_part(tmp_path / "once", rows, Settings())
    for part in np.array_split(np.arange(20), int(rng.integers(2, 7))):
        write_part(tmp_path / "parts", [row("v07", 3, 77)], Settings())  # an older state of one of them
        write_part(tmp_path / "parts", [rows[i] for i in part], Settings())
    write_part(tmp_path / "parts", [one for one in rows if one.video_id == "v07"], Settings())
    once, parts = read_index(tmp_path / "once"), read_index(tmp_path / "parts")
    assert same(once, parts) and [key[1] for key in once.keys] == sorted(one.video_id for one in rows)
    assert once.held(7).words_NW.tolist() == row("v07", len(once.held(7).times_N), 7).hashed.words_N4.tolist()


def test_an_index_of_another_descriptor_version_or_rate_is_refused(tmp_path: Path) -> None:
    for number, other in enumerate((Settings(descriptor="cosine"), Settings(version=0), Settings(sample_fps=2.0))):
        folder = tmp_path / str(number)
        write_part(folder, [row("v", 3, 0)], other)
        with pytest.raises(UserError, match=r"cannot be compared.*deepfake find index"):
            read_index(folder, Settings())


def test_an_index_that_is_missing_or_cut_short_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not exist; `deepfake find index"):
        read_index(tmp_path / "none", Settings())
    with pytest.raises(UserError, match="holds no index"):
        read_index(tmp_path, Settings())
    path = write_part(tmp_path, [row("v", 3, 0)], Settings())
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(UserError, match=r"part-000001\.parquet is not a readable Parquet file.*again"):
        read_index(tmp_path, Settings())


def letterboxed(frames: Frames) -> Frames:
    return [cv2.copyMakeBorder(frame, 16, 16, 0, 0, cv2.BORDER_CONSTANT) for frame in frames]


CHANGES: Mapping[str, Callable[[Frames], Frames]] = {
    "re-encoded": lambda frames: frames,
    "smaller": lambda frames: [cv2.resize(frame, (96, 64), interpolation=cv2.INTER_AREA) for frame in frames],
    "mirrored": lambda frames: [frame[:, ::-1] for frame in frames],
    "letterboxed": letterboxed,
    "cropped": lambda frames: [frame[5:-5, 8:-8] for frame in frames],
    "captioned": lambda frames: [cv2.rectangle(frame.copy(), (0, 82), (160, 96), (20, 20, 20), -1) for frame in frames],
}


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eleven videos and an index of them."""
    root = tmp_path_factory.mktemp("archive")
    for seed in range(11):
        write_clip(root / "videos" / f"v{seed:02d}.mp4", moving(seed), FPS)
    paths = {("videos", path.name): path for path in sorted((root / "videos").iterdir())}
    done = index_videos(paths, root / "index", 1, Settings(), lambda: None)
    assert (done.n_videos, done.n_new, done.n_known, done.failures) == (11, 11, 0, {})
    return root


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_clip_is_found_among_ten_others(archive: Path, tmp_path: Path, change: str) -> None:
    write_clip(tmp_path / "copy.mp4", CHANGES[change](moving(4)), FPS, crf=33)
    found = find_like(asked_of(tmp_path / "copy.mp4", Settings()), read_index(archive / "index"))
    assert [one.key for one in found] == [("videos", "v04.mp4")]
    assert seconds(found[0].range) == pytest.approx([0, 4, 0, 4], abs=0.3)
    assert found[0].range.is_mirrored is (change == "mirrored")


def test_an_excerpt_among_other_pictures_is_found_with_its_seconds(archive: Path, tmp_path: Path) -> None:
    other = moving(77, 8.0)
    frames = [*other[: 3 * FPS], *moving(6)[FPS : 3 * FPS], *other[3 * FPS :]]
    write_clip(tmp_path / "clip.mp4", frames, FPS)
    (found,) = find_like(asked_of(tmp_path / "clip.mp4", Settings()), read_index(archive / "index"))
    assert found.key == ("videos", "v06.mp4")
    assert seconds(found.range) == pytest.approx([3, 5, 1, 3], abs=0.5)


def test_a_clip_of_something_else_is_found_nowhere_and_one_is_no_copy_of_itself(archive: Path, tmp_path: Path) -> None:
    index = read_index(archive / "index")
    write_clip(tmp_path / "clip.mp4", moving(50), FPS)
    assert find_like(asked_of(tmp_path / "clip.mp4", Settings()), index) == []
    own = asked_of(archive / "videos" / "v02.mp4", Settings())
    assert [one.key[1] for one in find_like(own, index)] == ["v02.mp4"]
    assert find_like(own, index, leave_out=("videos", "v02.mp4")) == []


def test_a_video_that_is_decoded_once_is_held_and_asked_as_one_that_is_decoded_twice(archive: Path) -> None:
    path, settings = archive / "videos" / "v03.mp4", Settings()
    held, asked = hashed_and_asked(path, settings)
    held_alone, asked_alone = hash_video(Job(path, settings)), asked_of(path, settings)
    assert len(held.times_N) == 16 < len(asked.times_P)
    assert np.array_equal(held.words_N4, held_alone.words_N4) and np.array_equal(held.times_N, held_alone.times_N)
    assert np.array_equal(asked.times_P, asked_alone.times_P) and asked.duration_s == asked_alone.duration_s
    for is_mirrored in (False, True):
        assert np.array_equal(asked.words(is_mirrored), asked_alone.words(is_mirrored))


def test_a_flat_clip_has_nothing_to_be_found_by(archive: Path, tmp_path: Path) -> None:
    write_clip(tmp_path / "black.mp4", [np.zeros((96, 160, 3), np.uint8)] * FPS, FPS)
    asked = asked_of(tmp_path / "black.mp4", Settings())
    assert len(asked.times_P) == 0 and find_like(asked, read_index(archive / "index")) == []
