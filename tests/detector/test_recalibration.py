"""A score is served as it was fitted, by stage 07's tables and by a detector's own calibration alike."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.special import expit
from torch import nn

from deepfake import tables
from deepfake.detector import recalibration
from deepfake.detector.file import Part, TrainedDetector, load_detector, save_detector, write_stack
from deepfake.detector.labelled_clips import Clips
from deepfake.detector.left_out_scores import read_scores
from deepfake.detector.recalibration import member_tracks, networks_sha256, refit
from deepfake.detector.video_scorer import VideoScorer
from deepfake.ensemble.calibration import Calibration
from deepfake.ensemble.pooling import video_logits
from deepfake.ensemble.stack import Stack, fit_stack
from deepfake.errors import UserError
from deepfake.evaluation.labelled import Labelled
from deepfake.faces.extraction import faces_of_rows
from deepfake.files import sha256_of
from deepfake.models.checkpoints import save_model
from deepfake.models.detector_file import read_header
from deepfake.models.frames import FrameClassifier
from deepfake.models.members import Member
from deepfake.scoring.run_heads import score_tracks
from deepfake.settings import Ensemble, Extract, Predict
from learning_data import awake_head, config, invented, one_thread  # noqa: F401 - a fixture

pytestmark = pytest.mark.usefixtures("one_thread")
CPU = Predict(device="cpu", precision="fp32")
POOLING = Ensemble(one_sided_members=("b",), drop_margin=None, stack_l2=1000.0, min_track_frames=2)
N = 12


def network(seed: int) -> FrameClassifier:
    torch.manual_seed(seed)
    model = FrameClassifier("test_efficientnet", 32).eval()
    nn.init.normal_(model.head.weight, std=50.0)  # so that scores spread
    return model


def detector() -> TrainedDetector:
    stack = Stack(("a", "b"), (0.5, 0.5), Calibration("none"), 0.5, (0.4, 0.6))
    return TrainedDetector("d", [Member("a", network(1)), Member("b", network(2))], stack, Extract(), POOLING, {})


def clips_of_two_tracks(folder: Path) -> Clips:
    """Clips whose six frames are of two people, one of them with a small face."""
    faces = invented(folder, n_originals=N // 2, n_frames=6, n_tests=0).faces
    faces = faces.sort_values(["video_id", "frame_index"], ignore_index=True)
    faces["track"] = faces.groupby("video_id").cumcount() // 3
    faces.loc[faces["track"] == 1, ["x1_px", "y1_px"]] = 45.0
    faces["sharpness"] = 1000.0
    ids = sorted(faces["video_id"].unique())
    labelled = [Labelled(v, i % 2, {"identity": f"p{i}"}) for i, v in enumerate(ids)]
    return Clips(faces, labelled, ids, folder)


def served(made: TrainedDetector, clips: Clips) -> np.ndarray:
    scorer = VideoScorer(made, CPU)
    groups = clips.faces.groupby("video_id", sort=True)
    videos = [faces_of_rows(part.to_dict("records")) for _, part in groups]
    logits = [scorer.video_logit(scorer.score(clips.cache_dir, faces)) for faces in videos]
    return scorer.p_fake(np.array(logits))


def test_the_score_of_a_fit_is_the_score_that_is_served(tmp_path: Path) -> None:
    clips, made = clips_of_two_tracks(tmp_path), detector()
    tracks = member_tracks(made, "x", clips, CPU)
    assert np.bincount(tracks.video_K).tolist() == [2] * N
    total = video_logits(tracks, made.stack.line)[0]
    labels = (total > np.median(total)).astype(int)  # so that the fit has something to find
    stack = fit_stack(tracks, labels, POOLING)
    fitted = stack.p_fake(tracks)
    assert min(stack.weights) > 0.05 and np.ptp(fitted) > 0.3, "two members count, and the scores spread"
    own_worst = [
        [max(tracks.logits_KM[tracks.video_K == v, m]) for m in range(2)] for v in range(N)
    ]  # each member at a track of its own, as it must not be
    rows = video_logits(tracks, stack.line)[1]
    assert np.abs(np.array(own_worst) - tracks.logits_KM[rows]).max() > 0.01, "their worst tracks differ"
    assert served(replace(made, stack=stack), clips) == pytest.approx(fitted, abs=1e-6)


def test_stage_07_scores_test_videos_as_its_detector_does(tmp_path: Path) -> None:
    settings = config(tmp_path)
    settings = settings.model_copy(
        update={
            "ensemble": Ensemble(drop_margin=None, stack_l2=1000.0, min_track_frames=2),
            "sequences": settings.sequences.model_copy(update={"heads": ("sequences",)}),
        }
    )
    clips, frames = clips_of_two_tracks(settings.work_dir), network(1)
    head = awake_head("sequences", frames.n_features, 4, 0)
    member = Member("frames", frames, {"sequences": head})
    pair = Stack(("frames", "sequences"), (0.5, 0.5), Calibration("none"), 0.5)
    scorer = VideoScorer(TrainedDetector("d", [member], pair, Extract(), settings.ensemble, {}), CPU)
    from deepfake.scoring.run_scores import score_faces

    outputs = score_faces(scorer.members[0][1], clips.faces, clips.cache_dir)
    frame_rows, head_rows = outputs.scores("frames"), score_tracks(head, outputs.tracks(), CPU, "sequences")
    settings.run_dir.mkdir(parents=True)
    for name in ("oof", "test"):
        tables.write(tables.FRAME_SCORES, frame_rows, settings.run_dir / f"frames_{name}.parquet")
        tables.write(tables.TRACK_SCORES, head_rows, settings.run_dir / f"sequences_{name}.parquet")
    tables.write(tables.FACES, clips.faces, settings.work_dir / "faces.parquet")
    from deepfake.ensemble.decision import member_tracks as stage_tracks

    tracks = stage_tracks(settings, "test")
    total = video_logits(tracks, pair.line)[0]
    stack = fit_stack(tracks, (total > np.median(total)).astype(int), settings.ensemble)
    assert min(stack.weights) > 0.05 and np.ptp(stack.p_fake(tracks)) > 0.2
    again = TrainedDetector("d", [member], stack, Extract(), settings.ensemble, {})
    assert served(again, clips) == pytest.approx(stack.p_fake(tracks), abs=1e-6)


def test_a_file_calibrated_anew_keeps_its_networks_byte_by_byte(tmp_path: Path) -> None:
    clips, settings = clips_of_two_tracks(tmp_path / "work"), config(tmp_path)
    parts = []
    for number, name in enumerate("ab"):
        folder = tmp_path / name
        save_model(folder, "frames", network(number), fold=None, settings_digest="d", metrics={}, about={})
        parts.append(Part(name, folder))
    old, new = tmp_path / "old.safetensors", tmp_path / "new.safetensors"
    settings = settings.model_copy(update={"ensemble": POOLING})
    save_detector(old, "d", parts, detector().stack, settings)
    refitted = refit(load_detector(old), networks_sha256(old), clips, CPU)
    write_stack(old, new, refitted.after)
    assert networks_sha256(new) == networks_sha256(old)
    assert sha256_of(new) != sha256_of(old)
    before, after = read_header(old), read_header(new)
    assert after["stack"] == json.loads(json.dumps(refitted.after.to_dict())) != before["stack"]
    assert {k: v for k, v in after.items() if k not in ("stack", "about")} == {
        k: v for k, v in before.items() if k not in ("stack", "about")
    }
    assert load_detector(new).stack == refitted.after
    assert served(load_detector(new), clips) == pytest.approx(refitted.after.p_fake(refitted.tracks), abs=1e-6)
    assert refitted.changed(0.0) == (N, N) and refitted.changed(1.0) == (N, 0)


def test_a_second_fit_shows_no_crop_to_the_networks_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clips, made = clips_of_two_tracks(tmp_path), detector()
    first = member_tracks(made, "x", clips, CPU)
    monkeypatch.setattr(recalibration, "read_crop", lambda *_: pytest.fail("it was scored again"))
    assert np.array_equal(member_tracks(made, "x", clips, CPU).logits_KM, first.logits_KM)
    other = replace(made, stack=replace(made.stack, weights=(1.0, 0.0)))
    assert np.array_equal(member_tracks(other, "x", clips, CPU).logits_KM, first.logits_KM), "weights do not matter"


def test_networks_over_tracks_are_left_to_stage_07(tmp_path: Path) -> None:
    frames = network(1)
    member = Member("a", frames, {"sequences": awake_head("sequences", frames.n_features, 4, 0)})
    with pytest.raises(UserError, match="07_ensemble"):
        refit(replace(detector(), members=[member]), "x", clips_of_two_tracks(tmp_path), CPU)


def test_a_face_too_small_to_see_is_served_the_prior(tmp_path: Path) -> None:
    clips = clips_of_two_tracks(tmp_path)
    clips.faces[["x1_px", "y1_px"]] = clips.faces[["x0_px", "y0_px"]].to_numpy() + 1e-3
    stack = Stack(("a", "b"), (0.5, 0.5), Calibration("platt", 2.4, -2.1), 0.5)
    assert served(replace(detector(), stack=stack), clips) == pytest.approx([0.5] * N, abs=1e-3)
    assert expit(-2.1) == pytest.approx(0.11, abs=0.01), "what a raw logit of 0 would be called"


def left_out_rows(clips: Clips, logits: np.ndarray, model: str = "a") -> pd.DataFrame:
    return clips.faces[["video_id", "track", "frame_index"]].assign(model=model, logit=logits)


def test_scores_of_networks_that_left_a_clip_out_stand_in_for_the_member_s_own(tmp_path: Path) -> None:
    clips, made = clips_of_two_tracks(tmp_path), detector()
    plain = member_tracks(made, "x", clips, CPU)
    rows = left_out_rows(clips, np.arange(len(clips.faces), dtype=float))
    some = rows[rows["video_id"].isin(clips.video_ids[:3])]
    changed = member_tracks(made, "x", clips, CPU, some)
    concerned = changed.video_K < 3
    means = some.groupby(["video_id", "track"])["logit"].max().to_numpy()  # of three frames the worst is a quarter
    all_frames = some.groupby(["video_id", "track"])["logit"].mean().to_numpy()
    wanted = POOLING.top_weight * means + (1 - POOLING.top_weight) * all_frames
    assert changed.logits_KM[concerned, 0] == pytest.approx(wanted)
    assert np.array_equal(changed.logits_KM[~concerned], plain.logits_KM[~concerned])
    assert np.array_equal(changed.logits_KM[:, 1], plain.logits_KM[:, 1]), "the other member speaks for itself"


def test_left_out_scores_that_lack_a_frame_or_are_of_strangers_are_refused(tmp_path: Path) -> None:
    clips, made = clips_of_two_tracks(tmp_path), detector()
    rows = left_out_rows(clips, np.zeros(len(clips.faces)))
    with pytest.raises(UserError, match=r"'a' has none of frame \d+ in track 0 of .*make them anew"):
        member_tracks(made, "x", clips, CPU, rows.iloc[1:])
    path = tmp_path / "scores.parquet"
    tables.write(tables.FRAME_SCORES, rows.assign(model="z"), path)
    with pytest.raises(UserError, match=r"found model 'z'; wanted those of a, b"):
        read_scores(path, ["a", "b"])
    path.write_bytes(b"no table")
    with pytest.raises(UserError, match=r"not a readable table of frame scores"):
        read_scores(path, ["a", "b"])
    tables.write(tables.FRAME_SCORES, rows, path)
    assert len(read_scores(path, ["a", "b"])) == len(rows)
