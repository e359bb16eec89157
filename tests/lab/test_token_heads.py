"""A head that is a line through tokens: what it learnt from, what stands in for it, and the network it becomes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from deepfake.errors import UserError
from deepfake.models.frames import FrameClassifier
from deepfake.packs.snapshots import save_snapshot
from lab.token_heads import Collection, left_out_rows, mean_head, with_head
from lab.token_lines import LinearHead, Network, fit_head
from learning_data import one_thread, picture  # noqa: F401 - a fixture
from little_tokens import random_tokens, two_collections

pytestmark = pytest.mark.usefixtures("one_thread")


def collections(n_faces: int = 4) -> list[Collection]:
    """Two, whose clips show a face in a first track that tells the label, and one in a second that tells nothing."""
    table = two_collections()
    made = []
    for name, own in table.groupby("split"):
        rows = [(clip, track, frame) for clip in own["clip"] for track in (0, 1) for frame in range(n_faces)]
        faces = pd.DataFrame(rows, columns=["video_id", "track", "frame_index"])
        label = faces["video_id"].map(own.set_index("clip")["label"]).to_numpy(float)
        told = np.where(faces["track"] == 0, 2 * label - 1, 5.0)
        noise = np.random.default_rng(len(made)).normal(0, 0.1, (len(faces), 3))
        features = np.column_stack([told + 0.1 * (faces["frame_index"] - 1.5), noise])
        made.append(Collection(str(name), own.reset_index(drop=True), faces, features))
    return made


def test_a_line_is_scaled_to_minus_1_for_reals_and_1_for_forged_clips() -> None:
    (here, _) = collections()
    head = fit_head(here.clips, here.means(), np.ones(len(here.clips), bool))
    logits, forged = head.logits(here.means()), here.clips["label"].to_numpy() == 1
    assert logits[forged].mean() == pytest.approx(1) and logits[~forged].mean() == pytest.approx(-1)
    doubled = replace(here, features_FD=2 * here.features_FD)
    again = fit_head(here.clips, doubled.means(), np.ones(len(here.clips), bool))
    assert again.logits(doubled.means()) == pytest.approx(logits, abs=1e-6), "units do not matter"


def test_a_collection_is_scored_by_a_line_through_the_other_alone_face_by_face() -> None:
    here, there = collections()
    rows = left_out_rows([here, there], "line")
    assert rows.columns.tolist() == ["video_id", "track", "frame_index", "model", "logit"]
    own = rows[rows["video_id"].isin(here.clips["clip"])]
    taught = fit_head(there.clips, there.means(), np.ones(len(there.clips), bool))
    assert own["logit"].to_numpy() == pytest.approx(taught.logits(here.features_FD))
    first = own[own["track"] == 0].groupby("video_id")["logit"]
    assert (first.max() > first.min()).all(), "faces of a clip differ"
    # What the collection itself says changes nothing of its own scores.
    flipped = replace(here, clips=here.clips.assign(label=1 - here.clips["label"]))
    again = left_out_rows([flipped, there], "line")
    assert again["logit"].to_numpy()[: len(own)] == pytest.approx(own["logit"].to_numpy())
    assert not np.allclose(mean_head([flipped, there]).weight_D, mean_head([here, there]).weight_D)


def test_what_becomes_the_head_is_the_mean_of_the_lines_that_were_measured() -> None:
    here, there = collections()
    lines = [fit_head(one.clips, one.means(), np.ones(len(one.clips), bool)) for one in (here, there)]
    logits = [line.logits(here.features_FD) for line in lines]
    assert mean_head([here, there]).logits(here.features_FD) == pytest.approx(np.mean(logits, 0))


def test_a_network_with_a_line_gives_the_line_s_logits_of_its_own_features() -> None:
    network = random_tokens(1)
    weights = np.random.default_rng(0).normal(0, 0.1, network.n_features)
    made = with_head(network, LinearHead(weights, -0.5))
    crops = torch.randint(0, 256, (2, 3, 224, 224), dtype=torch.uint8)
    with torch.no_grad():
        features = made.features_BD(crops)
        assert made(crops).numpy() == pytest.approx(features.numpy() @ weights - 0.5, abs=1e-4)
        torch.testing.assert_close(features, network.eval().features_BD(crops))
    assert not made.has_maps


def test_a_line_may_go_through_the_face_s_patches_of_the_same_blocks(tmp_path: Path) -> None:
    tokens, lite = tmp_path / "tokens.safetensors", tmp_path / "lite.safetensors"
    save_snapshot(tokens, random_tokens(1), {})
    save_snapshot(lite, FrameClassifier("tf_efficientnet_lite0", 32), {})
    crops = [picture(number, True, 256) for number in range(2)]
    alone, faces = Network(tokens), Network(tokens, with_face=True)
    assert faces.model.settings["backbone"] == "clip_b16_face1" and faces.key != alone.key
    found = faces.tokens(crops)[:, 0, 1:]
    assert found.shape == (2, 3 * 768)
    assert found[:, :768] == pytest.approx(alone.tokens(crops)[:, 0, 1:], abs=1e-2)
    with pytest.raises(UserError, match="tf_efficientnet_lite0 has no tokens of a face"):
        Network(lite, with_face=True)
