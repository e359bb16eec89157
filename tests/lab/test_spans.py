"""Short forgeries: the worst moment, and how often it is the right one."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from deepfake import tables
from deepfake.datasets.pairs import read_all
from deepfake.errors import UserError
from deepfake.models.frames import FrameClassifier
from deepfake.models.heads.sequences import SequenceClassifier
from deepfake.scoring.frame_scorer import FrameScorer
from deepfake.settings import Config
from face_pictures import face, write_frames
from lab.spans import Finding, draw_short_span, find_spans, rates, suspect_by_run, usable_heads, worst_moment
from learning_data import config, one_thread, video_row  # noqa: F401 - a fixture

pytestmark = pytest.mark.usefixtures("one_thread")


def test_two_forged_seconds_in_ten_real_ones_are_found_at_the_right_second() -> None:
    times = np.arange(0, 10, 1 / 3.2)
    rng = np.random.default_rng(0)
    for start in (0.0, 3.3, 8.0):
        logits = rng.normal(-1, 0.5, len(times)) + 3 * ((times >= start) & (times <= start + 2))
        assert start <= worst_moment(times, logits) <= start + 2


def test_a_single_wild_frame_counts_less_than_a_second_of_suspicion() -> None:
    times = np.arange(10) / 5
    logits = np.array([0, 0, 5.0, 0, 0, 0, 3, 3, 3, 3])
    assert worst_moment(times, logits) >= 1.2
    assert worst_moment(times, logits, window_s=0.0) == 0.4


def test_the_ends_of_a_track_are_not_suspected_for_having_half_a_window_there() -> None:
    times = np.arange(0, 10, 1 / 8)
    noise = [np.random.default_rng(seed).normal(0, 1, len(times)) for seed in range(400)]
    moments = np.array([worst_moment(times, logits) for logits in noise])
    at_ends = float(np.mean((moments < 0.25) | (moments > 9.6)))
    assert at_ends < 0.11, "5 % of the time; the plain mean of what is left of the window puts 17 % there"


def test_a_track_of_one_frame_has_its_worst_moment_there() -> None:
    assert worst_moment(np.array([7.0]), np.array([-2.0])) == 7.0


def test_a_span_lies_inside_the_track_and_has_its_length() -> None:
    times = np.arange(0, 10, 0.1)
    for seed in range(30):
        inside = draw_short_span(times, 2.0, np.random.default_rng(seed))
        assert 19 <= inside.sum() <= 21
        assert np.diff(np.flatnonzero(inside)).tolist() == [1] * (inside.sum() - 1)
    assert draw_short_span(np.array([0.0, 5.0, 10.0]), 0.1, np.random.default_rng(0)).sum() == 1
    assert draw_short_span(np.array([0.0]), 2.0, np.random.default_rng(0)).tolist() == [True]


def test_rates_are_counted_by_member_and_family() -> None:
    findings = [
        Finding("a", "self_blend+span", 0.2, {"frames": True, "sequences": True}),
        Finding("b", "self_blend/x+mask_jitter+span", 0.4, {"frames": False, "sequences": True}),
        Finding("c", "local_warp+span", 0.3, {"frames": False, "sequences": False}),
    ]
    table = rates(findings).set_index(["family", "member"])
    assert table.loc[("all", "frames"), ["found", "of"]].tolist() == [1, 3]
    assert table.loc[("all", "sequences"), "rate"] == pytest.approx(2 / 3)
    assert table.loc[("all", "frames"), "chance"] == pytest.approx(0.3)
    assert table.loc[("self_blend", "sequences"), "rate"] == 1
    assert table.loc[("local_warp", "sequences"), "of"] == 1


def real_clips(folder: Path, n_frames: int) -> Config:
    """Two real clips in tables."""
    settings = config(folder, sequences={"heads": ("sequences", "motion")})
    clips = {f"real{i}.mp4": [face(10 * i + t, 64) for t in range(n_frames)] for i in range(2)}
    videos = pd.DataFrame([video_row(name, 0) for name in clips])
    tables.write(tables.VIDEOS, videos, settings.work_dir / "videos.parquet")
    tables.write(tables.FACES, write_frames(settings.work_dir, clips), settings.work_dir / "faces.parquet")
    return settings


def test_spans_are_forged_into_real_clips_and_searched_by_every_network_that_sees_pictures(tmp_path: Path) -> None:
    settings = real_clips(tmp_path, 12)
    torch.manual_seed(0)
    frames = FrameClassifier("test_efficientnet", 32)
    scorer, heads = FrameScorer(frames, settings.predict), {"sequences": SequenceClassifier(frames.n_features, 4)}
    assert usable_heads(settings) == ["sequences"]
    one, other = (
        list(find_spans(settings, read_all(settings.work_dir), suspect_by_run(scorer, heads, settings), 0.25, 2))
        for _ in range(2)
    )
    assert len(one) == 4
    assert one == other, "equal draws"
    for finding in one:
        assert set(finding.hits) == {"frames", "sequences"}
        assert 0 < finding.chance <= 0.5
        assert finding.hits["frames"] == finding.hits["sequences"], "a head that has not learnt corrects nothing"


def test_clips_too_short_for_a_span_are_refused_in_words(tmp_path: Path) -> None:
    settings = real_clips(tmp_path, 3)
    scorer = FrameScorer(FrameClassifier("test_efficientnet", 32), settings.predict)
    with pytest.raises(UserError, match="no track of a real video has 10 frames"):
        list(find_spans(settings, read_all(settings.work_dir), suspect_by_run(scorer, {}, settings), 0.2, 1))
