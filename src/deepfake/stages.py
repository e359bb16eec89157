"""The eight stages: what each reads and makes, and whether that is up to date.

A stage is up to date when its settings, its inputs and its outputs are those its manifest names.
Nothing heavy is imported here, so that `--help` and a second run answer at once.
"""

from __future__ import annotations

import datetime
import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from deepfake.ensemble.costs import SCORED, cost_path
from deepfake.errors import UserError
from deepfake.files import (
    PROJECT_ROOT,
    State,
    current_commit,
    digest,
    sha256_of,
    state_of,
    visible_files,
    write_whole,
)
from deepfake.settings import Config, section_values

FORMAT = 4  # raise it when the same settings give other tables, as when faces.extracted.FORMAT is raised


# Written by `report.csv_tables`, which is too heavy to be imported here.
REPORT_TABLES = (
    *("videos", "metrics", "groups", "bands", "risk_coverage", "frames", "members", "member_sets"),
    *("leakage", "metadata", "changes", "failures"),
)


def work_tables(*names: str) -> Callable[[Config], list[Path]]:
    """Paths of tables of the data set."""
    return lambda config: [config.work_dir / f"{name}.parquet" for name in names]


def run_files(*names: str) -> Callable[[Config], list[Path]]:
    """Paths of files of the run."""
    return lambda config: [config.run_dir / name for name in names]


def model_files(family: str) -> Callable[[Config], list[Path]]:
    """Paths of a family's networks, one a fold."""
    return lambda config: [
        config.run_dir / family / f"fold{fold}" / "model.safetensors" for fold in range(config.folds.n_folds)
    ]


def head_models(config: Config) -> list[Path]:
    """Paths of the networks over tracks, one a head and fold."""
    return [path for head in config.sequences.heads for path in model_files(head)(config)]


def head_scores(name: str) -> Callable[[Config], list[Path]]:
    """Paths of the tables of the networks over tracks, one a head."""
    return lambda config: [config.run_dir / f"{head}_{name}.parquet" for head in config.sequences.heads]


def submission_files(*names: str) -> Callable[[Config], list[Path]]:
    """Paths of files beside the submission."""
    return lambda config: [config.submission_dir / name for name in names]


def against_files(config: Config) -> list[Path]:
    """Scores of the run that the report compares with, where it does."""
    return [] if config.against_scores is None else [config.against_scores]


def cost_files(config: Config) -> list[Path]:
    """Notes of what members cost, those there are: no stage has to have been timed."""
    members = ("frames", *config.sequences.heads)
    paths = [cost_path(config.run_dir, member, scored) for member in members for scored in SCORED]
    return [path for path in paths if path.is_file()]


def archive_files(config: Config) -> list[Path]:
    """Who is seen where by face, and what is a copy of what: the tables of these that somebody has made."""
    paths = [config.work_dir / name for name in ("people.parquet", "copies.parquet")]
    return [path for path in paths if path.is_file()]


def raw_listing(config: Config) -> str:
    """A digest of what lies in the raw folder: names, sizes, inodes, times, and the text of the label files."""
    root = config.path(config.index.root)
    entries: list[Any] = []
    if config.engine.videos is not None:
        from deepfake.media.listing import listed_store

        store = listed_store(config.engine)
        entries += [config.engine.videos, *(list(file) for file in (store.state if store else ()))]
    for path in () if config.engine.videos else sorted(visible_files(root)):
        state = path.stat() if path.exists() else path.lstat()
        # Without the device, whose number may be another after a restart. The time of change cannot be set, as `cp -p`
        # sets that of the content.
        what = [state.st_size, state.st_ino, state.st_mtime_ns, state.st_ctime_ns]
        entries.append([os.fsencode(path.relative_to(root)).hex(), *what])
    labels = config.index.labels_csv
    if labels is not None and config.path(labels).is_file():
        entries.append(sha256_of(config.path(labels)))
    return digest(entries)


def sample_digest(config: Config) -> str | None:
    """Digest of the sample submission, which decides the order of ours; None where there is none."""
    path = config.sample_path
    return sha256_of(path) if path.is_file() else None


def missing_shards(config: Config) -> list[str]:
    """Crop shards that the faces table names and that are not on disk."""
    import pyarrow.parquet as pq

    shards = pq.read_table(config.work_dir / "faces.parquet", columns=["shard"])["shard"].unique().to_pylist()
    lost = [shard for shard in shards if not (config.work_dir / shard).is_file()]
    if lost and config.engine.shards is not None:
        from deepfake.engines.storage import Folder

        stored = {name for name, _, _ in Folder(config.engine.shards).files()}
        return [shard for shard in lost if shard not in stored]
    return lost


def unread_videos(config: Config) -> list[str]:
    """Videos whose row says only that they could not be read when they were indexed; they are worth another try."""
    import pyarrow.parquet as pq

    columns = ["video_id", "status", "sha256"]
    rows = pq.read_table(config.work_dir / "videos.parquet", columns=columns).to_pylist()
    return [row["video_id"] for row in rows if row["status"] != "ok" and row["sha256"] is None]


def unfinished_videos(config: Config) -> list[str]:
    """Shards that are not there, and videos that failed for another reason than their content."""
    import pyarrow.parquet as pq

    table = pq.read_table(config.work_dir / "failures.parquet", columns=["stage", "video_id"]).to_pylist()
    failed = {row["video_id"] for row in table if row["stage"] == "02_extract_faces"}
    if not failed:
        return missing_shards(config)
    from deepfake.faces.extracted import noted_failure, shard_name

    videos = pq.read_table(config.work_dir / "videos.parquet", columns=["video_id", "sha256"]).to_pylist()
    shards = {row["video_id"]: shard_name(row["sha256"], config.extract) for row in videos if row["video_id"] in failed}
    passing = [v for v, shard in sorted(shards.items()) if noted_failure(config.work_dir / shard) is None]
    return [*missing_shards(config), *passing]


def _no_facts(config: Config) -> dict[str, str | None]:
    return {}


def _none_missing(config: Config) -> list[str]:
    return []


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One numbered script: the settings it obeys, the files it reads, the files it makes.

    `notes_in` is where it notes what it made: with the data set (work) or with the run. `facts` are digests of what it
    goes by that no stage makes, and `missing` names files it makes that are too many to be outputs and are not there,
    and videos that are worth another try.
    """

    name: str
    makes: str
    sections: tuple[str, ...]
    inputs: tuple[Callable[[Config], list[Path]], ...] = ()
    outputs: tuple[Callable[[Config], list[Path]], ...]
    notes_in: Literal["work", "run"]
    facts: Callable[[Config], dict[str, str | None]] = _no_facts
    missing: Callable[[Config], list[str]] = _none_missing

    @property
    def script(self) -> Path:
        """The script that runs it."""
        return PROJECT_ROOT / "src" / f"{self.name}.py"

    def input_paths(self, config: Config) -> list[Path]:
        """All files it reads."""
        return [path for paths in self.inputs for path in paths(config)]

    def output_paths(self, config: Config) -> list[Path]:
        """All files it makes."""
        return [path for paths in self.outputs for path in paths(config)]

    def manifest_path(self, config: Config) -> Path:
        """Where it notes what it made, from what."""
        return (config.work_dir if self.notes_in == "work" else config.run_dir) / f"{self.name}.json"


_ALL = (
    Stage(
        name="01_index_videos",
        makes="one row a video: probe, hash, label, status",
        sections=("index",),
        outputs=(work_tables("videos"),),
        notes_in="work",
        facts=lambda config: {"raw": raw_listing(config)},
        missing=unread_videos,
    ),
    Stage(
        name="02_extract_faces",
        makes="face tracks and their crops",
        sections=("extract",),
        inputs=(work_tables("videos"),),
        outputs=(work_tables("extractions", "faces", "failures"),),
        notes_in="work",
        missing=unfinished_videos,
    ),
    Stage(
        name="03_make_folds",
        makes="groups that never part, dealt into folds",
        sections=("folds", "people"),
        inputs=(work_tables("videos", "extractions", "faces"),),
        outputs=(work_tables("folds"),),
        notes_in="work",
    ),
    Stage(
        name="04_train_frames",
        makes="image classifiers and their out-of-fold logits",
        sections=("frames",),
        inputs=(work_tables("videos", "faces", "folds"),),
        outputs=(model_files("frames"), run_files("frames_oof.parquet")),
        notes_in="run",
    ),
    Stage(
        name="05_train_sequences",
        makes="networks over tracks and their out-of-fold logits",
        sections=("sequences",),
        inputs=(work_tables("videos", "faces", "folds"), model_files("frames")),
        outputs=(head_models, head_scores("oof")),
        notes_in="run",
    ),
    Stage(
        name="06_predict_videos",
        makes="logits of every model for every track of the test videos",
        sections=("predict",),
        inputs=(work_tables("videos", "faces"), model_files("frames"), head_models),
        outputs=(run_files("frames_test.parquet"), head_scores("test")),
        notes_in="run",
    ),
    Stage(
        name="07_ensemble",
        makes="one calibrated probability a video, the submission, the detector",
        sections=("ensemble", "extract", "index"),
        inputs=(
            work_tables("videos", "extractions", "faces", "folds"),
            run_files("frames_oof.parquet", "frames_test.parquet"),
            head_scores("oof"),
            head_scores("test"),
            model_files("frames"),
            head_models,
        ),
        outputs=(
            run_files("oof_video_scores.parquet", "test_video_scores.parquet"),
            run_files("ensemble.json", "detector.safetensors"),
            submission_files("submission.csv", "manifest.json"),
        ),
        notes_in="run",
        facts=lambda config: {"sample": sample_digest(config)},
    ),
    Stage(
        name="08_validate",
        makes="the offline validation report",
        sections=("validation",),
        inputs=(
            work_tables("videos", "extractions", "faces", "folds", "failures"),
            run_files("oof_video_scores.parquet", "test_video_scores.parquet", "frames_oof.parquet"),
            head_scores("oof"),
            cost_files,
            against_files,
            archive_files,
        ),
        outputs=(
            submission_files("report.html", "report.json"),
            submission_files(*(f"tables/{name}.csv" for name in REPORT_TABLES)),
        ),
        notes_in="run",
    ),
)
STAGES = {stage.name: stage for stage in _ALL}


def fingerprint(stage: Stage, config: Config, limit: int | None) -> str:
    """A digest of everything that decides what a stage makes; its inputs must exist."""
    return digest(
        {
            "format": FORMAT,
            "stage": stage.name,
            "settings": {section: section_values(config, section) for section in stage.sections},
            "inputs": [[path.name, sha256_of(path)] for path in stage.input_paths(config)],
            "raw": None,  # of stages that do not say otherwise; kept, so that what was made before stays up to date
            "limit": limit,
            **stage.facts(config),
        }
    )


def check_inputs(stage: Stage, config: Config) -> None:
    """Raise where a file that another stage makes is not there."""
    for path in stage.input_paths(config):
        if not path.is_file():
            makers = [s.name for s in STAGES.values() if path in s.output_paths(config)]
            if not makers:
                how = f"run src/07_ensemble.py with --run {config.validation.against}, or name another run"
                raise UserError(f"{stage.name}: {path} does not exist; to compare with it, {how}")
            raise UserError(f"{stage.name}: {path} does not exist; run src/{makers[0]}.py first with the same --config")


def is_current(stage: Stage, config: Config, limit: int | None) -> bool:
    """Whether the stage would make again what is there."""
    try:
        manifest = json.loads(stage.manifest_path(config).read_text())
        outputs = {_short(path, config): sha256_of(path) for path in stage.output_paths(config)}
        if outputs != manifest["outputs"] or manifest["fingerprint"] != fingerprint(stage, config, limit):
            return False
        return not stage.missing(config)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _short(path: Path, config: Config) -> str:
    for name, folder in (("work", config.work_dir), ("run", config.run_dir), ("submission", config.submission_dir)):
        if path.is_relative_to(folder):
            return f"{name}/{path.relative_to(folder).as_posix()}"
    return path.name


def state_of_inputs(stage: Stage, config: Config) -> dict[Path, State]:
    """What changes when a file that a stage reads is changed."""
    return {path: state_of(path) for path in stage.input_paths(config) if path.is_file()}


def refuse_changed(stage: Stage, config: Config, before: Mapping[Path, State]) -> None:
    """Raise where an input is another one than when the stage began: what it made is then of neither."""
    for path, state in state_of_inputs(stage, config).items():
        if before.get(path, state) != state:
            raise UserError(f"{stage.name}: {path} was changed while the stage read it; run the stage again")


def note_done(stage: Stage, config: Config, limit: int | None, seconds: float, summary: dict[str, Any]) -> None:
    """Write the stage's manifest, after its outputs."""
    manifest = {
        "stage": stage.name,
        "fingerprint": fingerprint(stage, config, limit),
        "settings": {section: section_values(config, section) for section in stage.sections},
        "limit": limit,
        "outputs": {_short(path, config): sha256_of(path) for path in stage.output_paths(config)},
        "commit": current_commit(),
        "finished": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "seconds": round(seconds, 2),
        "summary": summary,
    }
    path = stage.manifest_path(config)
    write_whole(path, (json.dumps(manifest, indent=1, sort_keys=True, default=str) + "\n").encode())


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Hold a folder: a second process that wants to write there gets an error instead of mixing in."""
    folder.mkdir(parents=True, exist_ok=True)
    try:
        import fcntl
    except ImportError:  # Windows: whole-file renames still keep each table whole
        yield
        return
    with (folder / ".lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.seek(0)
            raise UserError(
                f"{folder} is in use by another command (process {lock.read().strip() or 'unknown'}); "
                "wait for it, or use another --run or dataset"
            ) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield
