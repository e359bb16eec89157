from pathlib import Path

import numpy as np
import pytest
import torch

from deepfake.config import UserError
from deepfake.motion import N_MOTION
from deepfake.track_inputs import (
    INPUTS,
    TrackDataset,
    TrackFeatures,
    collate_tracks,
    draw_places,
    has_inputs,
    pad_tracks,
    split_tracks,
)
from deepfake.tubes import FLOW_PX, LARGE_TUBE_PX, TUBE_PX
from learning_data import invented, track_of


def features(video_id: str, label: int | None, n_frames: int, **changes: object) -> TrackFeatures:
    array = np.arange(n_frames, dtype=np.float16)
    return track_of(video_id, label, np.tile(array[:, None], (1, 5)), array, **changes)


def in_pictures(track: TrackFeatures, seed: int = 0) -> TrackFeatures:
    tube = np.random.default_rng(seed).integers(0, 256, (len(track), TUBE_PX, TUBE_PX, 3), dtype=np.uint8)
    large = np.random.default_rng(seed).integers(0, 256, (len(track), LARGE_TUBE_PX, LARGE_TUBE_PX, 3), dtype=np.uint8)
    return TrackFeatures(**{**vars(track), "tubes": {TUBE_PX: tube.__getitem__, LARGE_TUBE_PX: large.__getitem__}})


# --- Tracks ------------------------------------------------------------------------------------------


def test_tracks_are_split_with_what_the_tables_say_of_them(tmp_path: Path) -> None:
    made = invented(tmp_path, n_originals=1, n_tests=1)
    faces = made.faces.sort_values(["video_id", "track", "frame_index"]).reset_index(drop=True)
    faces.loc[1, "is_detected"] = False
    n = len(faces)
    tracks = split_tracks(faces, np.ones((n, 3)), np.arange(n), {"fake0.mp4": 1, "real0.mp4": 0}, tmp_path)
    assert [(t.video_id, t.label, len(t)) for t in tracks] == [
        ("fake0.mp4", 1, 4),
        ("fake1.mp4", None, 4),
        ("real0.mp4", 0, 4),
        ("real1.mp4", None, 4),
    ]
    assert np.isnan(tracks[0].forged_T).all(), "which frames of a fake are forged no one knows"
    assert tracks[2].forged_T.tolist() == [0] * 4
    assert np.isnan(tracks[0].landmarks_T52).all((1, 2)).tolist() == [False, True, False, False], "carried, not seen"
    assert tracks[0].pictures(TUBE_PX).shape == (4, TUBE_PX, TUBE_PX, 3)
    assert tracks[0].pictures(LARGE_TUBE_PX).shape == (4, LARGE_TUBE_PX, LARGE_TUBE_PX, 3)
    assert split_tracks(faces.iloc[:0], np.ones((0, 3)), np.ones(0), {}, tmp_path) == []


def test_a_track_played_backwards_has_rising_times_and_its_own_pictures() -> None:
    track = in_pictures(features("v", 0, 5))
    back = track.take(np.array([4, 2, 1]))
    assert back.times_T == pytest.approx([0, 2 / 25, 3 / 25])
    assert back.frame_index_T.tolist() == [4, 2, 1]
    assert np.array_equal(back.pictures(TUBE_PX), track.pictures(TUBE_PX)[[4, 2, 1]])
    assert np.array_equal(back.pictures(LARGE_TUBE_PX), track.pictures(LARGE_TUBE_PX)[[4, 2, 1]])
    assert np.array_equal(back.take(np.array([1])).pictures(TUBE_PX), track.pictures(TUBE_PX)[[2]])


def test_every_form_of_a_track_has_a_row_a_frame() -> None:
    track = in_pictures(features("v", 0, 3))
    shapes = {name: made(track).shape for name, made in INPUTS.items()}
    assert shapes == {
        "features": (3, 5),
        "motion": (3, N_MOTION),
        "flow": (3, 2, FLOW_PX, FLOW_PX),
        "tube": (3, 3, TUBE_PX, TUBE_PX),
        "large_tube": (3, 3, LARGE_TUBE_PX, LARGE_TUBE_PX),
    }


def test_what_cannot_be_made_of_a_track_is_known_before() -> None:
    bare = features("v", 0, 3)
    assert [has_inputs(bare, [name]) for name in INPUTS] == [True, *[False] * 4]
    seen = features("v", 0, 3, landmarks_T52=np.ones((3, 5, 2)))
    assert has_inputs(seen, ["motion"])
    assert not has_inputs(seen.take(np.array([0])), ["motion"])
    small = features("v", 0, 3, tubes={TUBE_PX: np.zeros((3, TUBE_PX, TUBE_PX, 3), np.uint8).__getitem__})
    assert has_inputs(small, ["features", "flow"])
    assert not has_inputs(small, ["large_tube"])
    with pytest.raises(ValueError, match="'v' track 0: there are no pictures of it"):
        bare.pictures(TUBE_PX)


# --- Changes in time ---------------------------------------------------------------------------------


def test_without_changes_a_clip_is_a_run_of_successive_frames() -> None:
    for seed in range(50):
        places = draw_places(9, 4, 0.0, np.random.default_rng(seed))
        assert len(places) == 4
        assert set(np.diff(places)) == {1}


@pytest.mark.parametrize("n_frames", [1, 2, 5, 40, 10_000])
def test_changed_clips_stay_inside_the_track_and_keep_one_direction(n_frames: int) -> None:
    drawn = [draw_places(n_frames, 8, 1.0, np.random.default_rng(seed)) for seed in range(100)]
    for places in drawn:
        assert 1 <= len(places) <= 8
        assert places.min() >= 0
        assert places.max() < n_frames
        assert (np.diff(places) < 0).all(), "all are reversed with a share of 1"
    if n_frames == 40:
        assert {1, 2, 3} <= {int(-step) for places in drawn for step in np.diff(places)}, "thinned and with gaps"


def test_a_forged_clip_never_shows_real_frames_alone() -> None:
    forged_T = np.zeros(12, np.float32)
    forged_T[5:7] = 1
    track = features("f", 1, 12, forged_T=forged_T).take(np.arange(3, 9))
    data = TrackDataset([features("r", 0, 6), track], 6, 0, changes=1.0)
    shown = [part for epoch in range(60) for _, part in data[epoch, 0] if part.label]
    assert len(shown) == 60
    assert all(part.forged_T.any() for part in shown)


def test_equal_draws_give_equal_clips() -> None:
    data = TrackDataset([features("r", 0, 20), features("f", 1, 20)], 6, 3, changes=0.5)
    one, other = (collate_tracks([data[4, 0]]) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(one.inputs, other.inputs, strict=True))


# --- Batches -----------------------------------------------------------------------------------------


def test_clips_come_in_pairs_of_a_real_and_a_fake_track_of_successive_frames() -> None:
    data = TrackDataset([features("r", 0, 9), features("f", 1, 2), features("g", 1, 9), features("u", None, 3)], 4, 0)
    assert len(data) == 2
    batch = collate_tracks([data[0, 0], data[0, 1]])
    assert sorted(batch.labels_B.tolist()) == [0, 0, 1, 1]
    assert batch.inputs[0].shape == (4, 4, 5)
    for logits_T, mask_T in zip(batch.inputs[2], batch.inputs[1], strict=True):
        assert set(np.diff(logits_T[mask_T].numpy())) == {1.0}
    assert batch.inputs[1].sum(dim=1).min() == 2


def padded(*tracks: TrackFeatures, form: str = "features") -> list[torch.Tensor]:
    return list(pad_tracks([((INPUTS[form](track),), track) for track in tracks]))


def test_padding_stands_behind_the_frames_and_is_marked() -> None:
    features_BTD, mask_BT, logits_BT = padded(features("v", 0, 2), features("w", 0, 3))
    assert mask_BT.tolist() == [[True, True, False], [True, True, True]]
    assert logits_BT.tolist() == [[0, 1, 0], [0, 1, 2]]
    assert features_BTD[0, :, 0].tolist() == [0, 1, 0]


def test_pictures_stay_bytes_in_a_batch() -> None:
    tube, mask_BT, _ = padded(in_pictures(features("v", 0, 1)), in_pictures(features("w", 0, 2)), form="tube")
    assert tube.dtype == torch.uint8
    assert tube.shape == (2, 2, 3, TUBE_PX, TUBE_PX)
    assert mask_BT.sum() == 3


def test_a_batch_says_which_frames_are_forged_where_it_is_known() -> None:
    forged = features("f", 1, 3, forged_T=np.array([0, 1, 1], np.float32))
    data = TrackDataset([features("r", 0, 2), forged], 4, 0)
    batch = collate_tracks([data[0, 0]])
    assert batch.forged_BT is not None
    rows = {tuple(row.nan_to_num(-1).tolist()) for row in batch.forged_BT}
    assert rows == {(0, 0, -1), (0, 1, 1)}


def test_tracks_of_one_class_alone_are_refused() -> None:
    with pytest.raises(UserError, match="1 real and 0 fake tracks with features"):
        TrackDataset([features("r", 0, 3)], 4, 0)
    with pytest.raises(UserError, match="0 real and 0 fake tracks with motion"):
        TrackDataset([features("r", 0, 3), features("f", 1, 3)], 4, 0, ("motion",))
