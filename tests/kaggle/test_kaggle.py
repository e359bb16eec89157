"""The bundle for Kaggle, finding and installing it over there, and scoring within a budget by a simulated clock."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
import torch
from safetensors.torch import save_file

from deepfake.detector.score_videos import Scored
from deepfake.errors import UserError
from deepfake.files import PROJECT_ROOT
from deepfake.kaggle import build as kaggle_build
from deepfake.kaggle import run, setup
from deepfake.kaggle.run import Job, Record
from deepfake.kaggle.setup import Places
from deepfake.models.engine import Engine
from deepfake.settings import Extract, Kaggle
from deepfake.settings_file import load_config

SETTINGS = PROJECT_ROOT / "configs/kaggle.yaml"


# --- The bundle --------------------------------------------------------------------------------------


def wheel_name(name: str, version: str, tag: str = "py3-none-any") -> str:
    return f"{name.replace('-', '_')}-{version}-{tag}.whl"


def invent_wheel(name: str, version: str, python: str, folder: Path) -> None:
    """What pip would have fetched: a package with one empty module."""
    folder.mkdir(parents=True, exist_ok=True)
    module, info = name.replace("-", "_"), f"{name.replace('-', '_')}-{version}.dist-info"
    with zipfile.ZipFile(folder / wheel_name(name, version), "w") as archive:
        archive.writestr(f"invented_{module}/__init__.py", "")
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.safetensors"
    header = {"format": 3, "name": "tiny", "members": [], "networks": {}}
    save_file({"x": torch.zeros(2)}, path, {"detector": json.dumps(header)})
    return path


def build(weights: Path, out: Path, which: str = "missing") -> list[kaggle_build.BundleFile]:
    return kaggle_build.build_bundle(SETTINGS, weights, out, which, weights.parent / "cache", invent_wheel)


def test_the_bundle_holds_wheels_package_weights_and_settings(weights: Path, tmp_path: Path) -> None:
    files = build(weights, tmp_path / "bundle")
    paths = {file.path for file in files}
    assert {"src/deepfake/kaggle/run.py", "src/deepfake/report/strips.html.jinja"} <= paths
    assert {"weights/tiny.safetensors", "configs/kaggle.yaml", "LICENSE"} <= paths
    settings = load_config(SETTINGS).kaggle
    assert sum(path.endswith(".whl") for path in paths) == len(settings.wheels) + len(settings.optional_wheels)
    installed = [(tmp_path / "bundle" / name).read_text().split() for name in (setup.REQUIREMENTS, setup.OPTIONAL)]
    assert [[line.partition("==")[0] for line in lines] for lines in installed] == [
        ["av", "facenet-pytorch", "timm"],
        ["onnxruntime"],
    ]
    assert not any("__pycache__" in path for path in paths)
    assert load_config(tmp_path / "bundle/configs/kaggle.yaml").kaggle == settings


def test_the_manifest_lists_every_file_with_its_size(weights: Path, tmp_path: Path) -> None:
    build(weights, tmp_path / "bundle")
    manifest = setup.check_bundle(tmp_path / "bundle")
    listed = {file["path"]: file["bytes"] for file in manifest["files"]}
    on_disk = {
        p.relative_to(tmp_path / "bundle").as_posix(): p.stat().st_size
        for p in (tmp_path / "bundle").rglob("*")
        if p.is_file() and p.name != "MANIFEST.json"
    }
    assert listed == on_disk and manifest["detector"] == "tiny"


def test_equal_inputs_give_equal_manifests_and_no_wheel_is_fetched_twice(weights: Path, tmp_path: Path) -> None:
    build(weights, tmp_path / "one")

    def refuse(name: str, version: str, python: str, folder: Path) -> None:
        raise AssertionError(f"{name} is there already")

    kaggle_build.build_bundle(SETTINGS, weights, tmp_path / "two", "missing", tmp_path / "cache", refuse)
    assert (tmp_path / "one/MANIFEST.json").read_bytes() == (tmp_path / "two/MANIFEST.json").read_bytes()


def test_a_new_bundle_replaces_the_old_and_leaves_nothing_beside_it(weights: Path, tmp_path: Path) -> None:
    build(weights, tmp_path / "out/bundle")
    build(weights, tmp_path / "out/bundle", "none")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["bundle"]
    assert [path.name for path in (tmp_path / "out/bundle/wheels").iterdir()] == ["requirements.txt"]


def test_a_folder_that_is_no_bundle_is_not_replaced(weights: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").touch()
    with pytest.raises(UserError, match="is no bundle and would be replaced"):
        build(weights, mine)
    assert (mine / "thesis.txt").exists()


def test_a_bundle_too_large_is_refused_and_the_old_one_stays(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build(weights, tmp_path / "bundle")
    before = (tmp_path / "bundle/MANIFEST.json").read_bytes()
    small = tmp_path / "small.yaml"
    small.write_text(SETTINGS.read_text() + "  max_bundle_mb: 1\n")
    monkeypatch.setattr(kaggle_build, "_own_files", lambda path: [(large, "src/large.py")])
    large = tmp_path / "large.py"
    large.write_bytes(b"x" * 1_100_000)
    with pytest.raises(UserError, match=r"larger than 1 MB .* the largest: src/large.py 1 MB"):
        kaggle_build.build_bundle(small, weights, tmp_path / "bundle", "none", tmp_path / "cache", invent_wheel)
    assert (tmp_path / "bundle/MANIFEST.json").read_bytes() == before


def test_a_wheel_the_notebook_can_do_without_is_left_out_with_a_warning_where_it_cannot_be_fetched(
    weights: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def offline(name: str, version: str, python: str, folder: Path) -> None:
        if name == "onnxruntime":
            raise UserError(f"wheel {name}=={version} for Python {python} could not be fetched")
        invent_wheel(name, version, python, folder)

    arguments = (SETTINGS, weights, tmp_path / "bundle", "missing", tmp_path / "cache", offline)
    files = kaggle_build.build_bundle(*arguments)
    assert sum(file.path.endswith(".whl") for file in files) == 3
    assert not (tmp_path / "bundle" / setup.OPTIONAL).exists()
    warned = [record.getMessage() for record in caplog.records]
    assert [text.partition(",")[0] for text in warned] == [
        f"onnxruntime is left out for Python {python}" for python in ("3.11", "3.12", "3.13")
    ]
    with pytest.raises(UserError, match="av is not there"):

        def refuse(name: str, version: str, python: str, folder: Path) -> None:
            raise UserError(f"{name} is not there")

        kaggle_build.build_bundle(*arguments[:4], tmp_path / "empty", refuse)


def test_a_wheel_for_some_pythons_alone_is_still_brought(weights: Path, tmp_path: Path) -> None:
    def only_311(name: str, version: str, python: str, folder: Path) -> None:
        if name == "onnxruntime" and python != "3.11":
            raise UserError("none")
        invent_wheel(name, version, python, folder)
        if name == "onnxruntime":
            tag = "cp311-cp311-manylinux_2_28_x86_64"
            (folder / wheel_name(name, version)).rename(folder / wheel_name(name, version, tag))

    files = kaggle_build.build_bundle(SETTINGS, weights, tmp_path / "bundle", "missing", tmp_path / "cache", only_311)
    assert [file.path.rpartition("-cp311-")[2] for file in files if "onnxruntime" in file.path] == [
        "manylinux_2_28_x86_64.whl"
    ]
    assert (tmp_path / "bundle" / setup.OPTIONAL).read_text().startswith("onnxruntime==")


def test_the_sizes_add_up() -> None:
    sizes = {
        "wheels/b-1-cp311.whl": 2_000_000,
        "wheels/b-1-cp312.whl": 1_000_000,
        "wheels/c-1.whl": 300_000,
        "src/a.py": 500_000,
        "LICENSE": 100_000,
    }
    files = [kaggle_build.BundleFile(path, n_bytes, "") for path, n_bytes in sizes.items()]
    lines = [line.split() for line in kaggle_build.size_table(files).splitlines()]
    assert lines[1:5] == [["wheels", "3", "3.3"], ["b", "2", "3.0"], ["c", "1", "0.3"], ["src", "1", "0.5"]]
    assert lines[-1] == ["all", "5", "3.9"]


def test_versions_are_those_of_the_requirements() -> None:
    assert kaggle_build.pins("# no\nPyYAML==6.0.3\nav==18.1.0; python_version > '3'\nx>=1\n") == {
        "pyyaml": "6.0.3",
        "av": "18.1.0",
    }
    pinned = kaggle_build.pins((PROJECT_ROOT / "requirements.txt").read_text())
    chosen = kaggle_build.chosen_wheels(Kaggle(wheels=("av", "timm")), "missing", "av==1.0\ntimm==2.0\n")
    assert chosen == {"av": "1.0", "timm": "2.0"}
    assert set(load_config(SETTINGS).kaggle.wheels) <= set(pinned)


def test_a_wheel_that_nothing_pins_is_refused() -> None:
    for settings in (Kaggle(wheels=("other",)), Kaggle(optional_wheels=("other",))):
        with pytest.raises(UserError, match=r"requirements\.txt pins no 'other'"):
            kaggle_build.chosen_wheels(settings, "missing", "av==1.0\n")
    with pytest.raises(UserError, match="wanted none, missing or all"):
        kaggle_build.chosen_wheels(Kaggle(), "some", "")


def test_all_wheels_are_those_installed_here_without_torch() -> None:
    chosen = kaggle_build.chosen_wheels(Kaggle(wheels=("facenet-pytorch",), image_has=("pandas",)), "all", "")
    assert {"facenet-pytorch", "pandas", "numpy", "requests", "python-dateutil"} <= set(chosen)
    assert not {"torch", "torchvision"} & set(chosen)
    assert not any(name.startswith("nvidia") for name in chosen)


@pytest.mark.parametrize(
    ("tag", "python", "glibc", "fits"),
    [
        ("py3-none-any", "3.13", "2.35", True),
        ("cp311-abi3-manylinux_2_28_x86_64", "3.11", "2.35", True),
        ("cp311-abi3-manylinux_2_28_x86_64", "3.13", "2.35", True),
        ("cp311-cp311-manylinux_2_28_x86_64", "3.12", "2.35", False),
        ("cp312-cp312-manylinux_2_28_x86_64", "3.12", "2.35", True),
        ("cp312-cp312-manylinux_2_28_x86_64", "3.12", "2.27", False),
        ("cp312-cp312-manylinux2014_x86_64", "3.12", "2.27", True),
        ("cp312-cp312-manylinux_2_28_aarch64", "3.12", "2.35", False),
    ],
)
def test_a_wheel_must_fit_python_processor_and_glibc(
    tmp_path: Path, tag: str, python: str, glibc: str, fits: bool
) -> None:
    (tmp_path / wheel_name("some-thing", "1.0", tag)).touch()
    assert (kaggle_build.find_wheel(tmp_path, "some-thing", "1.0", python, glibc) is not None) == fits
    assert kaggle_build.find_wheel(tmp_path, "some-thing", "1.1", python, glibc) is None


# --- Over there --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (
            lambda bundle: (bundle / "src/deepfake/kaggle/budget.py").unlink(),
            "'src/deepfake/kaggle/budget.py' is missing",
        ),
        (lambda bundle: (bundle / "weights/tiny.safetensors").write_bytes(b"x"), "has 1 bytes that are not the"),
        (lambda bundle: (bundle / "MANIFEST.json").write_text("{"), "MANIFEST.json cannot be read"),
        (lambda bundle: (bundle / "MANIFEST.json").write_text("{}"), "format None, wanted 1"),
    ],
)
def test_a_damaged_bundle_is_refused_in_words(weights: Path, tmp_path: Path, spoil: object, words: str) -> None:
    build(weights, tmp_path / "bundle", "none")
    spoil(tmp_path / "bundle")  # type: ignore[operator]
    with pytest.raises(UserError, match=words):
        setup.check_bundle(tmp_path / "bundle")


def test_wheels_that_cannot_be_installed_are_reported_with_this_python(tmp_path: Path) -> None:
    (tmp_path / "wheels").mkdir()
    (tmp_path / "wheels/requirements.txt").write_text("no-such-package-of-ours==1.0\n")
    with pytest.raises(UserError, match=r"cannot be installed into this Python 3\.\d+: .*kaggle.python_versions"):
        setup.install(tmp_path)


def test_an_optional_wheel_that_does_not_fit_is_done_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    asked = []

    def pip(bundle: Path, wanted: list[str]) -> str:
        asked.append(tuple(wanted))
        return "no matching distribution" if wanted == ["x==1"] else ""

    monkeypatch.setattr(setup, "_refused_by_pip", pip)
    (tmp_path / "wheels").mkdir()
    (tmp_path / setup.REQUIREMENTS).write_text("av==1\ntimm==2\n")
    (tmp_path / setup.OPTIONAL).write_text("x==1\ny==1\n")
    assert setup.install(tmp_path) == ["av==1", "timm==2", "y==1"]
    assert asked == [("av==1", "timm==2"), ("x==1",), ("y==1",)]
    (record,) = caplog.records
    assert record.getMessage().startswith("going on without x==1, which cannot be installed here: no matching")


def test_without_wheels_nothing_is_installed(tmp_path: Path) -> None:
    (tmp_path / "wheels").mkdir()
    (tmp_path / "wheels/requirements.txt").touch()
    assert setup.install(tmp_path) == []


def attach(folder: Path, names: Mapping[str, float] | None = None) -> Path:
    (folder / "test_videos").mkdir(parents=True)
    names = names or {"a.mp4": 0.5}
    pd.DataFrame({"filename": list(names), "label": 0.5}).to_csv(folder / "sample_submission.csv", index=False)
    return folder


@pytest.mark.parametrize("below", ["deepfake-detection-challenge", "competitions/deepfake-detection-challenge"])
def test_the_competition_is_found_by_what_it_holds(tmp_path: Path, below: str) -> None:
    competition = attach(tmp_path / "input" / below)
    (tmp_path / "input/bundle/src").mkdir(parents=True)
    (tmp_path / "working").mkdir()
    places = setup.find_places(tmp_path / "input/bundle", {}, tmp_path)
    assert places == Places(tmp_path / "input/bundle", competition, tmp_path / "tmp/deepfake", tmp_path / "working")


def test_folders_may_be_named(tmp_path: Path) -> None:
    attach(tmp_path / "elsewhere")
    environment = {f"DEEPFAKE_{name.upper()}": str(tmp_path / name) for name in ("work", "out")}
    environment["DEEPFAKE_COMPETITION"] = str(tmp_path / "elsewhere")
    places = setup.find_places(tmp_path, environment, tmp_path / "none")
    assert (places.competition, places.work, places.out) == tuple(tmp_path / n for n in ("elsewhere", "work", "out"))


def test_none_or_several_competitions_are_refused_with_what_is_attached(tmp_path: Path) -> None:
    (tmp_path / "input/my-photos").mkdir(parents=True)
    with pytest.raises(UserError, match=r"0 folders .*my-photos attached.*DEEPFAKE_COMPETITION"):
        setup.find_places(tmp_path, {}, tmp_path)
    attach(tmp_path / "input/one")
    attach(tmp_path / "input/two")
    with pytest.raises(UserError, match=r"2 folders .*one, two"):
        setup.find_places(tmp_path, {}, tmp_path)
    with pytest.raises(UserError, match=r"it has no sample_submission\.csv"):
        (tmp_path / "input/one/sample_submission.csv").unlink()
        setup.find_places(tmp_path, {"DEEPFAKE_COMPETITION": str(tmp_path / "input/one")}, tmp_path)


@dataclass
class Header:
    """As much of a scorer as listing the videos needs."""

    detector: SimpleNamespace
    config: SimpleNamespace
    weights_sha256: str = "w"


def header() -> Any:
    stack, extract = SimpleNamespace(prior=0.45), Extract(frames_per_video=32)
    detector = SimpleNamespace(stack=stack, extract=extract, ensemble=SimpleNamespace(clip_p=0.01))
    return Header(detector, SimpleNamespace(kaggle=Kaggle(min_frames=8)))


def places(folder: Path) -> Places:
    return Places(folder / "bundle", folder / "competition", folder / "work", folder / "out")


def test_the_videos_are_those_the_sample_names_whatever_their_state(tmp_path: Path) -> None:
    videos = attach(tmp_path / "competition", {"a.mp4": 0, "gone.mp4": 0, "absent.mp4": 0}) / "test_videos"
    for name in ("a.mp4", "not wanted.mp4", "notes.txt"):
        (videos / name).write_bytes(b"x")
    (videos / "gone.mp4").symlink_to(tmp_path / "nowhere")
    task = run.prepare(places(tmp_path), header())
    assert list(task.paths) == ["a.mp4", "gone.mp4"] and task.names == ["a.mp4", "gone.mp4", "absent.mp4"]
    assert task.levels == (32, 16, 8)
    before = dict(task.keys)
    (videos / "a.mp4").write_bytes(b"another")
    after = run.prepare(places(tmp_path), header()).keys
    assert after["gone.mp4"] == before["gone.mp4"] and after["a.mp4"] != before["a.mp4"]


def test_a_folder_without_videos_gives_the_prior_everywhere(tmp_path: Path) -> None:
    attach(tmp_path / "competition", {"a.mp4": 0, "b.mp4": 0})
    task = run.prepare(places(tmp_path), header())
    assert work(task, Machine()) == {}
    assert (submitted(task) == 0.45).all()


# --- Scoring in time ---------------------------------------------------------------------------------


@dataclass
class Machine:
    """A simulated clock and a scorer that takes `seconds` of it for a video at 32 frames; notes what it was asked."""

    seconds: float = 1.0
    now_s: float = 0.0
    asked: list[tuple[str, int]] = field(default_factory=list)
    fallbacks: dict[str, str] = field(default_factory=dict)
    errors: set[str] = field(default_factory=set)
    stop_at: int | None = None

    def clock(self) -> float:
        return self.now_s

    def __call__(self, paths: dict[str, Path], n_frames: int, deadline_s: float) -> Generator[Scored, None, None]:
        for video_id in paths:
            if video_id in self.errors:
                raise RuntimeError(f"cannot score {video_id}")
            if self.stop_at is not None and len(self.asked) == self.stop_at:
                raise KeyboardInterrupt
            self.asked.append((video_id, n_frames))
            self.now_s += self.seconds * (16 + n_frames) / 48
            fallback = self.fallbacks.get(video_id)
            p_fake = 0.5 if fallback else 0.2 + int(video_id[1:4]) / 1000
            engine = None if fallback else Engine(name="PyTorch", version="2", device="CPU", precision="fp32")
            n_tracks = 0 if fallback else 1
            yield Scored(video_id, p_fake, n_frames * n_tracks, n_tracks, fallback, engine=engine)


SMALL = {"budget_hours": 1, "reserve_s": 600, "batch_s": 60, "first_videos": 4, "write_every_s": 1e6}


def job(folder: Path, n_videos: int, **settings: float) -> Job:
    ids = [f"v{i:03d}.mp4" for i in range(n_videos)]
    return Job(
        names=[*reversed(ids), "absent.mp4"],
        paths={v: folder / v for v in ids},
        keys={v: f"key of {v}" for v in ids},
        prior=0.45,
        clip_p=0.01,
        levels=(32, 16, 8, 4),
        settings=Kaggle(**{**SMALL, **settings}),
        places=places(folder),
    )


def submitted(job: Job) -> pd.Series:
    made = pd.read_csv(job.places.out / "submission.csv")
    assert made["filename"].tolist() == job.names
    return made.set_index("filename")["label"]


def work(job: Job, machine: Machine) -> dict[str, Record]:
    return run.run(job, machine, machine.now_s, machine.clock, lambda text: None)


def test_every_row_has_the_prior_before_anything_is_scored(tmp_path: Path) -> None:
    task = job(tmp_path, 5)
    run.publish(task, {})
    assert (submitted(task) == 0.45).all()
    details = pd.read_csv(tmp_path / "out/details.csv").set_index("filename")
    assert (details.loc[list(task.paths), "fallback"] == "not scored yet").all()
    assert details.loc["absent.mp4", "fallback"].startswith("no such video")


def test_all_videos_are_scored_at_all_frames_where_there_is_time(tmp_path: Path) -> None:
    task, machine = job(tmp_path, 50), Machine()
    records = work(task, machine)
    assert machine.asked == [(v, 32) for v in task.paths]
    labels = submitted(task)
    assert labels["v007.mp4"] == 0.207 and labels["absent.mp4"] == 0.45
    assert {r.n_frames for r in records.values()} == {32}


def test_a_slow_machine_scores_fewer_frames_and_ends_in_time(tmp_path: Path) -> None:
    task, machine = job(tmp_path, 200), Machine(seconds=20)  # 3,000 s: 15 a video
    records = work(task, machine)
    assert len(records) == 200 and machine.now_s <= 3020  # at most the video that was begun
    assert {n for _, n in machine.asked} <= {32, 16, 8, 4} and 16 in {n for _, n in machine.asked}


def test_time_that_is_left_goes_to_videos_seen_in_too_few_frames(tmp_path: Path) -> None:
    task, machine = job(tmp_path, 60), Machine(seconds=60)  # 3,000 s: 50 a video
    machine.stop_at = 30
    with pytest.raises(KeyboardInterrupt):
        work(task, machine)
    assert 16 in {n for _, n in machine.asked}
    machine.seconds, machine.stop_at = 1, None
    records = work(task, machine)
    assert {r.n_frames for r in records.values()} == {32}


def test_what_there_is_no_time_for_keeps_the_prior(tmp_path: Path) -> None:
    task, machine = job(tmp_path, 900), Machine(seconds=100)
    records = work(task, machine)
    assert 3000 <= machine.now_s <= 3100  # at most the video that was begun
    labels = submitted(task)
    assert (labels == 0.45).sum() == 900 - len(records) + 1
    assert labels["v000.mp4"] == 0.2


def test_a_budget_that_is_over_scores_nothing(tmp_path: Path) -> None:
    task, machine = job(tmp_path, 3, reserve_s=4000), Machine()
    assert work(task, machine) == {}
    assert (submitted(task) == 0.45).all()


@pytest.mark.parametrize("n_videos", [0, 1])
def test_no_video_and_one_video_are_fine(tmp_path: Path, n_videos: int) -> None:
    task, machine = job(tmp_path, n_videos), Machine()
    assert len(work(task, machine)) == n_videos
    assert len(submitted(task)) == n_videos + 1


def test_a_killed_run_goes_on_and_gives_the_same_submission(tmp_path: Path) -> None:
    undisturbed = job(tmp_path / "a", 40)
    work(undisturbed, Machine())
    task, machine = job(tmp_path / "b", 40, write_every_s=0), Machine(stop_at=25)
    with pytest.raises(KeyboardInterrupt):
        work(task, machine)
    machine.stop_at = None
    work(task, machine)
    assert machine.asked == [(v, 32) for v in task.paths]  # none twice
    for name in ("submission.csv", "details.csv"):
        assert (tmp_path / "a/out" / name).read_bytes() == (tmp_path / "b/out" / name).read_bytes()


def test_the_submission_follows_the_scores(tmp_path: Path) -> None:
    task, machine = job(tmp_path, 40, write_every_s=10), Machine(stop_at=25)
    with pytest.raises(KeyboardInterrupt):
        work(task, machine)
    assert (submitted(task) != 0.45).sum() in range(15, 26)


def test_records_of_another_file_or_detector_are_not_taken_over(tmp_path: Path) -> None:
    task = job(tmp_path, 3)
    work(task, Machine())
    changed = replace(task, keys={**task.keys, "v001.mp4": "new"})
    assert sorted(run.load_records(changed)) == ["v000.mp4", "v002.mp4"]


@pytest.mark.parametrize("text", ["", "[]", '{"v000.mp4": {"key": 1}}', '{"v000.mp4": 3}'])
def test_damaged_progress_is_left_aside(tmp_path: Path, text: str) -> None:
    task = job(tmp_path, 2)
    (tmp_path / "work").mkdir()
    task.progress_path.write_text(text)
    assert run.load_records(task) == {}
    assert len(work(task, Machine())) == 2


def test_broken_videos_keep_the_prior_with_their_reason(tmp_path: Path) -> None:
    task = job(tmp_path, 6)
    machine = Machine(fallbacks={"v001.mp4": "unreadable: cut short", "v002.mp4": "no_face"}, errors={"v004.mp4"})
    records = work(task, machine)
    assert records["v004.mp4"].fallback == "error: cannot score v004.mp4"
    labels = submitted(task)
    assert labels["v005.mp4"] == 0.205 and labels["v004.mp4"] == 0.45
    details = pd.read_csv(tmp_path / "out/details.csv").set_index("filename")
    assert details.loc["v001.mp4", "fallback"] == "unreadable: cut short"


def test_videos_that_all_fail_stop_the_run(tmp_path: Path) -> None:
    task = job(tmp_path, 20)
    with pytest.raises(RuntimeError, match="cannot score"):
        work(task, Machine(errors=set(task.paths)))
    assert len(pd.read_csv(tmp_path / "out/submission.csv")) == 21


def test_a_video_that_could_not_be_scored_is_tried_again_by_the_next_run(tmp_path: Path) -> None:
    task = job(tmp_path, 3)
    work(task, Machine(errors={"v001.mp4"}))
    assert sorted(run.load_records(task)) == ["v000.mp4", "v002.mp4"]
    assert work(task, Machine())["v001.mp4"].fallback is None


def test_a_score_is_not_given_up_for_a_failure_at_more_frames() -> None:
    old, failed = (
        Record(key="k", n_frames=8, p_fake=0.7, n_faces=8, n_tracks=1, fallback=None),
        Record(key="k", n_frames=32, p_fake=0.45, n_faces=0, n_tracks=0, fallback="unreadable: took longer than 120 s"),
    )
    assert run._better(old, failed) == replace(old, n_frames=32)
    assert run._better(replace(old, fallback="no_face"), replace(old, n_frames=32)).n_frames == 32


def test_unreadable_videos_are_not_tried_again_at_more_frames(tmp_path: Path) -> None:
    task = job(tmp_path, 3)
    reasons = ("unreadable: text", "no_face", None)
    records = {
        v: Record(key=task.keys[v], n_frames=8, p_fake=0.5, n_faces=0, n_tracks=0, fallback=why)
        for v, why in zip(task.paths, reasons, strict=True)
    }
    assert run.pending(task, records) == (["v001.mp4", "v002.mp4"], (32, 16))


def test_the_summary_counts_and_draws(tmp_path: Path) -> None:
    task, machine = job(tmp_path, 12), Machine(fallbacks={"v001.mp4": "no_face"})
    text = run.summary(task, work(task, machine), 12.0)
    assert "<td" in text and "<svg" in text
    for cell in (
        "PyTorch 2 on CPU, fp32",
        "13",
        "11",
        "1 no such video in the test folders, 1 no_face",
        "32 for 11",
        "12 s of 3,600",
    ):
        assert f">{cell}<" in text


def test_equal_scores_of_all_videos_are_refused(tmp_path: Path) -> None:
    task = job(tmp_path, 12)
    records = {
        v: Record(key=task.keys[v], n_frames=32, p_fake=0.5, n_faces=8, n_tracks=1, fallback=None) for v in task.paths
    }
    with pytest.raises(UserError, match="all 12 different videos"):
        run.summary(task, records, 1.0)


def test_examples_are_three_different_videos(tmp_path: Path) -> None:
    p_fake = {"a": 0.9, "b": 0.1, "c": 0.55, "d": 0.95, "e": 0.5}
    records = {
        v: Record(key="k", n_frames=32, p_fake=p, n_faces=8, n_tracks=1, fallback="no_face" if v == "e" else None)
        for v, p in p_fake.items()
    }
    assert run.example_ids(records) == {"most forged": "d", "most real": "b", "least sure": "c"}
    assert run.example_ids({"a": records["a"]}) == {"most forged": "a"}
    assert run.example_ids({}) == {}
