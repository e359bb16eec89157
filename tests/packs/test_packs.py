"""Packs: what is written is read, training from them ends in time, goes on after a kill, and needs few libraries."""

import json
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from deepfake import tables
from deepfake.errors import UserError
from deepfake.forging.families import FAMILIES, Face, Forged, Material
from deepfake.models.checkpoints import load_frames, read_card
from deepfake.packs import training
from deepfake.packs.adopting import adopt
from deepfake.packs.building import Contents, build_pack, shrunk
from deepfake.packs.command import table, train_within
from deepfake.packs.file import LEARN, VALIDATE, Pack, part_path, read_pack, write_pack
from deepfake.packs.items import PackPairs, collate
from deepfake.packs.outlines import KEPT, own_outlines
from deepfake.packs.pictures import Pictures
from deepfake.packs.settings import PackTraining, parse_settings, read_plan
from deepfake.packs.snapshots import read_snapshot, save_snapshot
from deepfake.packs.training import Place, Progress
from deepfake.packs.validation import clip_aucs
from deepfake.settings_file import default_config
from face_pictures import POINTS, face, write_frames, write_photos
from learning_data import one_thread, video_row  # noqa: F401 - a fixture
from little_pack import SIDE, packed, png, row
from run_command import ENVIRONMENT, arguments_of

pytestmark = pytest.mark.usefixtures("one_thread")
TINY = PackTraining(
    backbone="test_efficientnet",
    start="random",
    input_px=32,
    pairs_per_batch=2,
    validations=2,
    snapshots=2,
    pairs=8,
    precision="fp32",
)


def small_pack(n_photos: int = 6, n_clips: int = 3, n_told: int = 4) -> Pack:
    rows = [
        *(row(i, VALIDATE, "clip", i % 2, clip=f"told{i}") for i in range(n_told)),
        *(row(i, kind="clip", owner=f"actor{i}") for i in range(n_clips)),
        *(row(i) for i in range(n_photos)),
    ]
    return packed(rows)


@pytest.fixture(scope="module")
def pack() -> Pack:
    return small_pack()


@pytest.fixture(scope="module")
def pictures(pack: Pack) -> Pictures:
    return Pictures(pack, range(len(pack.faces)))


def test_a_pack_is_read_as_it_was_written(pack: Pack, tmp_path: Path) -> None:
    mesh = np.full_like(pack.mesh_NP2, np.nan)
    mesh[2] = 12.25
    (path,) = write_pack(tmp_path, "faces", replace(pack, mesh_NP2=mesh, start={"net": b"weights"}))
    found = read_pack(path)
    pd.testing.assert_frame_equal(found.faces, pack.faces)
    np.testing.assert_array_equal(found.landmarks_N52, pack.landmarks_N52)
    np.testing.assert_array_equal(found.mesh_NP2, mesh)
    assert list(found.encoded) == list(pack.encoded) and found.start == {"net": b"weights"}


def test_no_part_is_larger_than_asked_and_one_alone_can_be_read(
    pack: Pack, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    most_mb = 0.12
    paths = write_pack(tmp_path, "faces", pack, most_mb)
    assert len(paths) > 1 and all(path.stat().st_size <= most_mb * 2**20 for path in paths)
    whole = read_pack(paths[1])
    assert list(whole.faces["name"]) == list(pack.faces["name"])
    paths[1].unlink()
    rest = read_pack(paths[0])
    assert 0 < len(rest.faces) < len(pack.faces) and rest.digest != whole.digest
    assert paths[1].name in caplog.text


def test_equal_packs_are_equal_bytes(pack: Pack, tmp_path: Path) -> None:
    one, other = (write_pack(tmp_path / name, "faces", pack)[0].read_bytes() for name in "ab")
    assert one == other


def test_a_part_that_is_cut_short_or_no_pack_is_named(pack: Pack, tmp_path: Path) -> None:
    (path,) = write_pack(tmp_path, "faces", pack)
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(UserError, match=r"faces-00\.pack.*cut short"):
        read_pack(path)
    with pytest.raises(UserError, match=r"no such file.*faces-00\.pack"):
        read_pack(part_path(tmp_path, "other", 0))


def test_parts_of_two_packs_are_not_mixed(pack: Pack, tmp_path: Path) -> None:
    write_pack(tmp_path, "faces", pack, 0.12)
    write_pack(tmp_path / "other", "faces", small_pack(n_photos=9), 0.12)
    part_path(tmp_path / "other", "faces", 1).replace(part_path(tmp_path, "faces", 1))
    with pytest.raises(UserError, match="two packs"):
        read_pack(part_path(tmp_path, "faces", 0))


def test_processes_decode_what_one_alone_does(pack: Pack, pictures: Pictures) -> None:
    shared = Pictures(pack, range(len(pack.faces)), n_processes=2)
    for i in range(len(pack.faces)):
        np.testing.assert_array_equal(shared[i], pictures[i])
        np.testing.assert_array_equal(pictures[i], face(i, SIDE).picture)


def test_a_broken_picture_of_a_pack_is_named(pack: Pack) -> None:
    with pytest.raises(UserError, match=r"'clip1' is not a picture"):
        Pictures(replace(pack, encoded=[pack.encoded[0], b"x", *pack.encoded[2:]]), range(len(pack.faces)), 2)


def test_a_pair_is_drawn_from_seed_and_number_alone_and_differs_under_its_mask(pack: Pack, pictures: Pictures) -> None:
    items = PackPairs(pack, pictures, replace(TINY, damage=0.0))
    differ = 0
    for number in range(8):
        real, fake, grid = items[number, 0.0]
        for one, other in zip((real, fake, grid), items[number, 0.5], strict=True):
            assert torch.equal(one, other)
        assert real.shape == fake.shape == (3, 32, 32) and real.dtype == torch.uint8
        assert float(grid.min()) >= 0 and float(grid.max()) <= 1
        differ += not torch.equal(real, fake)
    assert differ >= 6  # a little blur may be lost in so small a crop
    assert not torch.equal(items[0, 0.0][0], items[1, 0.0][0])


def test_only_what_is_to_be_learnt_from_is_shown(pack: Pack, pictures: Pictures) -> None:
    items = PackPairs(pack, pictures, TINY)
    rng = np.random.default_rng(0)
    drawn = {items._draw(kind, rng) for kind in ("photo", "clip") for _ in range(200)}
    assert drawn == set(pack.rows(LEARN).tolist())


def test_small_faces_are_left_out_of_the_photos_and_an_empty_pack_says_so(pack: Pack, pictures: Pictures) -> None:
    faces = pack.faces.copy()
    faces.loc[faces["name"] == "photo2", "face_px"] = 150.0
    larger = replace(pack, faces=faces)
    items = PackPairs(larger, pictures, replace(TINY, min_face_px=150))
    assert [faces["name"][i] for i in items.rows["photo"]] == ["photo2"] and len(items.rows["clip"]) == 3
    without = replace(larger, faces=faces.assign(role=VALIDATE))
    with pytest.raises(UserError, match="nothing to learn from"):
        PackPairs(without, pictures, TINY)


def test_damage_follows_the_progress_where_it_is_asked_to(pack: Pack, pictures: Pictures) -> None:
    rising = PackPairs(pack, pictures, replace(TINY, damage_start=0.2, damage=1.0))
    assert [rising._strength(p) for p in (0.0, 0.5, 1.0)] == pytest.approx([0.2, 0.6, 1.0])
    assert PackPairs(pack, pictures, replace(TINY, damage=0.6))._strength(0.1) == 0.6


def test_a_batch_is_all_reals_then_their_fakes(pack: Pack, pictures: Pictures) -> None:
    items = PackPairs(pack, pictures, TINY)
    pairs = [items[i, 0.0] for i in range(3)]
    batch = collate(pairs)
    assert batch.labels_B.tolist() == [0, 0, 0, 1, 1, 1]
    assert torch.equal(batch.crops_BCHW[1], pairs[1][0]) and torch.equal(batch.crops_BCHW[4], pairs[1][1])
    assert float(batch.masks_BHW[:3].max()) == 0 and torch.equal(batch.masks_BHW[5], pairs[2][2])


def test_an_own_outline_lies_where_the_mesh_does() -> None:
    # A mesh that is a circle of radius 1 about the canonical origin: every outline is part of it.
    angles = np.linspace(0, 2 * np.pi, len(KEPT), endpoint=False)
    landmarks = np.array([[-0.5, 0.0], [0.5, 0.0], [0.0, 0.57], [-0.41, 1.15], [0.41, 1.15]]) * 40 + 100
    mesh = 40 * np.stack([np.cos(angles), np.sin(angles)], 1) + 100
    found = own_outlines(mesh, landmarks, np.random.default_rng(0))
    assert found is not None and set(found) == {"face", "inner", "eyes", "mouth"}
    for outline in found.values():
        np.testing.assert_allclose(np.hypot(*outline.T), 1.0, atol=1e-3)
    mesh[3] = np.nan
    assert own_outlines(mesh, landmarks, np.random.default_rng(0)) is None


def test_jitter_changes_an_outline_by_no_more_than_its_share() -> None:
    rng = np.random.default_rng(1)
    mesh, landmarks = rng.uniform(60, 140, (len(KEPT), 2)), POINTS * 100 + 50
    plain = own_outlines(mesh, landmarks, np.random.default_rng(0))
    for seed in range(5):
        other = own_outlines(mesh, landmarks, np.random.default_rng(seed), jitter=1e-9)
        larger = own_outlines(mesh, landmarks, np.random.default_rng(seed), jitter=0.1)
        assert plain is not None and other is not None and larger is not None
        ratio = np.ptp(larger["face"][:, 0]) / np.ptp(other["face"][:, 0])
        assert np.exp(-0.1) - 1e-6 <= ratio <= np.exp(0.1) + 1e-6


def test_hulls_by_mesh_make_other_fakes_than_five_points(pack: Pack, pictures: Pictures) -> None:
    angles = np.linspace(0, 2 * np.pi, len(KEPT), endpoint=False)
    circle = np.stack([np.cos(angles), 1.2 * np.sin(angles)], 1) * 25 + SIDE / 2
    meshed = replace(pack, mesh_NP2=np.broadcast_to(circle, pack.mesh_NP2.shape).astype(np.float32))
    settings = replace(TINY, families={"self_blend": 1.0})
    five, own = (PackPairs(meshed, pictures, replace(settings, hulls=hulls)) for hulls in ("five_points", "mesh"))
    masks = [[items.make((i, 0.0))[2].mask for i in range(6)] for items in (five, own)]
    assert any(not np.array_equal(a, b) for a, b in zip(*masks, strict=True))


def test_scores_by_family_are_shares_of_pairs_won() -> None:
    rows = [
        ("r1", 0, "real", "a", 0.0),
        ("r1", 0, "real", "a", 2.0),
        ("r2", 0, "real", "b", 3.0),
        ("f1", 1, "swap", "a", 2.0),
        ("f2", 1, "swap", "c", 4.0),
        ("f3", 1, "lipsync", "b", 1.0),
    ]
    found = clip_aucs(pd.DataFrame(rows, columns=["clip", "label", "family", "source", "logit"]))
    # Reals are 1 (a mean) and 3. Swap: 2 and 4 win 1 + 2 of 4; lip-sync: 1 ties once, half of 2.
    assert found["auc_swap"] == 0.75 and found["auc_lipsync"] == 0.25
    assert found["auc_all"] == pytest.approx(3.5 / 6) and found["auc_families"] == 0.5
    # Within a: 2 over 1; within b: 1 under 3; c has no real.
    assert found["auc_within"] == 0.5


def test_progress_is_by_time_or_pairs_whichever_is_further(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(training.time, "monotonic", lambda: now)
    progress = Progress(seconds=50, pairs=1000)
    progress.pairs, progress.for_the_end = 200, 10
    assert progress.share == 0.2
    now = 130.0
    assert progress.share == 0.75  # 30 of 40 s
    progress.earlier = 20
    assert progress.share == 1.0


def test_a_training_by_pairs_keeps_its_last_snapshots_and_notes_validations(
    pack: Pack, pictures: Pictures, tmp_path: Path
) -> None:
    result = training.train(pack, pictures, TINY, 600, Place(tmp_path, "a", "cpu"))
    assert result["pairs"] == 8 and result["progress"] == 1.0
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "a-0000004.safetensors",
        "a-0000008.safetensors",
        "log.jsonl",
        "results.jsonl",
    ]
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [(line["validation"], line["pairs"]) for line in lines if "validation" in line] == [(0, 0), (1, 4), (2, 8)]
    model, about = read_snapshot(tmp_path / "a-0000008.safetensors")
    assert about["pairs"] == 8 and about["auc_all"] == result["auc_all"]
    assert torch.isfinite(model(torch.zeros(1, 3, 32, 32))).all()
    again = training.train(pack, pictures, TINY, 600, Place(tmp_path, "a", "cpu"))
    assert again == result


def test_the_rate_has_fallen_to_nothing_when_the_time_is_over(
    pack: Pack, pictures: Pictures, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rates: list[float] = []
    step = training.Learner.step
    now = 100.0

    def noted(self: training.Learner, *args: object) -> torch.Tensor:
        nonlocal now
        now += 0.125 if len(rates) < 16 else 0.5  # a machine that becomes slower on the way
        losses = step(self, *args)  # type: ignore[arg-type]
        rates.append(self.optimizer.param_groups[0]["lr"])
        return losses

    monkeypatch.setattr(training.Learner, "step", noted)
    monkeypatch.setattr(training.time, "monotonic", lambda: now)
    training.train(pack, pictures, replace(TINY, pairs=0, warmup_ratio=0.0), 6, Place(tmp_path, "a", "cpu"))
    assert len(rates) == 24 and now == 106  # 2 s of quick steps and 4 s of slow ones
    assert rates[0] > 0.9e-3 > 0.1e-3 > rates[-1] and rates == sorted(rates, reverse=True)


class Killed(BaseException):
    """Nobody catches it: the training is gone."""


def test_a_killed_training_goes_on_and_forgets_what_it_noted_later(
    pack: Pack, pictures: Pictures, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = Place(tmp_path, "a", "cpu")
    step = training.Learner.step

    def killed(self: training.Learner, number: int, *args: object) -> torch.Tensor:
        if number == 3:
            raise Killed
        return step(self, number, *args)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(training.Learner, "step", killed)
        with pytest.raises(Killed):
            training.train(pack, pictures, TINY, 600, place)
    with (tmp_path / "log.jsonl").open("a") as stream:
        stream.write(json.dumps({"name": "a", "pairs": 6, "loss": 9.0}) + "\n" + '{"name": "a", "pa')
    (tmp_path / "a-0000006.safetensors").write_bytes(b"later than the state")
    steps: list[int] = []
    monkeypatch.setattr(
        training.Learner, "step", lambda self, number, *args: (steps.append(number), step(self, number, *args))[1]
    )
    result = training.train(pack, pictures, TINY, 600, place)
    assert steps == [2, 3] and result["pairs"] == 8
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line["validation"] for line in lines if "validation" in line] == [0, 1, 2]
    assert not any(line.get("loss") == 9.0 for line in lines)
    assert sorted(p.name for p in tmp_path.glob("*.safetensors")) == ["a-0000004.safetensors", "a-0000008.safetensors"]


@pytest.mark.parametrize("snapshots", [0, 2])
def test_a_training_killed_after_its_last_step_takes_no_further_one_and_ends_with_the_same_scores(
    pack: Pack, pictures: Pictures, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, snapshots: int
) -> None:
    settings, place = replace(TINY, snapshots=snapshots), Place(tmp_path, "a", "cpu")
    scores: dict[str, float] = {}

    def killed(self: training._Run, *_: object) -> None:
        scores.update(self.scores)
        raise Killed

    def kept() -> dict[str, dict[str, torch.Tensor]]:
        return {path.name: read_snapshot(path)[0].state_dict() for path in sorted(tmp_path.glob("*.safetensors"))}

    with monkeypatch.context() as patch:
        patch.setattr(training._Run, "_end", killed)
        with pytest.raises(Killed):
            training.train(pack, pictures, settings, 600, place)
    before = kept()
    result = training.train(pack, pictures, settings, 600, place)
    assert result["pairs"] == 8 and scores and {name: result.get(name) for name in scores} == scores
    after = kept()
    assert after.keys() == before.keys() and len(after) == snapshots
    for name, weights in after.items():
        assert all(torch.equal(weights[key], before[name][key]) for key in weights)


def test_other_settings_begin_anew(pack: Pack, pictures: Pictures, tmp_path: Path) -> None:
    place = Place(tmp_path, "a", "cpu")
    training.train(pack, pictures, TINY, 600, place)
    other = training.train(pack, pictures, replace(TINY, sam_radius=0.05, pair_weight=1.0, pairs=4), 600, place)
    assert other["pairs"] == 4
    assert sorted(p.name for p in tmp_path.glob("*.safetensors")) == ["a-0000002.safetensors", "a-0000004.safetensors"]


def test_a_training_can_go_on_from_a_snapshot(pack: Pack, tmp_path: Path) -> None:
    first = training.start_model(replace(TINY, seed=5), pack)
    save_snapshot(tmp_path / "first.safetensors", first, {})
    second = training.start_model(replace(TINY, start=str(tmp_path / "first.safetensors")), pack)
    for name, value in first.state_dict().items():
        torch.testing.assert_close(second.state_dict()[name], value, atol=2e-3, rtol=1e-3)


def test_a_training_goes_on_from_a_network_whose_statistics_are_folded(pack: Pack, tmp_path: Path) -> None:
    folded = training.start_model(replace(TINY, seed=5), pack).for_scoring()
    save_snapshot(tmp_path / "folded.safetensors", folded, {})
    second = training.start_model(replace(TINY, start=str(tmp_path / "folded.safetensors")), pack)
    assert second.settings["folded"]
    for name, value in folded.state_dict().items():
        torch.testing.assert_close(second.state_dict()[name], value, atol=2e-3, rtol=1e-3)


def test_a_snapshot_becomes_a_network_of_a_run(pack: Pack, tmp_path: Path) -> None:
    model = training.start_model(TINY, pack).eval()
    save_snapshot(tmp_path / "net.safetensors", model, {"name": "a", "pairs": 8})
    config = default_config([f"data_dir={tmp_path}", "run=net", "extract.margin_ratio=0.5"])
    folder = adopt(tmp_path / "net.safetensors", config, 8)
    crops = torch.randint(0, 256, (2, 3, 32, 32)).float()
    with torch.no_grad():
        torch.testing.assert_close(load_frames(folder)(crops), model(crops), atol=0.02, rtol=0.02)
    assert folder.name == "step000008" and read_card(folder).about["margin_ratio"] == 0.5
    save_snapshot(tmp_path / "other.safetensors", training.start_model(replace(TINY, seed=1), pack), {})
    with pytest.raises(UserError, match="another network"):
        adopt(tmp_path / "other.safetensors", config, 8)


def test_a_pack_without_weights_says_where_they_are(pack: Pack) -> None:
    with pytest.raises(UserError, match=r"first part.*start=random"):
        training.start_model(replace(TINY, start="pack"), pack)


def test_wrong_settings_are_told_all_at_once() -> None:
    with pytest.raises(UserError) as error:
        parse_settings({"inputpx": 288, "hulls": "ears", "pairs": 1.5, "h264": 1, "families": {}}, "--set")
    text = str(error.value)
    assert "5 wrong" in text and "did you mean 'input_px'" in text and "five_points or mesh" in text
    assert parse_settings({"sam_radius": 1}, "--set").sam_radius == 1.0
    assert parse_settings({"learning_rate": "5e-4"}, "--set").learning_rate == 0.0005  # YAML reads it as text
    with pytest.raises(UserError, match="found 'fast'; wanted a number from"):
        parse_settings({"learning_rate": "fast"}, "--set")


def test_every_range_belongs_to_a_setting_and_holds_its_default() -> None:
    from dataclasses import asdict

    parse_settings(asdict(PackTraining()), "defaults")


def test_a_plan_shares_its_common_settings(tmp_path: Path) -> None:
    path = tmp_path / "plan.yaml"
    path.write_text("common: {pairs: 100, seed: 1}\ntrials:\n  plain:\n  large: {input_px: 288, seed: 2}\n")
    plan = read_plan(path, ["pairs=50"])
    assert plan.trials == {
        "plain": PackTraining(pairs=50, seed=1),
        "large": PackTraining(pairs=50, seed=2, input_px=288),
    }
    path.write_text("trials: {a/b: {}}")
    with pytest.raises(UserError, match="a/b"):
        read_plan(path)


def test_a_plan_gives_a_row_for_each_training(pack: Pack, tmp_path: Path) -> None:
    write_pack(tmp_path, "faces", pack)
    plan = tmp_path / "plan.yaml"
    plan.write_text(
        "common: {backbone: test_efficientnet, start: random, input_px: 32, pairs_per_batch: 2, pairs: 4, "
        "validations: 1, snapshots: 0}\ntrials: {one: {}, two: {seed: 1}}\n"
    )
    text = train_within(part_path(tmp_path, "faces", 0), 5, tmp_path / "out", plan, workers=1, device="cpu")
    rows = [line.split(" | ")[0] for line in text.splitlines() if line.startswith("| ")]
    assert rows == ["| name", "| one", "| two"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["log.jsonl", "results.jsonl"]


def test_a_score_that_a_training_lacks_is_a_dash() -> None:
    text = table([{"name": "a", "pairs": 5, "auc_swap": 0.5}, {"name": "b", "pairs": 6}])
    assert text.splitlines()[2].startswith("| a | 5 | - ") and text.splitlines()[3].endswith(" - |")


def test_a_pack_is_built_from_photos_clips_and_further_crops(tmp_path: Path) -> None:
    photos = write_photos(tmp_path / "photos", [face(i, SIDE) for i in range(3)])
    clips = {"a.mp4": 7, "b.mp4": 8, "forged.mp4": 9, "held.mp4": 10}
    rows = write_frames(tmp_path, {name: [face(seed, SIDE)] * 3 for name, seed in clips.items()})
    tables.write(tables.FACES, rows, tmp_path / "faces.parquet")
    videos = [video_row(name, int(name == "forged.mp4"), None) for name in clips]
    tables.write(tables.VIDEOS, pd.DataFrame(videos), tmp_path / "videos.parquet")
    about = [[f"train/{name}", "swap", "DFL", f"person {name}", "held" if "held" in name else "src"] for name in clips]
    pd.DataFrame(about, columns=["file", "family", "generator", "identity", "source"]).to_csv(tmp_path / "clips.csv")
    further(tmp_path)
    built = build_pack(
        Contents(
            photos,
            tmp_path,
            tmp_path / "clips.csv",
            tmp_path / "more.csv",
            held_out=("held",),
            frames_per_clip=2,
            validation_frames=1,
            backbones=(),
            with_mesh=False,
        )
    )
    counts = built.faces.groupby(["role", "kind", "label"]).size().to_dict()
    assert counts == {
        (LEARN, "photo", 0): 3,
        (LEARN, "clip", 0): 4,
        (VALIDATE, "clip", 0): 2,
        (VALIDATE, "clip", 1): 2,
    }
    held = built.faces[built.faces["role"] == VALIDATE]
    assert set(held["clip"]) == {"held.mp4", "forged.mp4", "t1", "t2"}
    photo = built.rows(LEARN, "photo")[1]
    np.testing.assert_array_equal(Pictures(built, [photo])[photo], face(1, SIDE).picture)
    np.testing.assert_allclose(built.landmarks_N52[photo], face(1, SIDE).landmarks, rtol=1e-5)


def further(folder: Path) -> None:
    """Crops of three clips, one of which is of split `fresh` and must not be packed."""
    points = face(0, SIDE).landmarks.ravel()
    rows = []
    for clip, split, label in (("t1", "train", "REAL"), ("t2", "train", "FAKE"), ("n1", "fresh", "FAKE")):
        (folder / f"{clip}.png").write_bytes(png(face(20, SIDE).picture))
        family = "swap" if label == "FAKE" else "real"
        rows.append([f"{clip}.png", clip, split, label, family, "-", "", "web", 20, 20, 70, 80, *points])
    names = ["file", "clip_id", "split", "label", "family", "generator", "identity", "source", "x0", "y0", "x1", "y1"]
    pd.DataFrame(rows, columns=[*names, *(f"lm{i}_{a}" for i in range(5) for a in "xy")]).to_csv(folder / "more.csv")


def test_a_pack_written_smaller_looks_alike_and_is_another(pack: Pack, pictures: Pictures) -> None:
    small = shrunk(pack, 90)
    assert sum(map(len, small.encoded)) < 0.6 * sum(map(len, pack.encoded)) and small.digest != pack.digest
    again = Pictures(small, [3])
    assert np.abs(again[3].astype(int) - pictures[3]).mean() < 6  # grainy drawings are the worst case


def test_training_from_a_pack_needs_no_library_that_a_lent_machine_lacks() -> None:
    banned = ["pydantic", "av", "albumentations", "accelerate", "facenet_pytorch"]
    code = (
        "import sys\nimport deepfake.packs.command, deepfake.commands.train, deepfake.commands.guard\n"
        f"print([name for name in {banned!r} if name in sys.modules])"
    )
    source = Path(__file__).parents[2] / "src"
    command = [sys.executable, "-c", code]
    run = subprocess.run(command, capture_output=True, text=True, env={"PYTHONPATH": str(source)})
    assert run.stdout.strip() == "[]", run.stderr


def command(pack: Pack, folder: Path, minutes: float, *settings: str) -> list[str]:
    """A training of a tiny network from the pack, as a person starts it."""
    write_pack(folder, "faces", pack)
    tiny = ["backbone=test_efficientnet", "start=random", "input_px=32", "pairs_per_batch=2", *settings]
    return [
        sys.executable,
        *arguments_of("deepfake.train"),
        "--pack",
        str(part_path(folder, "faces", 0)),
        "--minutes",
        str(minutes),
        "--out",
        str(folder / "out"),
        "--device",
        "cpu",
        *(part for text in tiny for part in ("--set", text)),
    ]


@pytest.mark.slow
def test_twelve_seconds_on_a_processor_leave_snapshots_and_a_log(pack: Pack, tmp_path: Path) -> None:
    # Two threads on processors that are busy wait for each other most of the time.
    environment = {**ENVIRONMENT, "OMP_NUM_THREADS": "1"}
    run = subprocess.run(command(pack, tmp_path, 0.2), capture_output=True, text=True, env=environment)
    assert run.returncode == 0, run.stderr
    result = json.loads((tmp_path / "out" / "results.jsonl").read_text())
    assert 8 < result["elapsed_s"] < 20 and result["progress"] == 1.0
    last = tmp_path / "out" / f"pack-{result['pairs']:07d}.safetensors"
    assert read_snapshot(last)[1]["progress"] == 1.0 and "| pack |" in run.stdout
    assert 1 <= len(list((tmp_path / "out").glob("*.safetensors"))) <= 6  # a machine that is busy makes fewer


@pytest.mark.slow
def test_a_training_that_was_killed_goes_on_by_the_same_command(pack: Pack, tmp_path: Path) -> None:
    parts, shorter = (command(pack, tmp_path, minutes, "validations=300", "snapshots=1") for minutes in (10, 0.1))
    first = subprocess.Popen(parts, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=ENVIRONMENT)
    state = tmp_path / "out" / "pack-state.pt"
    waited = time.monotonic()
    while not state.is_file() and first.poll() is None and time.monotonic() - waited < 300:
        time.sleep(0.2)
    first.kill()
    first.wait()
    assert state.is_file()
    run = subprocess.run(shorter, capture_output=True, text=True, env=ENVIRONMENT)
    assert run.returncode == 0 and "going on from pair" in run.stderr, run.stderr
    assert not state.exists() and len((tmp_path / "out" / "results.jsonl").read_text().splitlines()) == 1


def test_a_face_without_its_own_outlines_has_the_canonical_ones() -> None:
    one = face(0)
    own = Face(one.picture, one.landmarks, {"face": np.zeros((3, 2))})
    assert len(one.outline("face")) > 8 and own.outline("face").shape == (3, 2)


@pytest.mark.parametrize("path", sorted((Path(__file__).parents[2] / "configs" / "plans").glob("*.yaml")), ids=str)
def test_every_plan_in_configs_can_be_read(path: Path) -> None:
    trials = read_plan(path).trials
    assert trials and all(settings.pairs for settings in trials.values())


def test_a_network_learns_what_tells_fakes_from_their_reals(
    pack: Pack, pictures: Pictures, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def coarse(one: Face, material: Material, rng: np.random.Generator) -> Forged:
        board = (np.indices(one.picture.shape[:2]).sum(0) // 4 % 2 * 60 - 30)[..., None]
        picture = np.clip(one.picture.astype(int) + board, 0, 255).astype(np.uint8)
        return Forged(picture, np.ones(picture.shape[:2], np.float32), "coarse")

    monkeypatch.setitem(FAMILIES._entries, "coarse", coarse)
    losses: list[float] = []
    step = training.Learner.step

    def noted(self: training.Learner, *args: object) -> torch.Tensor:
        found = step(self, *args)  # type: ignore[arg-type]
        losses.append(float(found[0]))
        return found

    monkeypatch.setattr(training.Learner, "step", noted)
    settings = replace(
        TINY, families={"coarse": 1.0}, damage=0.0, pairs=320, pairs_per_batch=8, validations=1, learning_rate=5e-3
    )
    training.train(pack, pictures, settings, 600, Place(tmp_path, "a", "cpu"))
    assert np.mean(losses[:5]) > 0.6 and np.mean(losses[-5:]) < 0.35


def test_a_training_whose_time_is_over_before_it_began_keeps_its_network_and_says_so(
    pack: Pack, pictures: Pictures, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = replace(TINY, pairs=0)
    result = training.train(pack, pictures, settings, 0.01, Place(tmp_path, "short", "cpu"))
    assert read_snapshot(tmp_path / f"short-{result['pairs']:07d}.safetensors")[1]["progress"] == 1.0
    assert f"learnt from {result['pairs']} pairs only" in caplog.text and "Give more --minutes" in caplog.text
