"""Cuts are found, fades, flashes and moves are not taken for cuts; PySceneDetect judges the same clips."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from deepfake.media.clips import write_clip
from deepfake.media.shots import CutFinder, SceneDetectCuts, cut_detector, luma_change, structure_change
from deepfake.media.video import sample

FPS = 25


def scene(seed: int, shift_px: int = 0, gain: float = 1.0) -> np.ndarray:
    """A 320 x 180 picture of soft blobs, seen through a window that moves over a larger one."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(20, 236, (6, 12, 3), dtype=np.uint8)
    large = cv2.resize(coarse, (640, 180), interpolation=cv2.INTER_CUBIC)
    return np.clip(large[:, shift_px : shift_px + 320] * gain, 0, 255).astype(np.uint8)


def cuts_by_finder(frames: list[np.ndarray]) -> list[int]:
    finder = CutFinder()
    thumbs = [cv2.resize(cv2.cvtColor(f, cv2.COLOR_RGB2GRAY), (64, 36), interpolation=cv2.INTER_AREA) for f in frames]
    return [i for i, thumb in enumerate(thumbs) if finder.feed(thumb, i / FPS)]


def three_shots() -> list[np.ndarray]:
    return [scene(i // 25, shift_px=i % 25 * 2) for i in range(75)]


def fade_to_black_and_back() -> list[np.ndarray]:
    gains = np.concatenate([np.ones(20), np.linspace(1, 0, 20), np.linspace(0, 1, 20), np.ones(20)])
    return [scene(1, gain=gain) for gain in gains]


def fade_out_and_another_in() -> list[np.ndarray]:
    gains = np.concatenate([np.ones(20), np.linspace(1, 0, 20), np.linspace(0, 1, 20), np.ones(20)])
    return [scene(1 if i < 40 else 2, gain=gain) for i, gain in enumerate(gains)]


def flashes() -> list[np.ndarray]:
    return [np.full((180, 320, 3), 255, np.uint8) if i in (20, 21, 50) else scene(1, shift_px=i) for i in range(75)]


def photo_flashes() -> list[np.ndarray]:
    return [scene(1, shift_px=i, gain=1.8 if i in (20, 50, 51) else 1.0) for i in range(75)]


def quick_pan() -> list[np.ndarray]:
    return [scene(1, shift_px=min(i * 10, 300)) for i in range(40)]


def noise_on_a_still() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    still = scene(1).astype(int)
    return [np.clip(still + rng.normal(0, 12, still.shape), 0, 255).astype(np.uint8) for _ in range(40)]


SCENES: list[tuple[Callable[[], list[np.ndarray]], list[int]]] = [
    (three_shots, [25, 50]),
    (fade_to_black_and_back, []),
    (flashes, []),
    (photo_flashes, []),
    (quick_pan, []),
    (noise_on_a_still, []),
]


@pytest.mark.parametrize(("make", "expected"), SCENES, ids=lambda value: getattr(value, "__name__", ""))
def test_cuts_are_found_and_nothing_else(make: Callable[[], list[np.ndarray]], expected: list[int]) -> None:
    assert cuts_by_finder(make()) == expected


def test_a_fade_into_another_scene_is_one_cut_where_that_appears() -> None:
    cuts = cuts_by_finder(fade_out_and_another_in())
    assert len(cuts) == 1
    assert 40 <= cuts[0] <= 45


def test_a_shot_shorter_than_a_quarter_second_is_not_cut_twice() -> None:
    frames = [scene(2 if 20 <= i < 24 else 1) for i in range(50)]
    assert cuts_by_finder(frames) == [20]


def test_changes_are_measured_as_worked_by_hand() -> None:
    dark = np.array([[0, 10], [20, 30]], np.uint8)
    assert luma_change(dark, dark + 5) == pytest.approx(5)
    assert structure_change(dark, dark * 2 + 7) == pytest.approx(0, abs=1e-6)
    assert structure_change(dark, 30 - dark) == pytest.approx(2)
    assert structure_change(dark, np.zeros((2, 3), np.uint8)) == 2
    assert luma_change(dark, np.zeros((2, 3), np.uint8)) == 255


def test_sampling_gives_frames_their_shot(tmp_path: Path) -> None:
    path = tmp_path / "shots.mp4"
    write_clip(path, three_shots(), FPS)
    opened = sample(path, "uniform", 75)
    assert [frame.shot for frame in opened] == [0] * 25 + [1] * 25 + [2] * 25
    assert [(cut.index, cut.time_s) for cut in opened.cuts] == [(25, 1.0), (50, 2.0)]


@pytest.mark.parametrize("mode", ["reference", "adaptive", "shot_aware"])
def test_shots_are_seen_when_only_reference_frames_are_decoded(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "shots.mp4"
    write_clip(path, three_shots(), FPS)
    opened = sample(path, mode, 12)  # type: ignore[arg-type]
    assert {frame.shot for frame in opened} == {0, 1, 2}
    assert all(frame.shot == frame.index // 25 for frame in sample(path, mode, 12))  # type: ignore[arg-type]


def test_shot_aware_sampling_does_not_miss_a_short_shot(tmp_path: Path) -> None:
    path = tmp_path / "short.mp4"
    write_clip(path, [scene(2 if 52 <= i < 62 else 1 if i < 52 else 3, shift_px=i % 10) for i in range(180)], FPS)
    assert 1 in {frame.shot for frame in sample(path, "shot_aware", 4)}
    assert 1 not in {frame.shot for frame in sample(path, "uniform", 4)}


def test_adaptive_sampling_takes_more_where_more_changes(tmp_path: Path) -> None:
    path = tmp_path / "half.mp4"
    write_clip(path, [scene(1, shift_px=max(0, i - 60) * 5) for i in range(120)], FPS)
    indices = [frame.index for frame in sample(path, "adaptive", 20)]
    still, moving = sum(i < 60 for i in indices), sum(i >= 60 for i in indices)
    assert moving >= 3 * still
    assert still >= 2


def test_detectors_are_chosen_by_name() -> None:
    assert isinstance(cut_detector("luma"), CutFinder)
    with pytest.raises(ValueError, match="choose luma or scenedetect"):
        cut_detector("magic")


@pytest.mark.parametrize(("make", "expected"), SCENES, ids=lambda value: getattr(value, "__name__", ""))
def test_pyscenedetect_finds_the_same_cuts_but_falls_for_light(
    make: Callable[[], list[np.ndarray]], expected: list[int], tmp_path: Path
) -> None:
    library = pytest.importorskip("scenedetect")
    path = tmp_path / "clip.mp4"
    write_clip(path, make(), FPS)
    judged = [start.frame_num for start, _ in library.detect(str(path), library.AdaptiveDetector())[1:]]
    ours = sample(path, "uniform", 500)
    assert len(list(ours)) > 0
    assert [cut.index for cut in ours.cuts] == expected
    # The library takes flashes and the blackest frame of a fade for cuts; ours must not.
    assert judged == {"fade_to_black_and_back": [39], "flashes": [20, 50], "photo_flashes": [20, 50]}.get(
        make.__name__, expected
    )


def test_pyscenedetect_can_be_used_instead(tmp_path: Path) -> None:
    pytest.importorskip("scenedetect")
    path = tmp_path / "clip.mp4"
    write_clip(path, three_shots(), FPS)
    opened = sample(path, "uniform", 75, cut_detector=cut_detector("scenedetect"))
    assert len(list(opened)) == 75
    assert isinstance(cut_detector("scenedetect"), SceneDetectCuts)
    assert [cut.index for cut in opened.cuts] == [25, 50]
