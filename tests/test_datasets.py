from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from deepfake import tables
from deepfake.config import Frames, UserError
from deepfake.datasets import (
    PairDataset,
    StepBatches,
    Track,
    collate_pairs,
    content_digest,
    counterpart,
    nearest,
    overlap,
    plan_pairs,
    read_tables,
    tracks_of,
)
from learning_data import config, face_row, invented, video_row


def track(boxes: list[tuple[float, ...]], number: int = 0, video_id: str = "v", step: int = 10) -> Track:
    n = len(boxes)
    frames = np.arange(n) * step
    return Track(
        video_id=video_id,
        track=number,
        label=0,
        frame_index_T=frames,
        boxes_T4=np.array(boxes, np.float32),
        shards=("s",) * n,
        offsets_T=np.zeros(n, int),
        sizes_T=np.zeros(n, int),
    )


def test_the_nearest_frame_is_found_and_the_earlier_one_wins_a_tie() -> None:
    assert nearest(np.array([0, 10, 20]), np.array([4, 5, 6, 99])).tolist() == [0, 0, 1, 2]


def test_overlap_of_tracks_is_the_mean_iou_of_near_frames() -> None:
    one = track([(0, 0, 10, 10), (0, 0, 10, 10)])
    assert overlap(one, one) == pytest.approx(1.0)
    half = track([(0, 0, 10, 5), (50, 50, 60, 60)])
    assert overlap(one, half) == pytest.approx(0.25)
    late = track([(0, 0, 10, 10)] * 2, step=16)
    assert overlap(late, track([(0, 0, 10, 10)])) == pytest.approx(0.5)


def test_the_counterpart_is_the_overlapping_track_else_the_one_of_the_same_number() -> None:
    real = track([(0, 0, 10, 10)], number=1)
    near, far = track([(1, 0, 11, 10)], number=0), track([(80, 80, 90, 90)], number=1)
    assert counterpart(real, [far, near]) is near
    assert counterpart(real, [far]) is far
    assert counterpart(real, [track([(80, 80, 90, 90)], number=3)]) is None
    assert counterpart(real, []) is None


def rows(*tracks_: tuple[str, int, float]) -> pd.DataFrame:
    return pd.DataFrame([face_row(v, t, f, (x, 0, x + 10, 10)) for v, t, x in tracks_ for f in (0, 9)])


def videos(*made: tuple[str, int, str | None]) -> pd.DataFrame:
    return pd.DataFrame([video_row(*values) for values in made])


def test_rows_are_split_into_tracks_by_video_and_number() -> None:
    made = tracks_of(rows(("a", 0, 0.0), ("a", 1, 50.0), ("b", 1, 0.0)), {"a": 0, "b": 1})
    assert [(t.video_id, t.track, t.label, len(t)) for t in made] == [("a", 0, 0, 2), ("a", 1, 0, 2), ("b", 1, 1, 2)]
    assert tracks_of(rows(), {}) == []


def test_every_person_of_an_original_is_paired_with_the_same_person_of_its_fakes() -> None:
    plan = plan_pairs(
        videos(("real", 0, None), ("fake", 1, "real")),
        rows(("fake", 0, 50.0), ("fake", 1, 1.0), ("real", 0, 0.0), ("real", 1, 51.0)),
    )
    found = [(u.anchor.track, [p.track for p in u.partners]) for u in plan.units]
    assert found == [(0, [1]), (1, [0])]
    assert (plan.n_paired, plan.n_lone_reals, plan.n_lone_fakes) == (2, 0, 0)


def test_reals_without_fakes_and_fakes_without_their_original_are_counted() -> None:
    plan = plan_pairs(
        videos(("lone_real", 0, None), ("lone_fake", 1, "not_here"), ("other", 1, None)),
        rows(("lone_fake", 0, 0.0), ("lone_real", 0, 0.0), ("other", 0, 0.0)),
    )
    assert (plan.n_paired, plan.n_lone_reals, plan.n_lone_fakes) == (0, 1, 2)
    assert "1 real and 2 fake tracks paired with random ones" in plan.describe()


def test_one_class_alone_is_an_error_that_says_so() -> None:
    with pytest.raises(UserError, match="0 real and 1 fake tracks in 1 videos"):
        plan_pairs(videos(("f", 1, None)), rows(("f", 0, 0.0)))


def pairs(tmp_path: Path, learns: bool = True, **changes: int) -> PairDataset:
    settings = config(tmp_path)
    made = invented(settings.work_dir)
    learn = made.labelled()
    plan = plan_pairs(learn, made.faces_of(list(learn["video_id"])))
    frames = Frames(input_px=32, frames_per_track=changes.get("frames_per_track", 2))
    return PairDataset(plan, settings.work_dir, frames, changes.get("seed", 0), learns)


def test_a_pair_is_a_real_crop_and_the_same_frame_of_its_fake(tmp_path: Path) -> None:
    data = pairs(tmp_path, learns=False)
    assert len(data) == 8
    real, fake, names = data[0, 0]
    assert real.shape == fake.shape == (3, 32, 32)
    assert names == "'real0.mp4' track 0 frame 9 and 'fake0.mp4' track 0 frame 9"
    differences = np.unique(np.abs(real.numpy().astype(int) - fake.numpy().astype(int)))
    assert differences.tolist() == [30]


def test_what_a_pair_shows_depends_on_seed_epoch_and_index_alone(tmp_path: Path) -> None:
    one, other = pairs(tmp_path / "a"), pairs(tmp_path / "b")
    _ = other[5, 3]
    for left, right in zip(one[2, 4][:2], other[2, 4][:2], strict=True):
        assert np.array_equal(left, right)
    assert any(not np.array_equal(one[2, 4][0], one[epoch, 4][0]) for epoch in (0, 1, 3))


def test_a_batch_holds_all_reals_and_then_all_fakes(tmp_path: Path) -> None:
    data = pairs(tmp_path)
    batch = collate_pairs([data[0, i] for i in range(3)])
    assert batch.inputs[0].shape == (6, 3, 32, 32)
    assert batch.labels_B.tolist() == [0, 0, 0, 1, 1, 1]
    assert len(batch.names) == 6


def test_a_lone_fake_is_shown_beside_a_random_real(tmp_path: Path) -> None:
    settings = config(tmp_path)
    made = invented(settings.work_dir)
    learn = made.labelled().assign(original=None)
    plan = plan_pairs(learn, made.faces_of(list(learn["video_id"])))
    frames = Frames(input_px=32, frames_per_track=1)
    data = PairDataset(plan, settings.work_dir, frames, 0, learns=False)
    assert len(data) == 8
    for i in range(8):
        left, right = data[0, i][2].split(" and ")
        assert {left[1:5], right[1:5]} == {"real", "fake"}
        real, fake, _ = data[0, i]
        roughness = [np.abs(np.diff(crop.numpy().astype(int), axis=-1)).mean() for crop in (real, fake)]
        assert roughness[0] < roughness[1]


def test_a_limit_leaves_so_many_labelled_videos_and_all_test_videos(tmp_path: Path) -> None:
    made = invented(tmp_path)
    for table, rows_ in ((tables.VIDEOS, made.videos), (tables.FACES, made.faces), (tables.FOLDS, made.folds)):
        tables.write(table, rows_, tmp_path / f"{table.name}.parquet")
    assert len(read_tables(tmp_path).labelled()) == 8
    few = read_tables(tmp_path, 4)
    assert few.labelled()["video_id"].tolist() == ["fake0.mp4", "fake2.mp4", "real0.mp4", "real2.mp4"]
    assert (few.videos["split"] == "test").sum() == 4


def test_steps_from_the_middle_are_those_of_the_whole_training() -> None:
    whole = list(StepBatches(10, 4, epochs=3, seed=7))
    assert len(whole) == 6
    assert list(StepBatches(10, 4, epochs=3, seed=7, start_step=3)) == whole[3:]
    assert [{epoch for epoch, _ in batch} for batch in whole] == [{0}, {0}, {1}, {1}, {2}, {2}]
    assert len({i for batch in whole[:2] for _, i in batch}) == 8


def test_fewer_items_than_a_batch_make_one_step_an_epoch() -> None:
    assert [sorted(i for _, i in batch) for batch in StepBatches(3, 16, epochs=2, seed=0)] == [[0, 1, 2]] * 2


def test_processes_share_each_batch_without_overlap() -> None:
    whole = next(iter(StepBatches(8, 4, 1, 0)))
    parts = [next(iter(StepBatches(8, 4, 1, 0, 0, rank, 2))) for rank in (0, 1)]
    assert sorted(parts[0] + parts[1]) == sorted(whole)
    with pytest.raises(UserError, match="do not reach for 2 processes"):
        StepBatches(1, 4, 1, 0, 0, 0, 2)


def test_the_digest_of_tables_sees_values_and_names() -> None:
    frame = pd.DataFrame({"a": [1, 2], "b": ["x", None]})
    assert content_digest(frame) == content_digest(frame.copy())
    assert content_digest(frame) != content_digest(frame.assign(a=[1, 3]))
    assert content_digest(frame) != content_digest(frame.rename(columns={"a": "c"}))
