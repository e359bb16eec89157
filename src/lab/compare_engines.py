"""The stages that run on an engine, on each in turn: seconds, and whether the tables are the same bytes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from deepfake.errors import UserError
from deepfake.files import sha256_of
from deepfake.settings import Config

SOURCES = Path(__file__).parents[1]
STAGES = ("01_index_videos", "02_extract_faces", "06_predict_videos")
MODELS = ("*/fold*/model.*", "*/fold*/*.json")


@dataclass(frozen=True)
class Compared:
    """A command on both engines: seconds by the clock, its start included, and files that differ."""

    name: str
    local_s: float
    spark_s: float
    n_files: int
    different: Sequence[str]


def compare(config: Config, settings: Path, overrides: Sequence[str], master: str, folder: Path) -> list[Compared]:
    """Run the stages and `predict` below `folder`, on each engine with a data folder of its own."""
    engines = {"local": [], "spark": ["--set", "engine.kind=spark", "--set", f"engine.master={master}"]}
    for name in engines:
        _models_of(config, folder / name)
    compared = []
    for stage in STAGES:
        seconds = {}
        for name, chosen in engines.items():
            flags = ["--config", str(settings), "--run", config.run]
            flags += [flag for value in (*overrides, f"data_dir={folder / name}") for flag in ("--set", value)]
            seconds[name] = _timed([str(SOURCES / f"{stage}.py"), *flags, *chosen])
        compared.append(_row(stage, seconds, *(_tables(folder / name, stage) for name in engines)))
    seconds = {}
    for name, chosen in engines.items():
        place = folder / name
        flags = ["--out", str(place / "predictions.csv"), "--cache", str(place / "cache")]
        seconds[name] = _timed(["-m", "deepfake", "predict", *_tests(config), *flags, *chosen])
    compared.append(_row("predict", seconds, *({"predictions.csv": folder / n / "predictions.csv"} for n in engines)))
    return compared


def _tests(config: Config) -> list[str]:
    root = config.path(config.index.root)
    tests = [str(root / folder) for folder in config.index.test_folders if (root / folder).is_dir()]
    return tests[:1] or [str(root)]


def _models_of(config: Config, data_dir: Path) -> None:
    """Copy what stage 06 needs beside what 01 and 02 make: the run's networks, and the folds."""
    folds = config.work_dir / "folds.parquet"
    models = [path for pattern in MODELS for path in config.run_dir.glob(pattern)]
    if not folds.is_file() or not models:
        raise UserError(f"run {config.run!r} has no trained networks in {config.run_dir}; make demo trains some")
    work = data_dir / "work" / config.dataset
    work.mkdir(parents=True)
    shutil.copy(folds, work)
    for path in models:
        place = data_dir / "runs" / config.run / path.relative_to(config.run_dir)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, place)


def _timed(command: Sequence[str]) -> float:
    began = time.perf_counter()
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(SOURCES), os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run([sys.executable, *command], capture_output=True, text=True, env=environment)
    if done.returncode:
        raise UserError(f"{' '.join(command)} ended with {done.returncode}: {done.stderr[-2000:]}")
    return time.perf_counter() - began


def _tables(data_dir: Path, stage: str) -> Mapping[str, Path]:
    """The files that a stage makes, by their names: tables, and after stage 02 all crops."""
    patterns = {
        "01_index_videos": ["work/*/videos.parquet"],
        "02_extract_faces": [f"work/*/{name}.parquet" for name in ("extractions", "faces", "failures")]
        + ["work/*/crops/**/*.*"],
        "06_predict_videos": ["runs/*/*_test.parquet", "runs/**/scored/*.npy"],
    }[stage]
    return {str(path.relative_to(data_dir)): path for pattern in patterns for path in data_dir.glob(pattern)}


def _row(name: str, seconds: Mapping[str, float], local: Mapping[str, Path], spark: Mapping[str, Path]) -> Compared:
    names = sorted({*local, *spark})
    different = [n for n in names if n not in local or n not in spark or sha256_of(local[n]) != sha256_of(spark[n])]
    return Compared(name, seconds["local"], seconds["spark"], len(names), different)


def table(rows: Sequence[Compared]) -> str:
    """The rows as Markdown."""
    lines = ["| command | local | Spark | files compared | different |", "|---|---|---|---|---|"]
    for row in rows:
        different = f"{len(row.different)}: {', '.join(row.different[:3])}" if row.different else "0"
        lines.append(f"| {row.name} | {row.local_s:.1f} s | {row.spark_s:.1f} s | {row.n_files} | {different} |")
    return "\n".join(lines)
