"""The curve of frames: what is chosen, seen once, stopped early, timed; what the table and the plot say."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from deepfake.detector.file import TrainedDetector
from deepfake.detector.labelled_clips import Clips
from deepfake.detector.video_scorer import VideoScorer
from deepfake.ensemble.calibration import Calibration
from deepfake.ensemble.pooling import track_logit
from deepfake.ensemble.stack import Stack
from deepfake.errors import UserError
from deepfake.evaluation.labelled import Labelled
from deepfake.faces.extraction import faces_of_rows
from deepfake.models.frames import FrameClassifier
from deepfake.models.members import Member
from deepfake.settings import Config, Ensemble, Extract, Predict, Validation
from lab import frames_sweep as sweeping
from lab.frames_curve import as_markdown, plot, write
from lab.frames_sweep import Costs, Scores, Sweep, chosen, cross_chosen, curve, extraction_cpu_s, network_cpu_s, table
from learning_data import face_row, invented, one_thread  # noqa: F401 - a fixture

pytestmark = pytest.mark.usefixtures("one_thread")
N_FRAMES = 16
CONFIG = Config(validation=Validation(bootstrap=20))
EXTRACT = Extract(frames_per_video=N_FRAMES)


def scorer() -> VideoScorer:
    torch.manual_seed(1)
    model = FrameClassifier("test_efficientnet", 32).eval()
    nn.init.normal_(model.head.weight, std=1.0)
    stack = Stack(("a",), (1.0,), Calibration("none"), 0.5, (0.4, 0.6))
    detector = TrainedDetector(
        name="d", members=[Member("a", model, {})], stack=stack, extract=EXTRACT, ensemble=Ensemble(), about={}
    )
    return VideoScorer(detector, Predict(device="cpu", precision="fp32"))


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Clips:
    """Four people, a real and a fake clip of each with 16 frames, and a clip without a face."""
    folder = tmp_path_factory.mktemp("clips")
    faces = invented(folder, n_originals=4, n_frames=N_FRAMES, n_tests=0).faces
    ids = [*sorted(faces["video_id"].unique()), "none.mp4"]
    labelled = [
        Labelled(name, int(name.startswith("fake")), {"file": name, "identity": name[4:5], "family": ""})
        for name in ids
    ]
    return Clips(faces, labelled, ids, folder)


@pytest.fixture(scope="module")
def swept(clips: Clips, tmp_path_factory: pytest.TempPathFactory) -> Sweep:
    return Sweep(scorer(), clips, EXTRACT, tmp_path_factory.mktemp("networks"), "key")


def test_all_frames_give_what_the_detector_gives(swept: Sweep, clips: Clips) -> None:
    scores, made = swept.at(N_FRAMES), scorer()
    for i, video_id in enumerate(clips.video_ids[:-1]):
        rows = faces_of_rows(clips.faces[clips.faces["video_id"] == video_id].to_dict("records"))
        assert scores.logit_V[i] == pytest.approx(made.video_logit(made.score(clips.cache_dir, rows)), abs=1e-4)
    assert np.isnan(scores.logit_V[-1]), "no face, no score"
    assert scores.seen_V.tolist() == [N_FRAMES] * 8 + [0]
    assert np.allclose(scores.logit_V, swept.stopped("off", 0.0).logit_V, equal_nan=True)


@pytest.mark.parametrize("n", [1, 2, 4, 8, 64])
def test_so_many_frames_are_seen_as_were_asked_for_or_there_are(swept: Sweep, n: int) -> None:
    scores = swept.at(n)
    assert scores.seen_V[:-1].tolist() == [min(n, N_FRAMES)] * 8
    assert np.isfinite(scores.logit_V[:-1]).all()


def test_frames_lie_in_the_middles_of_equal_parts_and_a_rare_face_is_seen_as_rarely() -> None:
    rows = faces_of_rows(face_row("v.mp4", 0, 10 * i, (0, 0, 9, 9)) for i in range(16))
    assert np.flatnonzero(chosen(rows, 4, 16)).tolist() == [2, 6, 10, 14]
    assert np.flatnonzero(chosen(rows, 1, 16)).tolist() == [8]
    assert chosen(rows[:4], 8, 16).sum() == 2, "the face is in a quarter of the frames"
    assert chosen(rows[:4], 1, 16).sum() == 1
    assert chosen(rows[:4], 4, 4).sum() == 4, "a clip of four keyframes has no more"
    both = [*rows, *(replace(face, track=1) for face in rows)]
    assert np.array_equal(chosen(both, 4, 16)[:16], chosen(both, 4, 16)[16:]), "of both faces of a frame"


def test_what_networks_said_is_read_back(clips: Clips, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = scorer()
    first = Sweep(made, clips, EXTRACT, tmp_path, "key").at(4)
    monkeypatch.setattr(made, "frame_outputs", lambda crops: pytest.fail("the networks were asked again"))
    again = Sweep(made, clips, EXTRACT, tmp_path, "key").at(4)
    assert np.array_equal(first.logit_V, again.logit_V, equal_nan=True)


# --- Early exit --------------------------------------------------------------------------------------


class Made:
    """A sweep of ten people with made-up scores: margin 0 sees fewest frames and changes one half's verdicts."""

    band = (-0.5, 0.5)

    def __init__(self, wrong_half: int | None) -> None:
        labelled = [Labelled(f"{i}.mp4", i % 2, {"identity": str(i // 2), "family": ""}) for i in range(20)]
        self.clips = Clips(pd.DataFrame(), labelled, [v.name for v in labelled], Path())
        self.right = np.where(self.clips.labels == 1, 1.0, -1.0)
        self.wrong = np.where(self.clips.halves == wrong_half, -self.right, self.right)

    def stopped(self, mode: Literal["off", "on", "forced"], margin: float) -> Scores:
        if mode == "off":
            return Scores(self.right, np.full(20, 32.0))
        return Scores(self.wrong if margin == 0 else self.right, np.full(20, 4.0 + 10 * margin))


def test_the_margin_of_a_half_is_chosen_on_the_other_one() -> None:
    made = Made(wrong_half=0)
    scores, margins = cross_chosen(cast(Sweep, made))
    assert margins == [0.0, 0.05], "half 1, where margin 0 changes nothing, speaks for half 0"
    in_first = made.clips.halves == 0
    assert (scores.logit_V[in_first] == made.wrong[in_first]).all(), "so half 0 gets what that costs"
    assert (scores.seen_V[in_first] == 4).all() and (scores.seen_V[~in_first] == 4.5).all()


def test_the_margin_that_saves_most_is_taken_where_none_changes_a_verdict() -> None:
    assert cross_chosen(cast(Sweep, Made(wrong_half=None)))[1] == [0.0, 0.0]


# --- Skip gate ---------------------------------------------------------------------------------------


@pytest.fixture
def gated(clips: Clips) -> Sweep:
    """A sweep of one clip of two tracks whose crops have these grey levels and these logits."""
    made = object.__new__(Sweep)
    made.scorer, made.clips, made.extract = scorer(), replace(clips, video_ids=clips.video_ids[:1]), EXTRACT
    rows = clips.faces.iloc[:6].assign(track=[0, 0, 0, 0, 1, 1], sharpness=100.0)
    rows[["x0_px", "y0_px", "x1_px", "y1_px"]] = 0.0, 0.0, 99.0, 99.0
    first = clips.video_ids[0]
    made.faces = {first: faces_of_rows(rows.to_dict("records"))}
    made.outputs = {first: [(np.array([1.0, 9.0, 2.0, 9.0, -5.0, 9.0]), np.zeros((6, 0)))]}
    made.thumbs = {first: np.array([10, 11, 13, 14, 13, 13], np.int16)[:, None, None] * np.ones((1, 2, 2), np.int16)}
    return made


def test_crops_that_hardly_differ_get_the_logit_of_the_one_scored_in_their_own_track(gated: Sweep) -> None:
    video_id = gated.clips.video_ids[0]
    assert gated._sources(video_id, 0.5).tolist() == [0, 1, 2, 3, 4, 4], (
        "the same grey, but of the other track: its own"
    )
    assert gated._sources(video_id, 1.0).tolist() == [0, 0, 2, 2, 4, 4]
    assert gated._sources(video_id, 3.0).tolist() == [0, 0, 0, 3, 4, 4], "4 levels from the one that was scored"


def test_a_skip_gate_scores_as_if_the_skipped_frames_had_said_the_same(gated: Sweep) -> None:
    scores = gated.skipped(1.0)
    assert scores.seen_V.tolist() == [3]
    assert scores.logit_V[0] == pytest.approx(track_logit(np.array([1.0, 1, 2, 2]), Ensemble()) * 4 / 5, abs=1e-6)
    assert gated.skipped(0.5).seen_V.tolist() == [5]


def test_a_skip_gate_gives_what_the_detector_gives_with_that_setting(swept: Sweep, clips: Clips) -> None:
    difference = float(np.median([np.abs(np.diff(t, axis=0)).mean((1, 2)) for t in swept.thumbs.values()]))
    scores, made = swept.skipped(difference), scorer().with_settings(skip_difference=difference)
    assert 8 < scores.seen_V.sum() < 8 * N_FRAMES, "some are skipped, some are not"
    for i, video_id in enumerate(clips.video_ids[:-1]):
        rows = faces_of_rows(clips.faces[clips.faces["video_id"] == video_id].to_dict("records"))
        assert scores.logit_V[i] == pytest.approx(made.video_logit(made.score(clips.cache_dir, rows)), abs=1e-4)
    assert np.isnan(scores.logit_V[-1]) and scores.seen_V[-1] == 0


# --- The curve ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def points(swept: Sweep) -> list[sweeping.Point]:
    return curve(swept, [1, 4, N_FRAMES], Costs(0.01, lambda n: 0.1 * n), CONFIG, [1e-9, 255.0])


def test_points_tell_frames_costs_and_what_was_lost(points: list[sweeping.Point]) -> None:
    assert [(p.early_exit, p.n_frames) for p in points] == [
        ("-", 1),
        ("-", 4),
        ("-", 16),
        ("off", 16),
        ("on", 16),
        ("forced", 16),
        ("skip", 16),
        ("skip", 16),
    ]
    one, most, off, forced, nothing, all_alike = points[0], points[2], points[3], points[5], points[6], points[7]
    assert (nothing.note, all_alike.note) == ("1e-09 grey levels", "255 grey levels")
    assert nothing.share_saved == 0 and all_alike.frames_seen == pytest.approx(8 / 9)
    assert most.largest_change == off.largest_change == nothing.largest_change == 0 < all_alike.largest_change <= 1
    assert one.frames_seen == pytest.approx(8 / 9), "one clip of nine has no face"
    assert one.share_saved == pytest.approx(15 / 16) and most.share_saved == off.share_saved == 0
    assert (one.extraction_cpu_s, forced.extraction_cpu_s) == pytest.approx((0.1, 1.6)), "early exit decodes all"
    assert one.network_cpu_s == pytest.approx(0.01 * 8 / 9) and one.cpu_s == pytest.approx(0.1 + 0.01 * 8 / 9)
    assert most.roc_auc_difference.value == most.log_loss_difference.value == 0
    assert one.roc_auc_difference.value == pytest.approx((one.roc_auc.value or 0) - (most.roc_auc.value or 0))
    assert forced.share_saved == 0.5, "eight of sixteen"
    assert most.verdicts_changed == 0 and all(0 <= p.verdicts_changed <= 1 for p in points)
    assert points[4].note.startswith("margin ")


def test_the_files_hold_every_point(points: list[sweeping.Point], tmp_path: Path) -> None:
    write(points, tmp_path)
    read = pd.read_csv(tmp_path / "frames.csv")
    assert len(read) == len(points) == len(as_markdown(points).splitlines()) - 2
    assert {"sampling", "frames_seen", "roc_auc", "roc_auc_low", "log_loss_difference", "cpu_s"} <= set(read.columns)
    assert read["cpu_s"].tolist() == pytest.approx(table(points)["cpu_s"].tolist(), rel=1e-4)
    assert (tmp_path / "frames.png").read_bytes().startswith(b"\x89PNG")
    assert b"early exit" in (tmp_path / "frames.svg").read_bytes()
    assert plot(points, "svg") == plot(points, "svg")


def test_a_point_without_interval_or_value_is_drawn_without(points: list[sweeping.Point]) -> None:
    nothing = sweeping.Measure(None, "no fakes")
    bare = [sweeping.Point(**{**vars(p), "roc_auc": nothing, "log_loss": sweeping.Measure(0.5)}) for p in points]
    assert plot(bare, "png").startswith(b"\x89PNG")
    assert "| - |" in as_markdown(bare)


# --- Costs and settings ------------------------------------------------------------------------------


def test_extraction_is_timed_on_clips_spread_over_all_and_read_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    monkeypatch.setattr(sweeping, "extract", lambda job: done.append(job.video_id))
    clock = iter([10.0, 13.0])
    monkeypatch.setattr(sweeping.time, "process_time", lambda: next(clock))
    paths = [Path(f"{i}.mp4") for i in range(12)]
    assert extraction_cpu_s(paths, EXTRACT, tmp_path / "note.json") == 1.0
    assert done == ["2.mp4", "2.mp4", "6.mp4", "10.mp4"], "the first of them twice: MTCNN is loaded"
    assert extraction_cpu_s(paths, EXTRACT, tmp_path / "note.json") == 1.0
    assert len(done) == 4


def test_a_single_clip_can_be_timed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[Any] = []
    monkeypatch.setattr(sweeping, "extract", done.append)
    assert extraction_cpu_s([Path("a.mp4")], EXTRACT, tmp_path / "note.json") >= 0
    assert len(done) == 2


def test_networks_are_timed_by_the_crop(clips: Clips) -> None:
    assert 0 < network_cpu_s(scorer(), clips) < 1


def test_modes_are_those_of_the_settings_and_a_rate_stands_for_frames() -> None:
    with pytest.raises(UserError, match="choose from uniform, reference, keyframe, fps"):
        sweeping._most(EXTRACT, "sideways", 64, 1)
    settings = sweeping._most(EXTRACT, "fps", 64, 1)
    assert (settings.frames_per_video, settings.sample_fps) == (64, EXTRACT.sample_fps * 4), "four times as dense"
    assert sweeping._thinner(settings, 16) == {"sample_fps": EXTRACT.sample_fps}
    assert sweeping._thinner(EXTRACT, 16) == {"frames_per_video": 16}
