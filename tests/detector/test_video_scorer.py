"""Scores of tracks and videos, with invented networks; the whole is run in test_end_to_end.py."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import expit
from torch import nn

from deepfake.datasets.views import blur_surroundings, resize, see
from deepfake.detector.score_videos import Scored, refuse_equal_scores, summary_lines
from deepfake.detector.video_scorer import Track, VideoScorer
from deepfake.ensemble.submission import count_reasons
from deepfake.errors import UserError
from deepfake.faces.crop_store import decode_crop, encode_crop, write_shard
from deepfake.faces.extracted import Extraction, FurtherStream, StoredFace, stored_crop, stored_picture
from deepfake.faces.extraction import faces_of_rows
from deepfake.faces.reading import Reading
from deepfake.media.file_facts import VideoFile
from deepfake.media.streams import VideoStream
from deepfake.models.build import new_head
from deepfake.models.detector_file import find_weights
from deepfake.models.frames import FrameClassifier
from deepfake.models.heads.sequences import SequenceClassifier
from deepfake.models.members import Member
from deepfake.scoring.frame_scorer import FrameScorer
from deepfake.settings import CropView, Ensemble, Predict, Sequences
from invented_scorer import always, faces_of, scorer_with
from learning_data import face_row, one_thread, picture  # noqa: F401 - a fixture

pytestmark = pytest.mark.usefixtures("one_thread")


def scored(p_fake: float, number: int = 0, fallback: str | None = None, crops: str | None = None) -> Scored:
    return Scored(f"{number}.mp4", p_fake, 32, 1, fallback, crops=crops)


def test_more_than_ten_equal_scores_mean_weights_that_do_not_fit() -> None:
    with pytest.raises(UserError, match="all 11 different videos"):
        refuse_equal_scores([scored(0.5, i) for i in range(11)])
    with pytest.raises(UserError, match="all 11 different videos"):
        refuse_equal_scores([scored(0.5, i, crops=str(i)) for i in range(11)])
    refuse_equal_scores([scored(0.5, i) for i in range(10)])
    refuse_equal_scores([*(scored(0.5, i) for i in range(10)), scored(0.51, 10)])


def test_copies_of_one_clip_have_equal_scores_rightly() -> None:
    refuse_equal_scores([scored(0.5, i, crops="same") for i in range(12)])
    refuse_equal_scores([scored(0.5, i, crops=str(i % 10)) for i in range(40)])


def test_videos_without_a_score_are_no_equal_scores() -> None:
    refuse_equal_scores([scored(0.5, i, "no_face") for i in range(20)])


def test_crops_of_a_copy_are_named_alike_and_those_of_another_clip_are_not(tmp_path: Path) -> None:
    first = Extraction("a.mp4", shard="a.tar", faces=tuple(faces_of(tmp_path, 2, 1)))
    later = tuple(
        replace(face, shard="b.tar", time_s=face.time_s + 5, offset=face.offset + 512) for face in first.faces
    )
    assert Extraction("b.mp4", shard="b.tar", faces=later).crops == first.crops
    other = (*first.faces[:-1], replace(first.faces[-1], sharpness=999.0))
    assert Extraction("a.mp4", shard="a.tar", faces=other).crops != first.crops


def test_fallbacks_are_counted_by_their_short_reason() -> None:
    reasons = {"a": "unreadable: cut short", "b": "no_face", "c": "unreadable: text"}
    assert count_reasons(reasons) == {"no_face": 1, "unreadable": 2}


def test_a_summary_counts_scores_and_names_what_could_not_be_read() -> None:
    one, none = scored(0.5), replace(scored(0.5, 0, "no_face"), video_id="n.mp4")
    bad = [replace(scored(0.5, 0, "unreadable: cut short"), video_id=f"{i}.mp4") for i in range(21)]
    lines = summary_lines([one, none, *bad], Path("out.csv"))
    assert lines[:2] == ["23 videos -> out.csv", "scored: 1; without a score: 1 no_face, 21 unreadable"]
    assert lines[2] == "  '0.mp4': cut short" and len(lines) == 22, "twenty are named, one is only counted"


def test_a_summary_names_the_streams_of_files_that_hold_several() -> None:
    stream = VideoStream(0, "h264", 64, 48, 60, 0.0, 2.0, True)
    still, other = replace(stream, stream=1, left_out="a still picture"), replace(stream, stream=2)
    file = VideoFile(Path("v.mp4"), 1, probe=SimpleNamespace(streams=(stream, still, other)))  # type: ignore[arg-type]
    extraction = Extraction("v.mp4", further=(FurtherStream(2, failure="cut short"),))
    one = replace(scored(0.5), video_id="v.mp4", reading=Reading(file, extraction))
    assert summary_lines([one], Path("out.csv"))[2:] == [
        "  'v.mp4': 1 of 3 video streams looked at; 1 left out: a still picture; 2 left out: cut short"
    ]
    plain = replace(file, probe=SimpleNamespace(streams=(stream,)))  # type: ignore[arg-type]
    assert len(summary_lines([replace(one, reading=Reading(plain, Extraction("v.mp4")))], Path("out.csv"))) == 2


def test_weights_must_be_named_where_there_are_none_or_several(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="0 detectors"):
        find_weights(tmp_path)
    (tmp_path / "a.safetensors").touch()
    assert find_weights(tmp_path).name == "a.safetensors"
    (tmp_path / "b.safetensors").touch()
    with pytest.raises(UserError, match="--weights"):
        find_weights(tmp_path)


# --- Members, mixed as the stack says ----------------------------------------------------------------


def scorer(members: list[Member], views: tuple[CropView, ...] = (CropView(),), **weights: float) -> VideoScorer:
    pooling = Ensemble(prior_frames=1.0, min_track_frames=3, small_face_px=40, views=views)
    return scorer_with(pooling, members, **weights)


def test_networks_of_one_name_are_averaged_and_names_weighed(tmp_path: Path) -> None:
    members = [Member("a", always(2.0)), Member("b", always(-1.0)), Member("a", always(4.0))]
    (verdict,) = scorer(members, a=0.5, b=0.25).score(tmp_path, faces_of(tmp_path, 3))
    assert verdict.frame_logits == pytest.approx([0.5 * 3 + 0.25 * -1] * 3)
    assert verdict.logit == pytest.approx(0.5 * 3 * 3 / 4 + 0.25 * -1 * 3 / 4), "three frames of four are trusted"


def test_every_head_of_a_file_is_scored_and_one_that_abstains_says_nothing(tmp_path: Path) -> None:
    frames = always(2.0)
    heads = {name: new_head(name, frames.n_features, Sequences(hidden=4)).eval() for name in ("motion", "two_stream")}
    made = scorer([Member("a", frames, heads)], a=0.5, motion=1.0, two_stream=1.0)
    long, single = made.score(tmp_path, faces_of(tmp_path, 3, 1))
    nn.init.constant_(heads["motion"].head.bias, 3.0)
    with_motion, still_single = made.score(tmp_path, faces_of(tmp_path, 3, 1))
    assert single.frame_logits.shape == (1,)
    assert np.isfinite([long.logit, single.logit]).all()
    assert still_single.logit == single.logit, "one frame does not move"
    assert with_motion.logit == long.logit, "the faces' landmarks all lie in one place"


def test_a_member_s_sequences_are_weighed_as_one_more_name(tmp_path: Path) -> None:
    frames = always(2.0)
    before_it_learns = SequenceClassifier(frames.n_features, 4).eval()  # gives the mean
    member = Member("a", frames, {"sequences": before_it_learns})
    (verdict,) = scorer([member], a=0.5, sequences=1.0).score(tmp_path, faces_of(tmp_path, 3))
    assert verdict.frame_logits == pytest.approx([3.0] * 3)
    assert verdict.logit == pytest.approx((0.5 * 2 + 2) * 3 / 4), "three frames of four are trusted"


def test_a_member_of_no_weight_is_not_asked(tmp_path: Path) -> None:
    made = scorer([Member("a", always(2.0), {}), Member("b", always(9.0), {})], a=1.0, b=0.0)
    assert [name for name, _, _ in made.members] == ["a"]
    (verdict,) = made.score(tmp_path, faces_of(tmp_path, 3))
    assert verdict.frame_logits == pytest.approx([2.0] * 3)


def test_the_logits_of_frames_are_those_of_the_frame_networks_as_a_verdict_draws_them(tmp_path: Path) -> None:
    pooling = Ensemble(prior_frames=0, min_track_frames=3, small_face_px=40, one_sided_members=("b",))
    varied = FrameClassifier("test_efficientnet", 32).eval()
    nn.init.normal_(varied.head.weight, std=0.5, generator=torch.Generator().manual_seed(0))
    made = scorer_with(pooling, [Member("a", always(1.0)), Member("b", varied), Member("a", always(3.0))], a=0.5, b=2.0)
    rows = faces_of(tmp_path, 4)
    (verdict,) = made.score(tmp_path, rows)
    crops = [stored_crop(tmp_path, face) for face in rows]
    stacked = made.frame_logits(made.frame_outputs(crops))
    assert np.ptp(stacked) > 0
    assert stacked == pytest.approx(verdict.frame_logits)
    assert (stacked > 0.5 * 2).all(), "a one-sided member's share is never below zero"


def test_a_negative_logit_of_a_one_sided_member_does_not_count(tmp_path: Path) -> None:
    pooling = Ensemble(prior_frames=0, min_track_frames=3, small_face_px=40, one_sided_members=("b",))
    faces = faces_of(tmp_path, 3)
    for logit, counted in ((-9.0, 0.0), (3.0, 3.05)):
        members = [Member("a", always(1.0)), Member("b", always(logit))]
        (verdict,) = scorer_with(pooling, members, a=0.5, b=0.5).score(tmp_path, faces)
        assert verdict.logit == pytest.approx(0.5 * 1.0 + 0.5 * counted, abs=0.01)
        assert verdict.frame_logits == pytest.approx([verdict.logit] * 3)


def test_views_of_a_crop_are_averaged(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = FrameClassifier("test_efficientnet", 32).eval()
    nn.init.normal_(model.head.weight, std=1.0)
    faces = faces_of(tmp_path, 3)
    views = (
        CropView(),
        CropView(mirror=True),
        CropView(size_ratio=2.0, view_ratio=0.5),
        CropView(surroundings_blur=0.1),
    )
    (all_four,) = scorer([Member("a", model)], views, a=1.0).score(tmp_path, faces)
    plain = FrameScorer(model, Predict(device="cpu", precision="fp32"))
    crops = [stored_crop(tmp_path, face) for face in faces]
    seen = [plain.crops([crop[:, ::step] for crop in crops])[0] for step in (1, -1)]
    larger = np.stack([see(crop, 0.5, 64) for crop in crops]).transpose(0, 3, 1, 2)
    seen_blurred = plain.crops([blur_surroundings(crop, 0.1) for crop in crops])[0]
    with torch.inference_mode():
        seen.append(model(torch.from_numpy(larger)).numpy())
    seen.append(seen_blurred)
    assert not np.allclose(seen[0], seen[1])
    assert not np.allclose(seen[0], seen[2])
    assert not np.allclose(seen[0], seen[3])
    assert all_four.frame_logits == pytest.approx(np.mean(seen, axis=0), abs=1e-4)


def test_a_member_may_have_views_of_its_own(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = FrameClassifier("test_efficientnet", 32).eval()
    nn.init.normal_(model.head.weight, std=1.0)
    faces = faces_of(tmp_path, 3)
    pooling = Ensemble(min_track_frames=3, small_face_px=40, member_views={"b": (CropView(crop_px=16, mirror=True),)})
    (alone,) = scorer_with(pooling, [Member("a", model)], a=1.0).score(tmp_path, faces)
    (other,) = scorer_with(pooling, [Member("b", model)], b=1.0).score(tmp_path, faces)
    (both,) = scorer_with(pooling, [Member("a", model), Member("b", model)], a=0.5, b=0.5).score(tmp_path, faces)
    plain = FrameScorer(model, Predict(device="cpu", precision="fp32"))
    crops = [stored_crop(tmp_path, face) for face in faces]
    assert crops[0].shape[0] == 32
    soft = plain.crops([resize(crop, 16)[:, ::-1] for crop in crops])[0]
    assert not np.allclose(alone.frame_logits, soft, atol=1e-3)
    assert alone.frame_logits == pytest.approx(plain.crops(crops)[0], abs=1e-4)
    assert other.frame_logits == pytest.approx(soft, abs=1e-4)
    assert both.frame_logits == pytest.approx((alone.frame_logits + other.frame_logits) / 2, abs=1e-6)


def test_heads_get_the_features_of_the_view_the_network_learnt_by(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = FrameClassifier("test_efficientnet", 32).eval()
    head = SequenceClassifier(model.n_features, 4).eval()
    plain = scorer([Member("a", model, {"sequences": head})], a=1.0, sequences=0.5)
    other = scorer([Member("a", model, {"sequences": head})], (CropView(mirror=True),), a=1.0, sequences=0.5)
    crops = [picture(i, False) for i in range(3)]
    assert np.array_equal(plain.frame_outputs(crops)[0][1], other.frame_outputs(crops)[0][1])
    without = scorer([Member("a", model)], (CropView(mirror=True),), a=1.0)
    assert not np.array_equal(plain.frame_outputs(crops)[0][1], without.frame_outputs(crops)[0][1])


def test_a_video_is_as_fake_as_its_credible_tracks_together(tmp_path: Path) -> None:
    made = scorer([Member("a", always(-2.0))], a=1.0)
    verdicts = made.score(tmp_path, faces_of(tmp_path, 4, 1, 9))
    assert [v.logit for v in verdicts] == pytest.approx([-2 * 4 / 5, -2 * 1 / 2, -2 * 9 / 10])
    together = np.log((np.exp(-1.6) + np.exp(-1.8)) / 2)
    assert made.video_logit(verdicts) == pytest.approx(together), "one frame is too short a track to count"
    assert made.video_logit(verdicts[1:2]) == 0.0, "and alone it says no more than the prior"
    assert made.p_fake(np.array([-1.6]))[0] == pytest.approx(expit(-1.6))


def test_each_round_over_a_track_gives_the_score_of_the_frames_seen_by_then(tmp_path: Path) -> None:
    made = scorer([Member("a", some_network())], a=1.0)
    track = Track(made, tmp_path, faces_of(tmp_path, 8))
    few, partial = track.score(np.array([0, 4]))
    assert few.frame_indices.tolist() == [0, 4] and (partial.n_seen, partial.n_frames, partial.logit) == (
        2,
        8,
        few.logit,
    )
    all_of_them, _ = track.score(np.arange(8))
    assert len(all_of_them.frame_logits) == 8 and few.frame_indices.tolist() == [0, 4], (
        "an earlier score stays as it was"
    )


@pytest.fixture
def two_paces() -> VideoScorer:
    """Member `each` sees every frame, `some` the middle one of four."""
    pooling = Ensemble(min_track_frames=1, prior_frames=0.0, member_strides={"some": 4}, top_weight=0.0)
    return scorer_with(pooling, [Member("each", some_network()), Member("some", some_network())], each=0.5, some=0.5)


def test_a_member_of_a_stride_sees_the_middle_of_each_run_and_its_logit_stands_for_the_run(
    two_paces: VideoScorer, tmp_path: Path
) -> None:
    faces = faces_of(tmp_path, 10)
    track = Track(two_paces, tmp_path, faces)
    track.score(np.arange(10))
    crops = [decode_crop(stored_picture(tmp_path, face), "") for face in faces]
    (each, _), (all_of_some, _) = two_paces.frame_outputs(crops)
    (logits, _), (strided, _) = two_paces.track_outputs(crops)
    places = [2, 2, 2, 2, 6, 6, 6, 6, 9, 9]  # the last run has two frames
    assert logits == pytest.approx(each, abs=1e-5) and strided == pytest.approx(all_of_some[places], abs=1e-5)
    assert len(set(np.round(each, 4).tolist())) > 5, "the frames do differ"
    (score,) = two_paces.settle([track])
    assert score.frame_logits == pytest.approx(0.5 * (each + all_of_some[places]), abs=1e-5)
    assert score.member_logits == pytest.approx([each.mean(), all_of_some[places].mean()], abs=1e-5)


def test_what_a_member_of_a_stride_looks_at_does_not_depend_on_how_the_frames_are_asked_for(
    two_paces: VideoScorer, tmp_path: Path
) -> None:
    faces = faces_of(tmp_path, 10)
    at_once = Track(two_paces, tmp_path, faces).score(np.arange(10))[0]
    by_and_by = Track(two_paces, tmp_path, faces)
    for some in ([0, 9], [0, 3, 5, 9], list(range(10))):
        score, _ = by_and_by.score(np.array(some))
        assert score.frame_logits == pytest.approx(at_once.frame_logits[some], abs=1e-5)
    two_paces.look_ahead([stored_picture(tmp_path, face) for face in faces])
    ahead = Track(two_paces, tmp_path, faces).score(np.arange(10))[0]
    assert ahead.frame_logits == pytest.approx(at_once.frame_logits, abs=1e-5)


def test_a_member_of_a_stride_is_shown_no_more_than_it_looks_at(
    two_paces: VideoScorer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: dict[int | None, int] = {}
    plain = two_paces.frame_outputs

    def counting(crops: list[np.ndarray], stride: int | None = None) -> list[tuple[np.ndarray, np.ndarray]]:
        shown[stride] = shown.get(stride, 0) + len(crops)
        return plain(crops, stride)

    monkeypatch.setattr(two_paces, "frame_outputs", counting)
    two_paces.score(tmp_path, faces_of(tmp_path, 10, 3))
    assert shown == {1: 13, 4: 4}


def test_a_small_face_counts_as_much_as_it_shows(tmp_path: Path) -> None:
    made = scorer([Member("a", always(2.0))], a=1.0)
    (verdict,) = made.score(tmp_path, faces_of(tmp_path, 3, side_px=32))
    assert verdict.logit == pytest.approx(2 * 3 / 4 * 32 / 40)


# --- Not every frame is scored --------------------------------------------------------------------


class Watched:
    """Counts the crops the networks of a scorer are shown, and the most at once."""

    def __init__(self, made: VideoScorer, monkeypatch: pytest.MonkeyPatch) -> None:
        self.n_shown = self.most = 0
        plain = made.frame_outputs

        def counting(crops: list[np.ndarray], stride: int | None = None) -> list[tuple[np.ndarray, np.ndarray]]:
            self.n_shown += len(crops)
            self.most = max(self.most, len(crops))
            return plain(crops, stride)

        monkeypatch.setattr(made, "frame_outputs", counting)


def some_network() -> FrameClassifier:
    torch.manual_seed(1)
    model = FrameClassifier("test_efficientnet", 32).eval()
    nn.init.normal_(model.head.weight, std=1.0)
    return model


def still(folder: Path, n_frames: int, fps: float = 25.0) -> list[StoredFace]:
    """Faces of a video that shows one picture all the time."""
    ((offset, size),) = write_shard(
        folder / "v.tar", [("a.png", encode_crop(picture(0, False), "png", 95))], {"faces": [{}]}
    )
    place = {"shard": "v.tar", "offset": offset, "size": size, "sharpness": 1000.0}
    rows = (face_row("v.mp4", 0, i, (0, 0, 64, 64), **place) | {"time_s": i / fps} for i in range(n_frames))
    return faces_of_rows(rows)


@pytest.mark.parametrize(
    ("logit", "mode", "n_seen"), [(9, "on", 8), (-9, "on", 16), (-9, "off", 32), (0, "on", 16), (0, "forced", 8)]
)
def test_looking_stops_as_soon_as_the_verdict_is_settled(
    logit: float, mode: Any, n_seen: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = scorer_with(Ensemble(early_exit=mode), [Member("a", always(logit), {})], a=1.0)
    watched = Watched(made, monkeypatch)
    (verdict,) = made.score(tmp_path, still(tmp_path, 32))
    assert watched.n_shown == len(verdict.frame_logits) == n_seen
    assert verdict.logit == pytest.approx(logit * 32 / 33), "trusted by the frames it has, not by those seen"
    assert (np.diff(verdict.times_s) > 0).all() and len(verdict.boxes) == n_seen
    assert made.video_logit([verdict]) == verdict.logit


def test_no_frame_is_shown_twice_and_rounds_add_up_to_looking_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    faces, members = faces_of(tmp_path, 13, 6), [Member("a", some_network(), {})]
    plain = scorer_with(Ensemble(), members, a=1.0).score(tmp_path, faces)
    never = Ensemble(early_exit="on", exit_margin=100, exit_most=1.0)
    made = scorer_with(never, members, a=1.0)
    watched = Watched(made, monkeypatch)
    by_rounds = made.score(tmp_path, faces)
    assert watched.n_shown == 19
    for one, other in zip(plain, by_rounds, strict=True):
        assert other.frame_logits == pytest.approx(one.frame_logits, abs=1e-4)
        assert other.logit == pytest.approx(one.logit, abs=1e-4)


def test_stopping_early_moves_the_score_within_its_interval_and_margin(tmp_path: Path) -> None:
    faces, members = faces_of(tmp_path, 32), [Member("a", some_network(), {})]
    logit = {
        mode: scorer_with(Ensemble(early_exit=mode), members, a=1.0).score(tmp_path, faces)[0].logit
        for mode in ("off", "on", "forced")
    }
    frames = scorer_with(Ensemble(), members, a=1.0).score(tmp_path, faces)[0].frame_logits
    assert abs(logit["on"] - logit["off"]) <= 2 * frames.std() / 4
    assert abs(logit["forced"] - logit["off"]) <= 2 * frames.std() / np.sqrt(8)


@pytest.mark.parametrize("mode", ["off", "on", "forced"])
@pytest.mark.parametrize("n_frames", [1, 2, 300])
@pytest.mark.parametrize("fps", [5.0, 120.0])
def test_a_picture_as_a_video_of_any_length_and_rate_has_a_score(
    mode: Any, n_frames: int, fps: float, tmp_path: Path
) -> None:
    made = scorer_with(Ensemble(early_exit=mode, skip_difference=1.0), [Member("a", some_network(), {})], a=1.0)
    verdicts = made.score(tmp_path, still(tmp_path, n_frames, fps))
    assert 0 < made.p_fake(np.array([made.video_logit(verdicts)]))[0] < 1


def test_frames_may_be_missing(tmp_path: Path) -> None:
    faces = [face for face in faces_of(tmp_path, 20) if face.frame_index % 7 != 3]
    made = scorer_with(Ensemble(early_exit="on"), [Member("a", some_network(), {})], a=1.0)
    assert np.isfinite(made.video_logit(made.score(tmp_path, faces)))


def test_ten_thousand_frames_are_held_a_batch_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = scorer_with(Ensemble(), [Member("a", always(1.0), {})], a=1.0)
    monkeypatch.setattr(
        made.members[0][1],
        "crops",
        lambda crops: (np.ones(len(crops), np.float32), np.ones((len(crops), 4), np.float16)),
    )
    watched = Watched(made, monkeypatch)
    (verdict,) = made.score(tmp_path, still(tmp_path, 10_000))
    assert watched.n_shown == 10_000 and watched.most == made.predict.batch_size
    assert verdict.logit == pytest.approx(10_000 / 10_001)


def test_a_picture_that_does_not_change_is_shown_once_with_the_same_score(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    members, faces = [Member("a", some_network(), {})], still(tmp_path, 40)
    (plain,) = scorer_with(Ensemble(), members, a=1.0).score(tmp_path, faces)
    made = scorer_with(Ensemble(skip_difference=0.5), members, a=1.0)
    watched = Watched(made, monkeypatch)
    (skipped,) = made.score(tmp_path, faces)
    assert watched.n_shown == 1
    assert skipped.frame_logits == pytest.approx(plain.frame_logits, abs=1e-4)
    assert skipped.logit == pytest.approx(plain.logit, abs=1e-4)


def test_skipping_moves_a_score_by_no_more_than_the_frames_it_skips(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    faces, members = faces_of(tmp_path, 12), [Member("a", some_network(), {})]
    (plain,) = scorer_with(Ensemble(), members, a=1.0).score(tmp_path, faces)
    for difference, n_shown in ((1e-6, 12), (255.0, 1)):
        made = scorer_with(Ensemble(skip_difference=difference), members, a=1.0)
        watched = Watched(made, monkeypatch)
        (skipped,) = made.score(tmp_path, faces)
        assert watched.n_shown == n_shown, "unlike pictures are all scored; forced, only one is"
        most = np.abs(skipped.frame_logits - plain.frame_logits).max()
        assert abs(skipped.logit - plain.logit) <= most + 1e-6


def test_crops_seen_ahead_give_the_same_scores_and_are_not_shown_again(tmp_path: Path) -> None:
    """Some of a track's crops were handed on while the video was read, and some that were dropped later."""
    made = FrameClassifier("test_efficientnet", 32).eval()
    members = [Member("a", made, {}), Member("b", always(1.0), {})]
    settings = Ensemble(member_views={"a": (CropView(), CropView(mirror=True))})
    faces = faces_of(tmp_path, 5, 3)
    plain, ahead = (scorer_with(settings, members, a=1.0, b=0.5) for _ in range(2))
    others = [encode_crop(picture(number, True), "png", 95) for number in (90, 91)]
    ahead.look_ahead([*others, *(stored_picture(tmp_path, face) for face in faces[::2])])
    shown: list[int] = []
    look = ahead.frame_outputs
    ahead.frame_outputs = lambda crops, stride: (shown.append(len(crops)), look(crops, stride))[1]  # type: ignore[method-assign]
    for one, other in zip(plain.score(tmp_path, faces), ahead.score(tmp_path, faces), strict=True):
        np.testing.assert_allclose(one.frame_logits, other.frame_logits, atol=1e-6)
        np.testing.assert_allclose(one.member_logits, other.member_logits, atol=1e-6)
        assert one.logit == pytest.approx(other.logit, abs=1e-6)
    assert sum(shown) == len(faces) - len(faces[::2])


@pytest.mark.parametrize("sparing", [{"early_exit": "on"}, {"skip_difference": 2.0}])
def test_where_frames_may_be_left_out_none_is_seen_ahead(
    tmp_path: Path, sparing: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    scorer = scorer_with(Ensemble(**sparing), [Member("a", always(1.0), {})], a=1.0)
    monkeypatch.setattr(scorer, "frame_outputs", None)
    scorer.look_ahead([stored_picture(tmp_path, face) for face in faces_of(tmp_path, 2)])
