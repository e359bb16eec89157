"""Long videos are searched first: who is seen for a second is found, anywhere, at a cost that is bounded."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from deepfake.faces import extractor
from deepfake.faces.extracted import Extraction, Searched, read_extraction
from deepfake.faces.extractor import Job, extract
from deepfake.faces.passes import LivePasses
from deepfake.faces.search import Search, search
from deepfake.media.demux import scan
from deepfake.media.video import sample
from deepfake.settings import Extract
from moving_squares import SquareDetector

MINUTES = Extract(crop_px=32)
FPS = 5
Clip = Callable[..., Path]


@pytest.fixture
def detector(monkeypatch: pytest.MonkeyPatch) -> SquareDetector:
    """Sees white squares in place of faces, as sure of them as MTCNN is of a face."""
    made = SquareDetector(score=0.995)
    monkeypatch.setattr(extractor, "_detector", lambda *arguments: made)
    return made


def seen_at(*spans_s: tuple[float, float]) -> Callable[[int], list[tuple[int, int, int, int]]]:
    return lambda number: [(60, 30, 90, 60)] if any(a <= number / FPS < b for a, b in spans_s) else []


_made: dict[tuple[object, ...], bytes] = {}


def clip(square_clip: Clip, length_s: float, *spans_s: tuple[float, float]) -> Path:
    """A clip with a face within these spans; an equal one is not encoded twice."""
    what = (length_s, *spans_s)
    if what not in _made:
        _made[what] = square_clip(seen_at(*spans_s), n_frames=round(length_s * FPS), fps=FPS).read_bytes()
    path = square_clip(seen_at(), n_frames=1, fps=FPS)
    path.write_bytes(_made[what])
    return path


def extraction(path: Path, tmp_path: Path, settings: Extract = MINUTES) -> Extraction:
    return extract(Job("v", path, tmp_path, "v.tar", settings))


def found(path: Path, settings: Extract = MINUTES, sees: SquareDetector | None = None) -> Search | None:
    job = Job("v", path, path.parent, "v.tar", settings)
    return search(scan(path), settings, LivePasses(job, sees or SquareDetector()))  # type: ignore[arg-type]


@pytest.mark.parametrize("begins_s", [599.0, 300.4])
def test_a_face_in_one_second_of_ten_minutes_is_found_and_has_several_frames(
    square_clip: Clip, tmp_path: Path, detector: SquareDetector, begins_s: float
) -> None:
    made = extraction(clip(square_clip, 600, (begins_s, begins_s + 1)), tmp_path)
    assert len(made.tracks) == 1 and len(made.tracks[0]) >= 4
    assert all(begins_s <= face.time_s < begins_s + 1 for face in made.faces)
    assert made.searched is not None and made.searched.gap_s <= 1.0 and made.searched.n_appearances == 1


def test_the_number_of_detections_is_bounded(square_clip: Clip, tmp_path: Path, detector: SquareDetector) -> None:
    made = extraction(clip(square_clip, 120, (0, 120)), tmp_path)
    n_frames = 32 * np.sqrt(120 / 30)
    assert made.n_sampled == pytest.approx(n_frames, abs=1) and len(made.tracks) == 1
    assert made.searched is not None and made.searched.n_frames <= 2 * 120
    tries = 3 * extractor.LOOKED_AT_TURNED  # of unsure faces, whether they stand upright
    assert len(detector.sizes_px) <= made.searched.n_frames + made.n_sampled + tries


def test_a_guest_of_a_second_beside_the_speaker_is_a_track_of_their_own(
    square_clip: Clip, tmp_path: Path, detector: SquareDetector
) -> None:
    def boxes(number: int) -> list[tuple[int, int, int, int]]:
        guest = [(110, 30, 140, 60)] if 200 <= number / FPS < 201 else []
        return [(20, 30, 50, 60), *guest]

    made = extraction(square_clip(boxes, n_frames=240 * FPS, fps=FPS), tmp_path)
    lengths = sorted(len(track) for track in made.tracks)
    assert len(lengths) == 2 and lengths[0] >= 4 and lengths[1] >= 90


@pytest.mark.parametrize("mode", ["reference", "uniform", "keyframe", "adaptive", "shot_aware"])
def test_a_clip_up_to_the_bound_is_sampled_as_it_always_was(
    square_clip: Clip, tmp_path: Path, detector: SquareDetector, mode: str
) -> None:
    path, settings = clip(square_clip, 30, (29, 30)), Extract(crop_px=32, sampling=mode)
    assert found(path, settings) is None
    made = extraction(path, tmp_path, settings)
    assert made.searched is None
    assert list(made.sampled_s) == [round(frame.time_s, 4) for frame in sample(path, mode)]


@pytest.mark.parametrize("mode", ["reference", "uniform", "adaptive", "shot_aware"])
def test_every_mode_that_spreads_frames_finds_a_face_in_the_last_second(
    square_clip: Clip, tmp_path: Path, detector: SquareDetector, mode: str
) -> None:
    made = extraction(clip(square_clip, 120, (119, 120)), tmp_path, Extract(crop_px=32, sampling=mode))
    assert len(made.tracks) == 1 and len(made.faces) >= 4


def test_modes_that_were_asked_for_certain_frames_keep_them(square_clip: Clip) -> None:
    path = clip(square_clip, 40, (0, 40))
    assert found(path, Extract(sampling="fps")) is None
    assert found(path, Extract(long_from_s=1000)) is None
    assert found(path) is not None


def test_the_same_video_gives_the_same_frames_again(square_clip: Clip) -> None:
    path = clip(square_clip, 90, (10, 11), (40, 55))
    first, again = found(path), found(path)
    assert first is not None and again is not None
    assert first.places.tolist() == again.places.tolist() and first.about == again.about


def test_a_long_video_without_a_face_is_sampled_evenly_and_says_how_much_was_searched(
    square_clip: Clip, tmp_path: Path, detector: SquareDetector
) -> None:
    made = extraction(clip(square_clip, 60), tmp_path)
    assert made.status == "no_face" and made.n_sampled == 32 and made.searched is not None
    assert made.reason == f"no face in {32 + made.searched.n_frames} frames"


def test_a_search_that_may_look_at_little_says_how_far_its_frames_are_apart(square_clip: Clip) -> None:
    path = clip(square_clip, 120, (50, 70))
    result = found(path, Extract(search_every_s=2, search_frames=15))
    # 15 frames two seconds apart are 30 s; four times that is searched by 30 frames, four seconds apart.
    assert result is not None and result.about.n_frames <= 60 and 2 < result.about.gap_s <= 4.2


def test_of_too_many_faces_it_is_said_how_many_were_judged(
    square_clip: Clip, tmp_path: Path, detector: SquareDetector
) -> None:
    spans = [(10.0 * i, 10.0 * i + 2) for i in range(12)]
    made = extraction(clip(square_clip, 120, *spans), tmp_path, Extract(crop_px=32, max_appearances=6, max_tracks=2))
    assert made.searched is not None and (made.searched.n_appearances, made.searched.n_judged) == (12, 6)
    assert len(made.tracks) == 6 and made.tracks[0][0].time_s < 20 and made.tracks[-1][-1].time_s > 100


def test_what_was_searched_is_kept_with_the_crops(square_clip: Clip, tmp_path: Path, detector: SquareDetector) -> None:
    made = extraction(clip(square_clip, 60, (30, 40)), tmp_path)
    assert read_extraction(tmp_path, "v.tar", "v") == made
    assert isinstance(made.searched, Searched) and made.searched.n_judged == 1


def test_small_faces_are_found_by_a_closer_look(square_clip: Clip) -> None:
    class Shortsighted(SquareDetector):
        def __init__(self) -> None:
            super().__init__(min_side_px=200)

    path = square_clip(seen_at((0, 60)), n_frames=60 * FPS, fps=FPS, width_px=240, height_px=160)
    near = found(path, Extract(search_side_px=120), Shortsighted())
    far = found(path, Extract(search_side_px=120, second_look=False), Shortsighted())
    assert far is not None and far.about.n_appearances == 0
    assert near is not None and near.about.n_appearances == 1
