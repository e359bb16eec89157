"""Every choice of views is measured by what each view alone gave."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from test_frames_sweep import N_FRAMES, clips, scorer  # noqa: F401 - a fixture

from deepfake.detector.labelled_clips import Clips
from deepfake.detector.video_scorer import VideoScorer
from deepfake.faces.extraction import faces_of_rows
from deepfake.settings import Config, CropView, Ensemble, Predict, Validation
from lab import views_worth
from lab.views_worth import as_markdown, choices, measure
from learning_data import one_thread  # noqa: F401 - a fixture

pytestmark = pytest.mark.usefixtures("one_thread")
PLAIN, MIRRORED = CropView(), CropView(mirror=True)


def test_every_choice_of_two_and_one_view_is_there_once_the_fewest_first() -> None:
    found = choices([(PLAIN, MIRRORED), (PLAIN,)])
    assert len(found) == len(set(found)) == 2**2 * 2**1 - 1, "but the one that shows nothing"
    assert [sum(map(len, one)) for one in found] == [1, 1, 1, 2, 2, 2, 3]
    assert found[-1] == ((PLAIN, MIRRORED), (PLAIN,))


def test_all_views_are_the_detector_and_one_view_is_that_view_alone(
    clips: Clips,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = scorer().detector
    made = replace(made, ensemble=Ensemble(member_views={"a": (PLAIN, MIRRORED)}))
    monkeypatch.setattr(views_worth, "open_detector", lambda *_: made)
    monkeypatch.setattr(views_worth, "read_clips", lambda *_: clips)
    weights = tmp_path / "weights.bin"
    weights.write_bytes(b"weights")
    config = Config(validation=Validation(bootstrap=20), predict=Predict(device="cpu", precision="fp32"))
    rows = list(measure(weights, tmp_path, tmp_path, [N_FRAMES], tmp_path, tmp_path / "out", config))
    assert [dict(row.views) for row in rows] == [{"a": "1,1"}, {"a": "1,1,mirror"}, {"a": "1,1; 1,1,mirror"}]
    assert [row.passes for row in rows] == [1, 1, 2]
    assert rows[-1].point.largest_change == pytest.approx(0, abs=1e-6)
    alone = VideoScorer(replace(made, ensemble=Ensemble()), Predict(device="cpu", precision="fp32"))
    both = VideoScorer(made, Predict(device="cpu", precision="fp32"))
    changes = []
    for _, faces in clips.faces.groupby("video_id"):
        own = faces_of_rows(faces.to_dict("records"))
        logits = np.array([one.video_logit(one.score(clips.cache_dir, own)) for one in (alone, both)])
        changes.append(abs(float(np.diff(both.p_fake(logits))[0])))
    assert rows[0].point.largest_change == pytest.approx(max(changes), abs=1e-5)
    table = as_markdown(rows).splitlines()
    assert table[0].startswith("| a | passes a crop | frames | AUC") and len(table) == 2 + len(rows)
