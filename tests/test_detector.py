"""Scores of tracks and videos, with invented networks; the whole is run in test_end_to_end.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import expit
from torch import nn

from deepfake.bundle import Detector, Member, find_weights
from deepfake.calibration import Calibration
from deepfake.config import Ensemble, Extract, Predict, Sequences, UserError
from deepfake.detector import Scored, VideoScorer, refuse_equal_scores
from deepfake.ensemble import Stack
from deepfake.models import new_head
from deepfake.models.frames import FrameClassifier
from deepfake.models.sequences import SequenceClassifier
from deepfake.scoring import FrameScorer
from deepfake.shards import encode_crop, read_crop, write_shard
from deepfake.submission import count_reasons
from learning_data import face_row, one_thread, picture  # noqa: F401 - a fixture

pytestmark = pytest.mark.usefixtures("one_thread")


def scored(p_fake: float, fallback: str | None = None) -> Scored:
    return Scored("v.mp4", p_fake, 32, 1, fallback, {}, [])


def test_more_than_ten_equal_scores_mean_weights_that_do_not_fit() -> None:
    with pytest.raises(UserError, match="all 11 videos"):
        refuse_equal_scores([scored(0.5)] * 11)
    refuse_equal_scores([scored(0.5)] * 10)
    refuse_equal_scores([scored(0.5)] * 10 + [scored(0.51)])


def test_videos_without_a_score_are_no_equal_scores() -> None:
    refuse_equal_scores([scored(0.5, "no_face")] * 20)


def test_fallbacks_are_counted_by_their_short_reason() -> None:
    reasons = {"a": "unreadable: cut short", "b": "no_face", "c": "unreadable: text"}
    assert count_reasons(reasons) == {"no_face": 1, "unreadable": 2}


def test_weights_must_be_named_where_there_are_none_or_several(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="0 detectors"):
        find_weights(tmp_path)
    (tmp_path / "a.safetensors").touch()
    assert find_weights(tmp_path).name == "a.safetensors"
    (tmp_path / "b.safetensors").touch()
    with pytest.raises(UserError, match="--weights"):
        find_weights(tmp_path)


# --- Members, mixed as the stack says ----------------------------------------------------------------


def always(logit: float) -> FrameClassifier:
    """A network that gives one logit to everything."""
    model = FrameClassifier("test_efficientnet", 32).eval()
    nn.init.zeros_(model.head.weight)
    nn.init.constant_(model.head.bias, logit)
    return model


def scorer(members: list[Member], mirror: bool = False, **weights: float) -> VideoScorer:
    stack = Stack(tuple(weights), tuple(weights.values()), Calibration("none"), 0.5)
    pooling = Ensemble(prior_frames=1.0, min_track_frames=3, small_face_px=40, mirror=mirror)
    return VideoScorer(Detector("d", members, stack, Extract(), pooling, {}), Predict(device="cpu", precision="fp32"))


def faces_of(folder: Path, *lengths: int, side_px: float = 40) -> list[dict[str, Any]]:
    """Rows of one video with a track of each length."""
    names = [(track, frame) for track, length in enumerate(lengths) for frame in range(length)]
    crops = [(f"{t}_{f}.png", encode_crop(picture(10 * t + f, False), "png", 95)) for t, f in names]
    places = write_shard(folder / "v.tar", crops, {"faces": [{}] * len(crops)})
    return [
        face_row("v.mp4", t, f, (0, 0, side_px, 30), shard="v.tar", offset=offset, size=size, sharpness=1000.0)
        for (t, f), (offset, size) in zip(names, places, strict=True)
    ]


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
    assert verdict.logit == pytest.approx(0.5 * 2 * 3 / 4 + 2)


def test_a_mirrored_look_is_averaged_with_the_plain_one(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = FrameClassifier("test_efficientnet", 32).eval()
    nn.init.normal_(model.head.weight, std=1.0)
    faces = faces_of(tmp_path, 3)
    (both,) = scorer([Member("a", model)], mirror=True, a=1.0).score(tmp_path, faces)
    plain = FrameScorer(model, Predict(device="cpu", precision="fp32"))
    crops = [read_crop(tmp_path, face["shard"], face["offset"], face["size"]) for face in faces]
    looks = [plain.crops([crop[:, ::step] for crop in crops])[0] for step in (1, -1)]
    assert not np.allclose(*looks)
    assert both.frame_logits == pytest.approx(np.mean(looks, axis=0), abs=1e-4)


def test_a_video_is_as_fake_as_its_worst_credible_track(tmp_path: Path) -> None:
    made = scorer([Member("a", always(-2.0))], a=1.0)
    verdicts = made.score(tmp_path, faces_of(tmp_path, 4, 1, 9))
    assert [v.logit for v in verdicts] == pytest.approx([-2 * 4 / 5, -2 * 1 / 2, -2 * 9 / 10])
    assert made.video_logit(verdicts) == pytest.approx(-1.6), "one frame is too short a track to count"
    assert made.video_logit(verdicts[1:2]) == pytest.approx(-1.0), "unless there is no longer one"
    assert made.p_fake(np.array([-1.6]))[0] == pytest.approx(expit(-1.6))


def test_a_small_face_counts_as_much_as_it_shows(tmp_path: Path) -> None:
    made = scorer([Member("a", always(2.0))], a=1.0)
    (verdict,) = made.score(tmp_path, faces_of(tmp_path, 3, side_px=32))
    assert verdict.logit == pytest.approx(2 * 3 / 4 * 32 / 40)
