"""Which crops are shown, and their heat maps."""

from __future__ import annotations

import itertools
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from deepfake.detector.check import CheckedTrack, FrameScore
from deepfake.evidence.crops import MAX_CROPS, PICTURE_PX, choose, heat_maps
from deepfake.models.frames import MAPS, FrameClassifier


def track(number: int, scores: list[float], counts: bool = True) -> CheckedTrack:
    box = (0.0, 0.0, 9.0, 9.0)
    frames = tuple(FrameScore(frame=i, time_s=float(i), box_px=box, score=p) for i, p in enumerate(scores))
    return CheckedTrack(
        track=number,
        p_fake=max(scores),
        counts=counts,
        decides=False,
        judged_with=(),
        trust=1.0,
        from_s=0.0,
        to_s=float(len(scores) - 1),
        n_frames=len(scores),
        seconds=(),
        suspicious=(),
        frames=frames,
    )


def test_the_highest_scores_are_shown_apart_in_time_and_in_order() -> None:
    scores = [0.1] * 41
    scores[10], scores[11], scores[30] = 0.9, 0.8, 0.7
    shown = choose([track(0, scores)])
    times = [frame.frame for _, frame in shown]
    assert len(shown) == MAX_CROPS and times == sorted(times)
    assert {10, 30} <= set(times) and 11 not in times, "a tenth of the track lies between two crops"
    assert min(b - a for a, b in itertools.pairwise(times)) >= 4


def test_the_worst_tracks_share_the_room() -> None:
    tracks = [track(n, [p] * 30) for n, p in enumerate((0.2, 0.9, 0.4, 0.3, 0.8, 0.95))]
    tracks[5] = track(5, [0.95] * 30, counts=False)
    shown = [n for n, _ in choose(tracks)]
    assert sorted(set(shown)) == [1, 2, 3, 4] and len(shown) == MAX_CROPS, "what does not count comes last"


def test_a_track_of_one_frame_is_shown_once() -> None:
    assert [(n, frame.frame) for n, frame in choose([track(3, [0.5])])] == [(3, 0)]
    assert choose([]) == []


def model(maps: bool, forged: float = 0.0) -> FrameClassifier:
    made = FrameClassifier("test_efficientnet", 32, maps=maps).eval()
    if made.map_head is not None:
        torch.nn.init.zeros_(made.map_head.weight)
        with torch.no_grad():
            made.map_head.bias[MAPS.index("forged")] = forged
    return made


CROPS = [np.full((64, 64, 3), 90, np.uint8)] * 2


def test_heat_is_the_share_of_forgery_and_not_that_of_the_border() -> None:
    first, second = heat_maps([model(True, forged=np.log(3))], CROPS)
    assert first is not None and second is not None
    assert first.shape == (PICTURE_PX, PICTURE_PX) and first == pytest.approx(0.75, abs=1e-5)


def test_networks_with_maps_are_averaged_and_others_left_out() -> None:
    heat, _ = heat_maps([model(True, 0.0), model(False), model(True, float(np.log(3)))], CROPS)
    assert heat == pytest.approx(0.625, abs=1e-5)


def test_without_maps_there_is_no_heat() -> None:
    assert heat_maps([model(False)], CROPS) == [None, None] and heat_maps([model(True)], []) == []


@pytest.mark.slow
def test_a_check_starts_without_torch_s_compiler_and_leaves_it_to_others() -> None:
    code = (
        "import sys; import deepfake.commands.checks, deepfake.detector.video_scorer, deepfake.evidence.crops\n"
        "assert 'torch._dynamo' not in sys.modules\n"
        "import torch._dynamo; assert torch._dynamo.__file__"
    )
    where = Path(__file__).parents[2] / "src"
    done = subprocess.run([sys.executable, "-c", code], cwd=where, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
