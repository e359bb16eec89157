"""All eight stages, the folder command and the single-video command on drawn people, as their users run them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import jsonschema
import numpy as np
import pandas as pd
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from deepfake import tables
from deepfake.commands.main import main
from deepfake.detector.file import load_detector
from deepfake.errors import UserError
from drawn_faces import write_person
from run_command import ENVIRONMENT, arguments_of

ROOT = Path(__file__).parents[1]
ODD_NAME = 'a "quoted" <b>née, name.mp4'
PEOPLE = 6


def run(name: str, *args: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *arguments_of(name), *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, env={**ENVIRONMENT, "OMP_NUM_THREADS": "1"})


def make_data(raw: Path) -> None:
    for person in range(PEOPLE):
        part = raw / f"dfdc_train_part_{person % 3}"
        write_person(part / f"real{person}.mp4", person, n_frames=12)
        write_person(part / f"fake{person}.mp4", person, (True,), n_frames=12)
    for number in range(3):
        entries = {}
        for person in range(number, PEOPLE, 3):
            entries[f"real{person}.mp4"] = {"label": "REAL", "split": "train"}
            entries[f"fake{person}.mp4"] = {"label": "FAKE", "split": "train", "original": f"real{person}.mp4"}
        (raw / f"dfdc_train_part_{number}" / "metadata.json").write_text(json.dumps(entries))
    test = raw / "test_videos"
    write_person(test / "one.mp4", 7)
    write_person(test / ODD_NAME, 8, (True,))
    write_person(test / "two faces.mp4", 9, (False, True))
    (test / "broken.mp4").write_bytes((test / "one.mp4").read_bytes()[:700])
    (test / "empty.mp4").write_bytes(b"")
    names = ["two faces.mp4", "one.mp4", "broken.mp4", ODD_NAME, "empty.mp4"]
    pd.DataFrame({"filename": names, "label": 0.5}).to_csv(raw / "sample_submission.csv", index=False)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("project")
    make_data(folder / "raw")
    (folder / "config.yaml").write_text(f"""
dataset: drawn
run: tiny
data_dir: {folder}/data
submissions_dir: {folder}/submissions
index: {{root: {folder}/raw}}
extract: {{frames_per_video: 8, crop_px: 96}}
folds: {{by_face: false}}  # drawn people all have one face
frames: {{backbone: test_efficientnet, start_from: random, frozen_stages: 0, freeze_batchnorm: false, input_px: 64,
  epochs: 3, frames_per_track: 4, pairs_per_batch: 4, learning_rate: 0.003}}
sequences: {{hidden: 8, epochs: 2, clip_frames: 8, heads: [sequences, motion]}}
ensemble: {{drop_margin: null, stack_l2: 100}}
predict: {{precision: fp32}}
validation: {{bootstrap: 50, worst_videos: 2}}
""")
    done = run("run_stages.py", "--config", folder / "config.yaml")
    assert done.returncode == 0, done.stderr[-3000:] + done.stdout[-2000:]
    return folder


def test_the_submission_has_a_row_for_every_name_in_the_samples_order(project: Path) -> None:
    sample = pd.read_csv(project / "raw/sample_submission.csv")
    made = pd.read_csv(project / "submissions/tiny/submission.csv")
    assert made["filename"].tolist() == sample["filename"].tolist()
    assert made["label"].between(0.01, 0.99).all()


def test_bad_files_get_the_prior_and_are_counted_with_their_reason(project: Path) -> None:
    scores = tables.read(tables.VIDEO_SCORES, project / "data/runs/tiny/test_video_scores.parquet")
    bad = scores[scores["fallback"].notna()].set_index("video_id")
    assert sorted(bad.index) == ["test_videos/broken.mp4", "test_videos/empty.mp4"]
    assert (bad["p_fake"] == 0.5).all()
    assert bad["fallback"].str.startswith("unreadable: ").all()
    manifest = json.loads((project / "submissions/tiny/manifest.json").read_text())
    assert manifest["fallbacks"] == {"unreadable": 2}


def test_both_people_of_a_video_have_a_track(project: Path) -> None:
    faces = tables.read(tables.FACES, project / "data/work/drawn/faces.parquet")
    assert faces[faces["video_id"] == "test_videos/two faces.mp4"]["track"].nunique() == 2


def test_a_fake_and_its_original_share_a_fold(project: Path) -> None:
    folds = tables.read(tables.FOLDS, project / "data/work/drawn/folds.parquet")
    person = folds["video_id"].str.extract(r"(\d)\.mp4")[0]
    assert folds.groupby(person)["fold"].nunique().eq(1).all()


def test_the_report_counts_everything_and_escapes_names(project: Path) -> None:
    report = json.loads((project / "submissions/tiny/report.json").read_text())
    assert report["counts"]["scored"] == 2 * PEOPLE
    assert "<b>née" not in (project / "submissions/tiny/report.html").read_text()


def test_the_report_says_what_members_cost(project: Path) -> None:
    report = json.loads((project / "submissions/tiny/report.json").read_text())
    cost = {row["what"]: row["cost_ms"] for row in report["member_sets"]}
    assert cost["sequences"] > cost["frames"] > 0 and cost["motion"] > 0
    assert cost["frames + sequences"] == cost["sequences"], "the frame network is paid once"
    note = json.loads((project / "data/runs/tiny/frames/cost_oof.json").read_text())
    assert note["n_videos"] == 2 * PEOPLE


def test_a_second_run_says_that_all_is_up_to_date(project: Path) -> None:
    done = run("run_stages.py", "--config", project / "config.yaml")
    assert done.returncode == 0
    assert done.stdout.count("up to date") == 8


def test_a_changed_setting_repeats_only_what_depends_on_it(project: Path) -> None:
    done = run("run_stages.py", "--config", project / "config.yaml", "--set", "validation.bootstrap=60")
    assert done.returncode == 0
    assert done.stdout.count("up to date") == 7


@pytest.fixture(scope="module")
def by_folder(project: Path) -> tuple[Path, tuple[object, ...]]:
    """What the folder command made of the test videos, and its arguments."""
    out, weights = project / "out.csv", project / "data/runs/tiny/detector.safetensors"
    flags = ("--weights", weights, "--cache", project / "cache")
    args = (project / "raw/test_videos", "--out", out, *flags)
    done = run("deepfake.predict", *args)
    assert done.returncode == 0, done.stderr
    return out, args


def test_the_folder_command_gives_a_row_a_file_whatever_its_state_and_goes_on_where_it_was(
    project: Path, by_folder: tuple[Path, tuple[object, ...]]
) -> None:
    out, args = by_folder
    made = pd.read_csv(out).set_index("filename")
    assert sorted(made.index) == sorted(path.name for path in (project / "raw/test_videos").iterdir())
    assert made.loc[["broken.mp4", "empty.mp4"], "fallback"].str.startswith("unreadable").all()
    assert made.loc["two faces.mp4", "n_tracks"] == 2
    first = out.read_bytes()
    assert run("deepfake.predict", *args).returncode == 0
    assert out.read_bytes() == first


def test_the_folder_command_agrees_with_the_stages(project: Path, by_folder: tuple[Path, tuple[object, ...]]) -> None:
    weights = project / "data/runs/tiny/detector.safetensors"
    scores = tables.read(tables.VIDEO_SCORES, project / "data/runs/tiny/test_video_scores.parquet")
    by_stages = scores.assign(filename=scores["video_id"].str.removeprefix("test_videos/")).set_index("filename")
    rows = pd.read_csv(by_folder[0]).set_index("filename")
    stack = load_detector(weights).stack
    assert sum(weight > 0.05 for weight in stack.weights) >= 2, "one member alone could not disagree with itself"
    assert np.allclose(rows["label"], by_stages.loc[rows.index, "p_fake"], atol=0.003), "half precision"


def test_one_video_gets_a_verdict_by_face_and_second(project: Path) -> None:
    weights = project / "data/runs/tiny/detector.safetensors"
    video = project / "raw/test_videos/two faces.mp4"
    page = project / "page.html"
    flags = ["--weights", weights, "--cache", project / "cache", "--json", "-", "--html", page]
    done = run("deepfake.check", video, *flags)
    check = json.loads(done.stdout)
    assert check["verdict"] in ("likely forged", "inconclusive", "likely real"), done.stderr
    assert done.returncode == check["exit_code"], done.stderr
    tracks = [track for shot in check["shots"] for track in shot["tracks"]]
    assert [len(track["seconds"]) for track in tracks] == [1, 1]
    assert check["n_faces_counted"] == 2
    odds = [track["p_fake"] / (1 - track["p_fake"]) for track in tracks]
    prior = 1 / (1 - load_detector(weights).stack.prior) - 1
    ratio = sum(one / prior for one in odds) / 2
    assert check["p_fake"] == pytest.approx(prior * ratio / (1 + prior * ratio), abs=1e-4)
    assert [track["decides"] for track in tracks].count(True) == 1
    jsonschema.validate(check, json.loads(run("deepfake.check", "--schema").stdout))
    assert "two faces.mp4" in page.read_text() and 'src="raw/test_videos/two%20faces.mp4"' in page.read_text()


def spoil(kind: str, weights: Path, bad: Path) -> None:
    if kind == "cut short":
        bad.write_bytes(weights.read_bytes()[:-5000])
    elif kind == "text":
        bad.write_text("these are no weights")
    else:
        tensors = load_file(weights)
        with safe_open(weights, "pt") as stored:
            metadata = stored.metadata()
        if kind == "of another program":
            metadata = {"format": "pt"}
        if kind == "of another model":
            tensors = {name.replace("conv", "other"): value for name, value in tensors.items()}
        if kind == "no numbers":
            tensors["frames.0.head.bias"] = torch.full_like(tensors["frames.0.head.bias"], torch.nan)
        save_file(tensors, bad, metadata)


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("cut short", "not a whole safetensors file"),
        ("text", "not a whole safetensors file"),
        ("of another program", "wanted a detector"),
        ("of another model", "do not fit the networks"),
        ("no numbers", "no numbers"),
    ],
)
def test_weights_that_are_not_a_detectors_are_refused_in_words(
    project: Path, tmp_path: Path, kind: str, words: str
) -> None:
    bad = tmp_path / "bad.safetensors"
    spoil(kind, project / "data/runs/tiny/detector.safetensors", bad)
    with pytest.raises(UserError, match=words):
        load_detector(bad)


@pytest.mark.parametrize(
    ("script", "args", "words"),
    [
        ("deepfake.predict", ["no such folder"], "does not exist"),
        ("deepfake.predict", ["{videos}", "--weights", "absent.safetensors"], "do not exist"),
        ("deepfake.check", ["absent.mp4"], "does not exist"),
        ("deepfake.probe", [str(ROOT / "README.md")], "README.md"),
    ],
)
def test_a_users_mistake_ends_with_a_sentence_and_exit_code_2(
    script: str, args: list[str], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty.mp4").touch()
    _, command = script.split(".")
    with pytest.raises(SystemExit) as ended:
        main([command, *(arg.format(videos=tmp_path) for arg in args)])
    assert ended.value.code == 2
    told = capsys.readouterr().err
    assert words in told
    assert "Traceback" not in told
