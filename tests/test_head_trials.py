"""Networks over tracks beside their frame network on labelled clips."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from deepfake import head_trials
from deepfake.checkpoints import save_model
from deepfake.config import Config, CropView
from deepfake.evaluation import Labelled
from deepfake.head_trials import ask, clip_outputs
from deepfake.models import new_head
from deepfake.models.frames import FrameClassifier
from deepfake.trials import Clips
from learning_data import config, invented, one_thread  # noqa: F401 - a fixture

pytestmark = pytest.mark.usefixtures("one_thread")


def run(folder: Path) -> tuple[Config, Clips]:
    """A run of a frame network and two heads that have learnt nothing, and clips, one of them without a face."""
    settings = config(folder, sequences={"heads": ("sequences", "motion")}, frames={"input_px": 32})
    torch.manual_seed(0)
    model = FrameClassifier("test_efficientnet", 32)
    torch.nn.init.normal_(model.head.weight, std=0.5)
    networks = {
        "frames": model,
        **{n: new_head(n, model.n_features, settings.sequences) for n in ("sequences", "motion")},
    }
    for kind, network in networks.items():
        save_model(settings.run_dir / kind / "all", kind, network, fold=None, settings_digest="d", metrics={}, about={})
    faces = invented(folder / "cache").faces.sort_values(["video_id", "frame_index"], ignore_index=True)
    ids = [*sorted(faces["video_id"].unique()), "empty.mp4"]
    labelled = [Labelled(v, int(v.startswith("fake")), {"identity": v[4:5]}) for v in ids]
    return settings, Clips(
        faces.sort_values(["video_id", "frame_index"], ignore_index=True), labelled, ids, folder / "cache"
    )


def test_every_network_gives_a_logit_of_each_clip_with_a_face(tmp_path: Path) -> None:
    settings, clips = run(tmp_path)
    found = ask([settings], clips).evidence(clips)
    assert found.members == ("frames", "sequences", "motion")
    assert found.tracks.logits_KM.shape == (12, 3)
    assert found.labels.sum() == 6
    assert len(found.groups) == len(found.folds) == 12
    assert set(found.groups) == set("012345")
    assert np.ptp(found.tracks.logits_KM[:, 0]) > 0
    assert not found.tracks.logits_KM[:, 2].any(), "landmarks in one place do not move: the head abstains"
    assert {name: sorted(parts) for name, parts in found.costs_ms.items()} == {
        "frames": ["frames"],
        "sequences": ["frames", "sequences"],
        "motion": ["motion"],
    }
    assert found.cost_ms(["frames", "sequences"]) == found.cost_ms(["sequences"]) > 0


def test_crops_scored_before_are_not_scored_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings, clips = run(tmp_path)
    first = clip_outputs(settings, clips)
    flipped = settings.model_copy(
        update={"ensemble": settings.ensemble.model_copy(update={"views": (CropView(mirror=True),)})}
    )
    assert np.abs(clip_outputs(flipped, clips).logits_N - first.logits_N).max() > 1e-4, "another look at each crop"
    monkeypatch.setattr(head_trials, "score_faces", lambda *_: pytest.fail("it was scored again"))
    assert np.array_equal(clip_outputs(settings, clips).features_ND, first.features_ND)


def test_of_several_runs_each_member_bears_its_runs_name_and_only_accusers_are_heard_as_such(tmp_path: Path) -> None:
    one, clips = run(tmp_path)
    one = one.model_copy(update={"run": "one"})
    other = one.model_copy(
        update={"run": "other", "sequences": one.sequences.model_copy(update={"heads": ("sequences",)})}
    )
    quiet = one.model_copy(update={"sequences": one.sequences.model_copy(update={"heads": ()})})
    for name in ("one", "other"):
        shutil.copytree(one.run_dir.with_name("demo"), one.run_dir.with_name(name))
    found = ask([quiet, other], clips)
    assert found.tracks.members == ("one", "other", "other/sequences")
    logits = found.tracks.logits_KM
    assert len(found.tracks) == len(clips.video_ids) - 1, "all but the clip without a face"
    assert np.array_equal(logits[:, 0], logits[:, 1]), "the same network"
    assert sorted(found.costs_ms["other/sequences"]) == ["other", "other/sequences"]
    accusing = quiet.model_copy(
        update={"ensemble": quiet.ensemble.model_copy(update={"accusers": ("other", "other/sequences")})}
    )
    heard = ask([accusing, other], clips).tracks.logits_KM
    assert np.array_equal(heard[:, 0], logits[:, 0])
    assert (heard[:, 1:] > 0).all()
