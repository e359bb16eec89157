"""Detectors in one file: written, read back, refused in words."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load, save_file

from deepfake import settings_file, tables
from deepfake.commands import unpack
from deepfake.detector.file import Part, half_precision_error, load_detector, save_detector, unpack_frames
from deepfake.errors import UserError
from deepfake.files import PROJECT_ROOT, sha256_of
from deepfake.models.build import new_head
from deepfake.models.checkpoints import load_frames, load_model
from deepfake.models.detector_file import read_header
from deepfake.models.heads.sequences import SequenceClassifier
from deepfake.packs.snapshots import read_snapshot
from deepfake.settings import Sequences
from learning_data import invented, one_thread  # noqa: F401 - a fixture
from little_detector import frames, saved, sequences, settings, stack, two_members

pytestmark = pytest.mark.usefixtures("one_thread")
CROPS = torch.randint(0, 256, (4, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def test_two_frame_members_without_sequences_come_back_under_their_names(tmp_path: Path) -> None:
    path, parts = two_members(tmp_path)
    detector = load_detector(path)
    assert [member.name for member in detector.members] == ["wide", "near-250"]
    assert all(not member.heads for member in detector.members)
    assert detector.members[0].frames.view_ratio == 0.7
    assert (detector.name, detector.stack) == ("two", stack("wide", "near-250"))
    assert detector.extract == settings(tmp_path).extract
    for part, member in zip(parts, detector.members, strict=True):
        whole = load_model(part.frames)
        assert torch.allclose(member.frames(CROPS), whole(CROPS), atol=0.02)


def test_frames_with_their_sequences_come_back(tmp_path: Path) -> None:
    parts = []
    for number in range(2):
        folder = frames(tmp_path / f"frames{number}", number)
        parts.append(Part("frames", folder, {"sequences": sequences(tmp_path / f"sequences{number}", folder)}))
    path = tmp_path / "d.safetensors"
    save_detector(path, "d", parts, stack("frames", "sequences"), settings(tmp_path))
    detector = load_detector(path)
    assert [member.name for member in detector.members] == ["frames", "frames"]
    assert all(isinstance(member.heads["sequences"], SequenceClassifier) for member in detector.members)
    assert read_header(path)["members"] == ["frames", "frames"]


@pytest.mark.parametrize("members", [("wide",), ("wide", "far"), ("wide", "near-250", "sequences")])
def test_a_stack_that_weighs_other_members_is_refused(tmp_path: Path, members: tuple[str, ...]) -> None:
    path, parts = two_members(tmp_path)
    save_detector(path, "two", parts, stack(*members), settings(tmp_path))
    with pytest.raises(UserError, match=f"the stack weighs {', '.join(members)}, the networks are near-250, wide"):
        load_detector(path)


def rewrite(path: Path, **changes: object) -> None:
    """Lay values over a detector's header; None takes one away."""
    with safe_open(path, "pt") as stored:
        header = json.loads(stored.metadata()["detector"])
    header = {name: value for name, value in {**header, **changes}.items() if value is not None}
    tensors = load(path.read_bytes())  # a copy: the file itself is about to change
    save_file(tensors, path, {"detector": json.dumps(header)})


@pytest.mark.parametrize("other", [2, 4])
def test_a_file_of_another_format_is_refused(tmp_path: Path, other: int) -> None:
    path, _ = two_members(tmp_path)
    rewrite(path, format=other)
    with pytest.raises(UserError, match=f"format {other}, this version reads 3; make it again"):
        load_detector(path)


def test_a_file_whose_one_sided_members_bear_their_older_name_is_read(tmp_path: Path) -> None:
    path, _ = two_members(tmp_path)
    ensemble = read_header(path)["ensemble"]
    assert ensemble.pop("one_sided_members") == []
    rewrite(path, ensemble={**ensemble, "accusers": ["wide"]})
    assert load_detector(path).ensemble.one_sided_members == ("wide",)


def test_the_shipped_detector_has_its_stride() -> None:
    ensemble = load_detector(PROJECT_ROOT / "data/weights/selfblend.safetensors").ensemble
    assert (ensemble.stride_of("soup5"), ensemble.stride_of("clip")) == (1, 8)
    assert ensemble.one_sided_members == ()


def test_a_member_without_a_frame_network_is_refused(tmp_path: Path) -> None:
    path, _ = two_members(tmp_path)
    rewrite(path, members=["wide", "near-250", "wide"])
    with pytest.raises(UserError, match="member 2 has no frame network"):
        load_detector(path)


@pytest.mark.parametrize("path", sorted((PROJECT_ROOT / "data/weights").glob("*.safetensors")), ids=lambda p: p.name)
def test_every_shipped_detector_can_be_read_and_has_a_card(path: Path) -> None:
    assert np.isfinite(load_detector(path).stack.weights).all()
    assert path.with_suffix(".md").is_file()


@pytest.mark.parametrize(("named", "wanted"), [([], {"wide", "near-250"}), (["--member", "wide"], {"wide"})])
def test_all_members_are_unpacked_or_the_one_that_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: list[str], wanted: set[str]
) -> None:
    path, _ = two_members(tmp_path / "made")
    monkeypatch.setattr(settings_file, "load_config", lambda _, run: settings(tmp_path).model_copy(update={"run": run}))
    args = unpack.arguments().parse_args(["--config", "any.yaml", "--weights", str(path), *named])
    unpack.run(args)
    runs = settings(tmp_path).run_dir.parent
    assert {folder.name for folder in runs.iterdir() if (folder / "frames/all").is_dir()} == wanted
    members = {member.name: member.frames for member in load_detector(path).members}
    for name in wanted:
        unpacked = load_frames(runs / name / "frames/all").state_dict()
        assert all(torch.equal(value, members[name].state_dict()[key]) for key, value in unpacked.items())


def test_a_member_becomes_a_snapshot_that_a_training_from_a_pack_goes_on_from(tmp_path: Path) -> None:
    path, _ = two_members(tmp_path / "made")
    to = tmp_path / "wide.safetensors"
    ask = ["--config", "any.yaml", "--weights", str(path), "--snapshot", str(to)]
    with pytest.raises(UserError, match=r"near-250, wide: say which with --member"):
        unpack.run(unpack.arguments().parse_args(ask))
    assert not to.exists()
    unpack.run(unpack.arguments().parse_args([*ask, "--member", "wide"]))
    network, about = read_snapshot(to)
    assert about == {"name": "wide", "of": sha256_of(path)}
    member = next(member.frames for member in load_detector(path).members if member.name == "wide")
    for name, value in network.state_dict().items():
        torch.testing.assert_close(value, member.state_dict()[name], rtol=1e-3, atol=1e-3)


def test_half_precision_moves_logits_little_but_not_by_nothing(tmp_path: Path) -> None:
    path, parts = two_members(tmp_path)
    made_settings = settings(tmp_path)
    made = invented(made_settings.work_dir, n_originals=2, n_tests=0)
    tables.write(tables.FACES, made.faces, made_settings.work_dir / "faces.parquet")
    moved = half_precision_error(parts, path, made_settings.work_dir, made_settings.predict)
    assert 0 < moved < 0.02
    with pytest.raises(UserError, match=r"faces\.parquet does not exist"):
        half_precision_error(parts, path, tmp_path, made_settings.predict)


def test_several_heads_beside_one_frame_network_come_back_and_each_is_a_name_of_the_stack(tmp_path: Path) -> None:
    folder = frames(tmp_path / "frames", 0)
    n_features = load_model(folder, "frames").n_features
    heads = {}
    for name in ("motion", "two_stream", "slowfast"):
        torch.manual_seed(len(name))
        heads[name] = saved(tmp_path / name, name, new_head(name, n_features, Sequences(hidden=4)))
    path = tmp_path / "d.safetensors"
    save_detector(path, "d", [Part("frames", folder, heads)], stack("frames", *heads), settings(tmp_path))
    (member,) = load_detector(path).members
    assert set(member.heads) == {"motion", "two_stream", "slowfast"}
    for name, head in member.heads.items():
        whole = load_model(heads[name], name).state_dict()
        assert all(torch.allclose(value.float(), whole[k].float(), atol=0.01) for k, value in head.state_dict().items())


def test_a_detectors_frame_network_becomes_a_network_of_a_run(tmp_path: Path) -> None:
    path, parts = two_members(tmp_path)
    unpack_frames(path, tmp_path / "run/frames/all")
    taken = load_model(tmp_path / "run/frames/all", "frames")
    assert torch.allclose(taken(CROPS), load_model(parts[0].frames)(CROPS), atol=0.02)
    stamp = (tmp_path / "run/frames/all/model.json").stat().st_mtime_ns
    unpack_frames(path, tmp_path / "run/frames/all")
    assert (tmp_path / "run/frames/all/model.json").stat().st_mtime_ns == stamp
    with pytest.raises(UserError, match="do not exist"):
        unpack_frames(tmp_path / "absent.safetensors", tmp_path / "run/frames/all")


def test_a_member_is_taken_by_its_name_and_makes_no_room_for_itself_unasked(tmp_path: Path) -> None:
    path, parts = two_members(tmp_path)
    folder = tmp_path / "run/frames/all"
    for name, part in zip(("wide", "near-250"), parts, strict=True):
        unpack_frames(path, folder, name)
        assert torch.allclose(load_model(folder, "frames")(CROPS), load_model(part.frames)(CROPS), atol=0.02)
        unpack_frames(path, folder, name, replace=False)  # its own network is none in the way
    with pytest.raises(UserError, match=r"another network lies there.*--force"):
        unpack_frames(path, folder, "wide", replace=False)
    assert torch.allclose(load_model(folder, "frames")(CROPS), load_model(parts[1].frames)(CROPS), atol=0.02)
    with pytest.raises(UserError, match="no member 'far'; it has near-250, wide"):
        unpack_frames(path, folder, "far")
