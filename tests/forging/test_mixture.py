import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from deepfake import tables
from deepfake.datasets.view import View
from deepfake.datasets.views import GRID
from deepfake.errors import UserError
from deepfake.forging.mixture import Mixture, collate, read_mixture
from deepfake.forging.padding import fill_padding
from deepfake.forging.pictures import Photos
from deepfake.forging.sources import Sources, balanced_groups, gather
from deepfake.settings import Config, Frames, Selfblend
from face_pictures import face, sources, write_frames, write_photos
from learning_data import config, video_row

INPUT_PX = 64


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Sources:
    """Three photos, two real clips, six clips of one generator and one of another."""
    fakes = {f"fake{i}.mp4": [face(20 + i, 96)] for i in range(7)}
    generators = {name: "common" if name != "fake6.mp4" else "rare" for name in fakes}
    reals = {"real0.mp4": [face(10, 96), face(11, 96)], "real1.mp4": [face(12, 96)]}
    return sources(tmp_path_factory.mktemp("material"), [face(i, 100) for i in range(3)], reals, fakes, generators)


def mixture(material: Sources, seed: int = 0, **settings: object) -> Mixture:
    return Mixture(material, Selfblend.model_validate(settings), INPUT_PX, 0.7, 100, seed)


def same(one: tuple[object, ...], other: tuple[object, ...]) -> bool:
    pictures = all(torch.equal(a, b) for a, b in zip(one[:2], other[:2], strict=True))  # type: ignore[arg-type]
    return pictures and np.array_equal(one[2], other[2], equal_nan=True) and one[3] == other[3]  # type: ignore[arg-type]


def test_an_item_depends_on_seed_epoch_and_index_alone(material: Sources) -> None:
    first, second = mixture(material), mixture(material)
    second[0, 5], second[3, 1]  # what was drawn before does not count
    for index in ((0, 0), (0, 1), (1, 0), (2, 7)):
        assert same(first[index], second[index])
    assert not same(first[0, 0], first[0, 1])
    assert not same(first[0, 0], first[1, 0])
    assert not same(first[0, 0], mixture(material, seed=1)[0, 0])


def test_an_item_is_two_crops_as_the_network_sees_them_and_a_mask_on_the_grid(material: Sources) -> None:
    for index in range(12):
        real, fake, grid, name = mixture(material)[0, index]
        assert real.shape == fake.shape == (3, INPUT_PX, INPUT_PX)
        assert real.dtype == fake.dtype == torch.uint8
        assert grid.shape == (GRID, GRID)
        assert grid.dtype == torch.float32
        assert not torch.equal(real, fake)
        assert " and " in name


def test_the_name_says_picture_and_family(material: Sources) -> None:
    items = mixture(material, photo_share=1, clip_share=0, forged_share=0, families={"twin": 1.0})
    assert items[0, 0][3].startswith("photo '")
    assert " and its twin/" in items[0, 0][3]


def test_kinds_are_drawn_by_their_shares_and_known_without_making_the_item(material: Sources) -> None:
    items = mixture(material, photo_share=0.5, clip_share=0.2, forged_share=0.3)
    counts = Counter(items.kind_of((0, number)) for number in range(1000))
    assert abs(counts["photo"] - 500) < 60
    assert abs(counts["clip"] - 200) < 50
    assert [items.make((0, number)).kind for number in range(8)] == [items.kind_of((0, number)) for number in range(8)]


def test_a_made_fake_has_a_mask_from_0_to_1_and_a_forged_clip_a_mask_nobody_knows(material: Sources) -> None:
    for number in range(20):
        made = mixture(material).make((0, number))
        if made.kind == "forged":
            assert made.mask is None
            assert np.isnan(made.grid).all()
        else:
            assert made.mask is not None
            assert 0 <= made.grid.min() <= made.grid.max() <= 1


def test_generators_come_equally_often_however_many_clips_they_have(material: Sources) -> None:
    items = mixture(material, photo_share=0, clip_share=0, forged_share=1)
    owners = Counter(items.make((0, number)).owners[1] for number in range(120))
    assert 40 <= owners["fake6.mp4"] <= 80, "one clip of seven, one generator of two"
    assert len(owners) == 7


def test_beside_a_forged_clip_stands_a_photo_as_often_as_set(material: Sources) -> None:
    def share(**settings: object) -> float:
        items = mixture(material, photo_share=0, clip_share=0, forged_share=1, **settings)
        return float(np.mean(["photo" in items.make((0, number)).names[0] for number in range(40)]))

    assert share(forged_beside_photo=0.0) == 0
    assert share(forged_beside_photo=1.0) == 1


def test_real_and_fake_of_one_picture_share_view_and_damage(material: Sources) -> None:
    """Where nothing was forged both are seen alike, whatever was drawn."""
    items = mixture(material, photo_share=1, clip_share=0, forged_share=0, families={"lip_sync": 1.0}, h264=False)
    for number in range(10):
        made = items.make((0, number))
        top = slice(0, INPUT_PX // 8)  # the forehead: far enough from the mouth for JPEG's blocks and blurs
        assert (made.seen[0][top] == made.seen[1][top]).mean() > 0.99
        assert (made.seen[0] != made.seen[1]).any()


def test_without_photos_items_come_from_clips_and_without_fakes_none_is_forged(material: Sources) -> None:
    none = type(material.fakes)(material.fakes.faces.iloc[:0], Path())
    clips_only = replace(material, photos=None, fakes=none, fake_groups=[], kin=[], fake_shares=np.empty(0))
    assert mixture(clips_only).kinds == ["clip"]
    assert mixture(clips_only)[0, 0][3].startswith("'real")


def test_nothing_to_learn_from_is_an_error_in_words(material: Sources) -> None:
    with pytest.raises(UserError, match="nothing to learn from"):
        mixture(material, photo_share=0, clip_share=0, forged_share=0)


def test_fakes_alone_are_nothing_to_learn_from(material: Sources) -> None:
    nobody = type(material.reals)(material.reals.faces.iloc[:0], Path())
    with pytest.raises(UserError, match="nothing to learn from"):
        mixture(replace(material, photos=None, reals=nobody, real_groups=[]))


def test_a_photo_larger_than_crops_of_clips_is_reduced_to_their_size_with_its_points(tmp_path: Path) -> None:
    large, small = face(0, 96), face(1, 48)
    csv = write_photos(tmp_path, [large, small])
    photos = Photos(csv, most_px=64)
    reduced = photos.face(0)
    assert reduced.picture.shape == (64, 64, 3)
    assert np.allclose(reduced.landmarks, large.landmarks * 64 / 96, atol=0.01)
    assert (photos.face(1).picture == small.picture).all()


def test_a_frame_s_points_lie_on_its_crop(material: Sources) -> None:
    wanted = face(10, 96)
    read = material.reals.face(0)
    assert (read.picture == wanted.picture).all()
    assert np.allclose(read.landmarks, wanted.landmarks, atol=0.01)


def test_a_batch_is_all_reals_then_all_fakes_and_reals_have_empty_masks(material: Sources) -> None:
    items = [mixture(material)[0, number] for number in range(3)]
    batch = collate(items)
    assert batch.labels_B.tolist() == [0, 0, 0, 1, 1, 1]
    assert torch.equal(batch.inputs[0][0], items[0][0])
    assert torch.equal(batch.inputs[0][3], items[0][1])
    assert batch.masks_BHW is not None
    assert not batch.masks_BHW[:3].any()


# --- Views ---------------------------------------------------------------------------------------


def test_a_view_shows_mask_and_picture_from_the_same_place() -> None:
    picture = np.zeros((160, 160), np.float32)
    picture[70:90, 100:120] = 1
    for seed in range(10):
        view = View.draw(np.random.default_rng(seed), 160, 0.7, 0.15)
        seen, grid = view(picture), view.mask(picture)
        assert seen.shape == (view.side_px, view.side_px)
        rows, columns = np.nonzero(seen > 0.5)
        place = np.array([rows.mean(), columns.mean()]) / view.side_px * GRID - 0.5
        centre = np.array([(np.indices(grid.shape)[axis] * grid).sum() / grid.sum() for axis in (0, 1)])
        assert np.abs(place - centre).max() < 0.5


@pytest.mark.parametrize("zoom", [0.0, 0.15, 0.4])
def test_views_are_as_much_larger_and_smaller_as_asked(zoom: float) -> None:
    sides = [View.draw(np.random.default_rng(seed), 1000, 0.5, zoom).side_px for seed in range(200)]
    assert 500 * np.exp(-zoom) - 1 <= min(sides) <= 500 * np.exp(-0.97 * zoom) + 1
    assert 500 * np.exp(0.97 * zoom) - 1 <= max(sides) <= 500 * np.exp(zoom) + 1


def test_a_view_with_a_border_repeats_its_inner_edge() -> None:
    picture = np.random.default_rng(0).integers(0, 255, (100, 100, 3)).astype(np.uint8)
    plain = np.array([[1.0, 0, 0], [0, 1.0, 0]])
    seen = View(plain, 100, (0.1, 0.0, 0.0, 0.2))(picture)
    assert (seen[:, :10] == seen[:, 10:11]).all()
    assert (seen[80:] == seen[79:80]).all()
    assert (seen[:80, 10:] == picture[:80, 10:]).all()


# --- Photos and groups: the user's mistakes ------------------------------------------------------


def changed_csv(folder: Path, **columns: object) -> Path:
    csv = write_photos(folder, [face(0, 64), face(1, 64)])
    table = pd.read_csv(csv)
    for name, value in columns.items():
        table = table.drop(columns=name) if value is None else table.assign(**{name: value})
    table.to_csv(csv, index=False)
    return csv


def test_photos_without_a_needed_column_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="wanted identity, and lm4_y"):
        Photos(changed_csv(tmp_path, identity=None, lm4_y=None))


@pytest.mark.parametrize("path", ["../elsewhere.png", "/etc/passwd", "inner/../../out.png"])
def test_a_photo_s_path_that_leaves_the_folder_is_refused(tmp_path: Path, path: str) -> None:
    with pytest.raises(UserError, match="leaves the CSV's folder"):
        Photos(changed_csv(tmp_path, file=["0.png", path]))


@pytest.mark.parametrize("value", [np.nan, "left", np.inf])
def test_a_photo_without_all_landmarks_is_refused_by_name(tmp_path: Path, value: object) -> None:
    with pytest.raises(UserError, match=r"'1\.png' lacks a landmark"):
        Photos(changed_csv(tmp_path, lm2_x=[30.0, value]))


def test_a_missing_unreadable_or_empty_photos_csv_is_the_user_s_mistake(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none\.csv does not exist"):
        Photos(tmp_path / "none.csv")
    (tmp_path / "empty.csv").touch()
    with pytest.raises(UserError, match=r"empty\.csv is empty"):
        Photos(tmp_path / "empty.csv")
    csv = write_photos(tmp_path / "nobody", [])
    with pytest.raises(UserError, match="no photo in it"):
        Photos(csv)


def test_a_photo_that_is_missing_or_no_picture_is_named(tmp_path: Path) -> None:
    photos = Photos(write_photos(tmp_path, [face(0, 64), face(1, 64)]))
    (tmp_path / "0.png").unlink()
    (tmp_path / "1.png").write_text("words")
    with pytest.raises(UserError, match=r"0\.png': does not exist"):
        photos.face(0)
    with pytest.raises(UserError, match=r"1\.png': not a picture"):
        photos.face(1)


def settings(folder: Path, **selfblend: object) -> Config:
    """Two real and three forged clips of two generators, in tables, with a CSV that says which."""
    clips = {name: [face(number, 64)] for number, name in enumerate(("a.mp4", "b.mp4", "x.mp4", "y.mp4", "z.mp4"))}
    made = config(folder, frames={"selfblend": {"groups_csv": str(folder / "clips.csv"), **selfblend}})
    groups = {"file": [f"train/{name}" for name in clips], "generator": [None, None, "One", "One", "Two"]}
    groups |= {"identity": ["ann", None, "bob", "cid", "dan"], "source": ["film", "site", "site", "film", "none"]}
    pd.DataFrame(groups).to_csv(folder / "clips.csv", index=False)
    videos = pd.DataFrame([video_row(name, int(name > "c")) for name in clips])
    tables.write(tables.VIDEOS, videos, made.work_dir / "videos.parquet")
    tables.write(tables.FACES, write_frames(made.work_dir, clips), made.work_dir / "faces.parquet")
    return made


def fake_names(gathered_sources: Sources) -> list[str]:
    return sorted(set(gathered_sources.fakes.faces["video_id"]))


def gathered(settings_of: Config, prefix: str = "") -> Sources:
    videos = tables.read(tables.VIDEOS, settings_of.work_dir / "videos.parquet")
    faces = tables.read(tables.FACES, settings_of.work_dir / "faces.parquet")
    videos["video_id"], faces["video_id"] = prefix + videos["video_id"], prefix + faces["video_id"]
    return gather(videos, faces, settings_of)


def test_sources_are_grouped_by_generator_and_by_person_as_far_as_known(tmp_path: Path) -> None:
    gathered_sources = gathered(settings(tmp_path))
    assert [len(group) for group in gathered_sources.fake_groups] == [2, 1]
    assert [len(group) for group in gathered_sources.real_groups] == [1, 1], (
        "a real clip without a person is one of its own"
    )
    assert gathered_sources.describe() == "0 photos, 2 real frames of 2 people, 3 forged frames of 2 generators"


@pytest.mark.parametrize("prefix", ["", "clips/train/"])
def test_a_generator_left_out_is_not_learnt_from_wherever_the_index_starts(tmp_path: Path, prefix: str) -> None:
    assert fake_names(gathered(settings(tmp_path, leave_out=["One"]), prefix)) == [f"{prefix}z.mp4"]
    assert len(gathered(settings(tmp_path), prefix).fake_groups) == 2


def test_a_forged_clip_stands_beside_a_real_one_of_its_source_where_there_is_one(tmp_path: Path) -> None:
    gathered_sources = gathered(settings(tmp_path))
    assert [kin.tolist() for kin in gathered_sources.kin] == [[1], [0], []], (
        "x is of b's source, y of a's, z of nobody's"
    )
    items = mixture(gathered_sources, photo_share=0, clip_share=0, forged_share=1, forged_beside_kin=1.0)
    beside = {items.make((0, number)).owners[::-1] for number in range(30)}
    assert beside == {("x.mp4", "b.mp4"), ("y.mp4", "a.mp4"), ("z.mp4", "a.mp4"), ("z.mp4", "b.mp4")}


def test_an_unknown_generator_to_leave_out_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no clip of generator 'Three'; there are One, Two"):
        gathered(settings(tmp_path, leave_out=["Three"]))
    with pytest.raises(UserError, match="groups_csv names them"):
        gathered(settings(tmp_path, leave_out=["One"], groups_csv=None))


def test_a_groups_csv_without_its_columns_is_the_user_s_mistake(tmp_path: Path) -> None:
    made = settings(tmp_path)
    (tmp_path / "clips.csv").write_text("file,label\na.mp4,REAL\n")
    with pytest.raises(UserError, match="found columns file, label; wanted generator, and identity, and source"):
        gathered(made)


def test_a_mixture_is_read_from_settings_and_tables_with_families_of_choice(tmp_path: Path) -> None:
    items = read_mixture(settings(tmp_path), 0, {"local_warp": 1.0})
    assert items.kinds == ["clip"]
    assert items.make((0, 0)).names[1].startswith("its local_warp/")
    assert read_mixture(settings(tmp_path), 0).kinds == ["clip", "forged"]


def test_settings_that_do_not_learn_by_forging_have_no_mixture(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="selfblend is not set"):
        read_mixture(config(tmp_path), 0)


@pytest.mark.parametrize(("balance", "expected"), [(1.0, [0.5, 0.5]), (0.0, [0.2, 0.8]), (0.5, [1 / 3, 2 / 3])])
def test_generators_are_drawn_alike_or_as_often_as_they_have_clips(
    tmp_path: Path, balance: float, expected: list[float]
) -> None:
    names = {"a": "One", "b": "Two (x)", "c": "Two (y)", "d": "Two (x)", "e": "Two"}
    csv = tmp_path / "clips.csv"
    rows = [f"{name}.mp4,{generator},p,s" for name, generator in names.items()]
    csv.write_text("\n".join(["file,generator,identity,source", *rows, "r.mp4,,q,s"]) + "\n")
    faces = write_frames(tmp_path, {f"{name}.mp4": [face(i, 64)] for i, name in enumerate([*names, "r"])})
    videos = pd.DataFrame({"video_id": [*(f"{n}.mp4" for n in names), "r.mp4"], "label": [1] * 5 + [0]})
    settings = Selfblend(groups_csv=csv, generator_balance=balance)
    config = Config(data_dir=tmp_path, frames=Frames(selfblend=settings))
    assert gather(videos, faces, config).fake_shares == pytest.approx(expected)


# --- Padding and levels: what would tell the source ------------------------------------------------


def noise(side_px: int = 60) -> np.ndarray:
    return np.random.default_rng(0).integers(60, 200, (side_px, side_px, 3)).astype(np.uint8)


def test_a_black_border_is_filled_with_the_nearest_pixels_and_nothing_else_changes() -> None:
    padded = noise()
    padded[:, :10] = 3
    filled = fill_padding(padded)
    assert (filled[:, :12] == padded[:, 12:13]).all(), "two pixels beside the border may be bled over"
    assert (filled[:, 12:] == padded[:, 12:]).all()


def test_a_turned_photo_s_black_corners_are_filled() -> None:
    rows, columns = np.indices((60, 60))
    padded = noise()
    padded[rows + columns < 30] = 0
    assert fill_padding(padded).min() >= 60


def test_black_within_a_picture_and_a_picture_without_padding_stay() -> None:
    whole = noise()
    whole[20:40, 20:40] = 0
    assert (fill_padding(whole) == whole).all()


@pytest.mark.parametrize("step", [0, 3])
def test_a_picture_with_hardly_anything_but_black_stays_as_it_is(step: int) -> None:
    black = np.zeros((60, 60, 3), np.uint8)
    if step:
        black[1::step, 1::step] = 200  # specks too thin to fill anything from
    assert (fill_padding(black) == black).all()


def test_a_padded_photo_is_filled_when_it_is_read(tmp_path: Path) -> None:
    one = face(0, 96)
    one.picture[:, :12] = 0
    assert Photos(write_photos(tmp_path, [one])).face(0).picture[:, :12].max(axis=2).min() > 14


def test_with_equal_levels_brightness_does_not_tell_forged_clips(tmp_path: Path) -> None:
    bright, dark = (face(0, 96, grain=2.0) for _ in range(2))
    dark.picture[:] = dark.picture // 2
    material = sources(tmp_path, [], {"real.mp4": [bright]}, {"fake.mp4": [dark]})

    def darker(share: float) -> float:
        items = mixture(
            material,
            photo_share=0,
            clip_share=0,
            forged_share=1,
            h264=False,
            forged_degradation=0.0,
            equal_levels=share,
        )
        seen = [items.make((0, number)).seen for number in range(80)]
        middle = slice(INPUT_PX // 4, -INPUT_PX // 4)
        return float(np.mean([real[middle, middle].mean() - fake[middle, middle].mean() for real, fake in seen]))

    assert darker(0.0) > 40
    assert abs(darker(1.0)) < 15  # each is drawn from 80 to 165


def slow_groups(rows: pd.DataFrame, groups: Mapping[str, str]) -> list[np.ndarray]:
    """What `balanced_groups` must give, by going through all rows for every group."""
    names = [groups.get(Path(video_id).name, video_id) for video_id in rows["video_id"]]
    return [np.flatnonzero([name == wanted for name in names]) for wanted in sorted(set(names))]


@pytest.mark.parametrize("seed", range(20))
def test_groups_are_those_of_comparing_every_row_with_every_group(seed: int) -> None:
    rng = np.random.default_rng(seed)
    video_ids = [f"part{i % 2}/{i}.mp4" for i in range(rng.integers(0, 12))]
    rows = pd.DataFrame({"video_id": rng.choice(video_ids, rng.integers(0, 60)) if video_ids else []}, dtype=object)
    known = {Path(name).name: f"person {rng.integers(4)}" for name in video_ids if rng.random() < 0.6}
    groups, expected = balanced_groups(rows, known), slow_groups(rows, known)
    assert [group.tolist() for group in groups] == [group.tolist() for group in expected]
    assert sorted(row for group in groups for row in group) == list(range(len(rows)))


def test_a_video_called_like_a_group_joins_it() -> None:
    rows = pd.DataFrame({"video_id": ["b", "a", "c", "b"]})
    assert [group.tolist() for group in balanced_groups(rows, {"a": "c"})] == [[0, 3], [1, 2]]


def test_many_videos_of_nobody_are_grouped_at_once() -> None:
    """Going through all rows for every video took 12 s for 4,000 of 10 frames."""
    rows = pd.DataFrame({"video_id": np.repeat([f"{i}.mp4" for i in range(20_000)], 4)})
    start = time.perf_counter()
    assert len(balanced_groups(rows, {})) == 20_000
    assert time.perf_counter() - start < 10
