"""Half of the frames first: which they are, who is settled by them, and that all others get what they always got."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from deepfake.detector.score_videos import Scored, score_videos
from deepfake.detector.two_passes import EVERY, score_every_second, score_in_two_passes
from deepfake.detector.video_scorer import VideoScorer
from deepfake.ensemble.early_exit import coarse_to_fine
from deepfake.faces import extraction, extractor
from deepfake.faces.chunk_tasks import Work
from deepfake.faces.extractor import Job, shard_name
from deepfake.faces.reading import ReadJob
from deepfake.media.video import sample
from deepfake.models.frames import FrameClassifier
from deepfake.models.members import Member
from deepfake.settings import Ensemble, Extract, Predict
from deepfake.workers import Failed
from invented_scorer import always, faces_of, scorer_with
from learning_data import one_thread  # noqa: F401 - a fixture
from moving_squares import SquareDetector, moving

pytestmark = pytest.mark.usefixtures("one_thread")
EXTRACT = Extract(frames_per_video=32, sampling="uniform", crop_px=32)
CPU = Predict(device="cpu", precision="fp32")
# The bounds of the band of 0.3 to 0.7 lie at logits of -0.85 and 0.85, a track of 32 frames counts 32/33.
OPEN, FORGED, REAL = 0.86, 4.0, -4.0


def detector_of(network: FrameClassifier, most: float = 1.0) -> VideoScorer:
    return scorer_with(
        Ensemble(early_exit="on", exit_most=most, small_face_px=8, blurred_sharpness=0.01),
        [Member("a", network, {})],
        a=1.0,
    )


# --- Which frames ------------------------------------------------------------------------------------


@pytest.mark.parametrize("n_frames", [16, 32, 64])
def test_every_second_frame_is_the_half_that_early_exit_scores_first(n_frames: int) -> None:
    assert sorted(coarse_to_fine(n_frames)[: n_frames // EVERY]) == list(range(0, n_frames, EVERY))


@pytest.mark.parametrize("sampling", ["uniform", "reference", "keyframe", "fps"])
def test_the_first_pass_samples_frames_of_the_second(square_clip: Callable[..., Path], sampling: str) -> None:
    path = square_clip(moving, n_frames=60)
    whole, half = ([f.index for f in sample(path, sampling, 16, every=every)] for every in (1, EVERY))  # type: ignore[arg-type]
    assert half == whole[::EVERY]


def test_passes_have_shards_of_their_own_and_those_of_one_pass_stay_where_they_were() -> None:
    assert shard_name("a", EXTRACT) == shard_name("a", EXTRACT, 1) != shard_name("a", EXTRACT, EVERY)


# --- Settled or open ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("logit", "n_seen"), [(FORGED, 8), (REAL, 16), (0.0, 16), (OPEN, 0)])
def test_half_a_track_settles_what_half_of_the_whole_track_does(tmp_path: Path, logit: float, n_seen: int) -> None:
    made = detector_of(always(logit))
    scores = score_every_second(made, tmp_path, faces_of(tmp_path, 16))
    assert [len(verdict.frame_logits) for verdict in scores] == ([n_seen] if n_seen else [])
    if n_seen:
        assert scores[0].n_frames == 32 and scores[0].logit == pytest.approx(logit * 32 / 33, abs=1e-4)


def test_where_half_is_enough_an_open_video_is_settled_by_it(tmp_path: Path) -> None:
    (verdict,) = score_every_second(detector_of(always(OPEN), most=0.5), tmp_path, faces_of(tmp_path, 16))
    assert (len(verdict.frame_logits), verdict.n_frames) == (16, 32)


def test_one_frame_of_two_settles_nothing(tmp_path: Path) -> None:
    assert score_every_second(detector_of(always(REAL)), tmp_path, faces_of(tmp_path, 1)) == []


# --- A folder ----------------------------------------------------------------------------------------


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Extract in this process with the detector of squares; what was read, and every how many-th frame of it."""
    done: list[tuple[str, int]] = []

    def run_here(function: Callable[[Work], object], works: Iterable[Work], limits: object) -> Iterator[object]:
        for work in works:
            job = work.what
            assert isinstance(job, Job | ReadJob), "no clip is long"
            done.append((job.video_id, job.every))
            yield work, Failed("took longer than 1 s and was stopped") if "hang" in job.video_id else function(work)

    monkeypatch.setattr(extraction, "run_each", run_here)
    monkeypatch.setattr(extractor, "_detector", lambda *_: SquareDetector())
    return done


@pytest.fixture
def clips(square_clip: Callable[..., Path], tmp_path: Path) -> dict[str, Path]:
    """A clip with a face, one without, one that hangs, and no video at all."""
    paths = {"face.mp4": square_clip(moving, name="face.mp4")}
    paths["none.mp4"] = square_clip(lambda i: [], name="none.mp4")
    paths["hang.mp4"] = square_clip(moving, n_frames=9, name="hang.mp4")
    paths["text.mp4"] = tmp_path / "text.mp4"
    paths["text.mp4"].write_text("no video")
    return paths


def scored(
    score: Callable[..., Iterator[Scored]], clips: dict[str, Path], cache: Path, logit: float
) -> dict[str, Scored]:
    made = replace(detector_of(always(logit)).detector, extract=EXTRACT)
    return {one.video_id: one for one in score(clips, made, f"{logit}", cache, CPU, 1)}


def test_a_settled_video_is_read_once_and_only_whoever_shows_no_face_twice(
    clips: dict[str, Path], read: list[tuple[str, int]], tmp_path: Path
) -> None:
    results = scored(score_in_two_passes, clips, tmp_path / "cache", FORGED)
    assert sorted(read) == [
        ("face.mp4", 2),
        ("hang.mp4", 2),
        ("none.mp4", 1),
        ("none.mp4", 2),
        ("text.mp4", 2),
    ]
    assert {name: one.fallback and one.fallback.partition(":")[0] for name, one in results.items()} == {
        "face.mp4": None,
        "none.mp4": "no_face",
        "hang.mp4": "unreadable",
        "text.mp4": "unreadable",
    }
    assert results["face.mp4"].n_faces == 16
    assert results["face.mp4"].p_fake == pytest.approx(1 / (1 + np.exp(-FORGED * 32 / 33)), abs=1e-4)


def test_an_open_video_gets_what_one_pass_over_all_frames_gives(
    clips: dict[str, Path], read: list[tuple[str, int]], tmp_path: Path
) -> None:
    result = scored(score_in_two_passes, clips, tmp_path / "two", OPEN)["face.mp4"]
    assert [every for name, every in read if name == "face.mp4"] == [2, 1]
    once = scored(score_videos, clips, tmp_path / "one", OPEN)["face.mp4"]
    assert (result.p_fake, result.n_faces, result.reading) == (once.p_fake, 32, once.reading)
    assert np.array_equal(result.tracks[0].frame_indices, once.tracks[0].frame_indices)


@pytest.mark.parametrize("logit", [FORGED, OPEN])
def test_a_stopped_run_goes_on_and_gives_the_same_whatever_lies_in_the_cache(
    clips: dict[str, Path], read: list[tuple[str, int]], tmp_path: Path, logit: float
) -> None:
    whole = scored(score_in_two_passes, clips, tmp_path / "whole", logit)
    cache = tmp_path / "stopped"
    made = replace(detector_of(always(logit)).detector, extract=EXTRACT)
    running = score_in_two_passes(clips, made, f"{logit}", cache, CPU, 1)
    next(running)
    running.close()  # type: ignore[attr-defined]
    scored(score_videos, clips, cache, logit)
    for _ in range(2):
        again = scored(score_in_two_passes, clips, cache, logit)
        assert {name: (one.p_fake, one.n_faces, one.fallback) for name, one in again.items()} == {
            name: (one.p_fake, one.n_faces, one.fallback) for name, one in whole.items()
        }
    read.clear()
    scored(score_in_two_passes, clips, cache, logit)
    assert {name for name, _ in read} == {"hang.mp4"}, "only what was stopped is tried again"
