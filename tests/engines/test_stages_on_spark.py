"""Stages 01, 02, 06 and `deepfake predict` on two executors of Spark: the tables of one machine, byte for byte."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
from test_storage import s3 as s3

from deepfake.engines.storage import Folder
from lab.kills import make_project
from run_command import ENVIRONMENT, arguments_of

SPARK = ["--set", "engine.kind=spark", "--set", "engine.master=local-cluster[2,1,1024]"]
SPARK += ["--set", "engine.conf={spark.executor.memory: 512m}"]
SOURCES = {"PYTHONPATH": ENVIRONMENT["PYTHONPATH"]}  # the place of a bucket is known since a fixture made it
TRAINED = ("01_index_videos", "02_extract_faces", "03_make_folds", "04_train_frames", "05_train_sequences")
pytestmark = pytest.mark.slow


def run(name: str, *arguments: object, code: int = 0) -> str:
    command = [sys.executable, *arguments_of(name), *map(str, arguments)]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=500, env={**ENVIRONMENT, **os.environ, **SOURCES}
    )
    assert done.returncode == code, done.stderr[-3000:]
    return done.stdout + done.stderr


def stage(project: Path, name: str, *flags: str, code: int = 0) -> str:
    return run(f"{name}.py", "--config", project / "config.yaml", *flags, code=code)


def digests(folder: Path, *patterns: str) -> dict[str, str]:
    paths = [path for pattern in patterns for path in folder.glob(pattern) if path.is_file()]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("project")
    make_project(folder)
    for name in (*TRAINED, "06_predict_videos"):
        stage(folder, f"{name}")
    return folder


WORK = ("work/*/videos.parquet", "work/*/extractions.parquet", "work/*/faces.parquet", "work/*/failures.parquet")


def test_indexing_and_extracting_on_spark_give_the_same_tables_and_crops(project: Path, tmp_path: Path) -> None:
    for name in TRAINED[:2]:
        stage(project, name, "--set", f"data_dir={tmp_path}", *SPARK)
    wanted = digests(project / "data", *WORK, "work/*/crops/**/*")
    assert len(wanted) > 10
    assert digests(tmp_path, *WORK, "work/*/crops/**/*") == wanted
    assert "up to date" in stage(project, TRAINED[1], "--set", f"data_dir={tmp_path}", *SPARK)
    assert list((tmp_path / "work/drawn/.spool").iterdir()) == []


def test_scoring_on_spark_gives_the_same_tables(project: Path) -> None:
    run_dir = project / "data/runs/tiny"
    wanted = digests(run_dir, "*_test.parquet")
    assert len(wanted) == 2
    for path in run_dir.glob("*/fold*/scored/*"):
        path.unlink()
    stage(project, "06_predict_videos", "--force", *SPARK)
    assert digests(run_dir, "*_test.parquet") == wanted
    assert list(run_dir.glob("frames/fold*/scored/*.npy"))


def test_predicting_on_spark_gives_the_same_scores(project: Path, tmp_path: Path) -> None:
    weights = ["--weights", project / "cheap.safetensors"]
    run("deepfake.predict", project / "raw", "--out", tmp_path / "a.csv", "--cache", tmp_path / "a", *weights)
    # Executors work in folders of their own: relative paths must not be looked for there.
    near = [os.path.relpath(path) for path in (project / "raw", tmp_path / "b.csv", tmp_path / "b")]
    weights = ["--weights", os.path.relpath(project / "cheap.safetensors")]
    run("deepfake.predict", near[0], "--out", near[1], "--cache", near[2], *weights, *SPARK)
    assert (tmp_path / "b.csv").read_text() == (tmp_path / "a.csv").read_text()
    assert "unreadable" in (tmp_path / "b.csv").read_text()


def test_videos_and_crops_in_a_bucket_give_the_same_tables(project: Path, tmp_path: Path, s3: None) -> None:
    for path in (project / "raw").rglob("*.*"):
        Folder("s3://bucket/raw").write(str(path.relative_to(project / "raw")), [path.read_bytes()])
    stores = ["engine.videos=s3://bucket/raw", "engine.shards=s3://bucket/crops", "engine.spool=s3://bucket/spool"]
    flags = [flag for value in (*stores, f"data_dir={tmp_path}") for flag in ("--set", value)]
    stage(project, TRAINED[0], *flags)  # on this machine's processes
    stage(project, TRAINED[1], *flags, *SPARK)
    assert digests(tmp_path, *WORK) == digests(project / "data", *WORK)
    crops = digests(project / "data/work/drawn", "crops/**/*.tar")
    assert {n: hashlib.sha256(Folder("s3://bucket/crops").read(n)).hexdigest() for n in crops} == crops
    assert not list(tmp_path.glob("work/*/crops/**/*.tar")), "no crop lies on this disk"
    weights = ["--weights", project / "cheap.safetensors", "--cache", tmp_path / "cache"]
    run("deepfake.predict", "s3://bucket/raw", "--out", tmp_path / "far.csv", *weights)
    run("deepfake.predict", project / "raw", "--out", tmp_path / "near.csv", *weights)
    assert (tmp_path / "far.csv").read_text() == (tmp_path / "near.csv").read_text()


def test_a_user_s_mistake_is_a_sentence_and_exit_code_2(project: Path, tmp_path: Path) -> None:
    flags = ["--set", f"data_dir={tmp_path}", "--set", "engine.kind=spark"]
    environment = {**ENVIRONMENT, "JAVA_HOME": "/nowhere"}
    command = [sys.executable, *arguments_of("01_index_videos.py"), "--config", str(project / "config.yaml"), *flags]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 2 and "error: JAVA_HOME '/nowhere' holds no program bin/java" in done.stderr
    environment = {**ENVIRONMENT, "PYSPARK_PYTHON": "/nowhere/python"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 2, done.stderr[-2000:]
    assert "executors have no such Python: set PYSPARK_PYTHON (now '/nowhere/python')" in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.glob("work/*/*.parquet"))
