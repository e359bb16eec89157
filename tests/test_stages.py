"""Up to date or not: settings, inputs and outputs decide, speed does not."""

import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from deepfake import tables
from deepfake.errors import UserError
from deepfake.faces.extracted import note_failure
from deepfake.faces.extractor import shard_name
from deepfake.files import PROJECT_ROOT
from deepfake.settings import Config
from deepfake.settings_file import parse_config
from deepfake.stages import STAGES, Stage, alone, check_inputs, is_current, missing_shards, note_done

FOLDS = STAGES["03_make_folds"]


def config(folder: Path, **sections: dict[str, object]) -> Config:
    values = {"data_dir": str(folder / "data"), "submissions_dir": str(folder / "submissions")}
    return parse_config(values | {"index": {"root": str(folder / "raw")}} | sections)


def write(config: Config, *names: str, text: str = "made") -> None:
    for name in names:
        path = config.work_dir / f"{name}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


@pytest.fixture
def done(tmp_path: Path) -> Config:
    """Stage 03 has just been done."""
    made = config(tmp_path)
    write(made, "videos", "extractions", "faces", "folds")
    note_done(FOLDS, made, None, 1.0, {"videos": 3})
    return made


def test_the_stages_follow_each_other_and_each_input_has_an_earlier_maker(tmp_path: Path) -> None:
    empty = Config(data_dir=tmp_path)  # a run that lies there from before has notes of costs, which no stage must have
    made: set[Path] = set()
    for number, stage in enumerate(STAGES.values(), 1):
        assert stage.name.startswith(f"{number:02d}_")
        assert set(stage.input_paths(empty)) <= made, stage.name
        outputs = set(stage.output_paths(empty))
        assert outputs and not outputs & made, stage.name
        made |= outputs


@pytest.mark.parametrize("stage", STAGES.values(), ids=lambda stage: stage.name)
def test_every_stage_has_its_script_and_obeys_settings_that_exist(stage) -> None:  # type: ignore[no-untyped-def]
    assert stage.script.is_file()
    assert set(stage.sections) <= set(Config.model_fields)
    assert len(stage.script.read_text().splitlines()) <= 45


def test_a_stage_that_was_noted_is_up_to_date(done: Config) -> None:
    assert is_current(FOLDS, done, None)


def test_a_stage_that_was_never_done_is_not(tmp_path: Path) -> None:
    assert not is_current(FOLDS, config(tmp_path), None)


@pytest.mark.parametrize("name", ["videos", "extractions", "folds"])
def test_a_changed_input_or_output_makes_it_stale(done: Config, name: str) -> None:
    write(done, name, text="changed")
    assert not is_current(FOLDS, done, None)


@pytest.mark.parametrize("name", ["videos", "folds"])
def test_a_lost_input_or_output_makes_it_stale(done: Config, name: str) -> None:
    (done.work_dir / f"{name}.parquet").unlink()
    assert not is_current(FOLDS, done, None)


def test_a_file_written_again_with_the_same_bytes_does_not(done: Config) -> None:
    write(done, "videos", "folds")
    assert is_current(FOLDS, done, None)


def test_a_changed_setting_makes_it_stale_another_stages_does_not(done: Config, tmp_path: Path) -> None:
    assert not is_current(FOLDS, config(tmp_path, folds={"seed": 1}), None)
    assert is_current(FOLDS, config(tmp_path, frames={"seed": 1}), None)


def test_another_limit_makes_it_stale(done: Config) -> None:
    assert not is_current(FOLDS, done, 2)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"outputs": 1}'])
def test_a_broken_manifest_makes_it_stale(done: Config, text: str) -> None:
    FOLDS.manifest_path(done).write_text(text)
    assert not is_current(FOLDS, done, None)


def test_settings_of_speed_alone_leave_it_up_to_date(tmp_path: Path) -> None:
    stage = STAGES["02_extract_faces"]
    made = config(tmp_path)
    for table in (tables.VIDEOS, tables.EXTRACTIONS, tables.FACES, tables.FAILURES):
        tables.write(table, tables.empty(table), made.work_dir / f"{table.name}.parquet")
    note_done(stage, made, None, 1.0, {})
    assert is_current(stage, config(tmp_path, extract={"workers": 9, "deadline_s": 1, "memory_mb": 500}), None)
    assert not is_current(stage, config(tmp_path, extract={"crop_px": 64}), None)


def test_new_and_changed_raw_files_and_labels_make_the_index_stale(tmp_path: Path) -> None:
    stage = STAGES["01_index_videos"]
    labels = tmp_path / "labels.csv"
    labels.write_text("file,label\n")
    made = config(tmp_path, index={"root": str(tmp_path / "raw"), "labels_csv": str(labels)})
    tables.write(tables.VIDEOS, tables.empty(tables.VIDEOS), made.work_dir / "videos.parquet")
    (tmp_path / "raw" / "part").mkdir(parents=True)
    file, store = tmp_path / "raw" / "part" / "a.mp4", tmp_path / "store.mp4"
    store.write_bytes(b"linked")
    for change in (
        lambda: file.write_bytes(b"one"),
        lambda: file.write_bytes(b"longer"),
        lambda: replaced_in_disguise(file, b"longed"),
        lambda: file.rename(tmp_path / "raw" / "part" / "b.mp4"),
        lambda: (tmp_path / "raw" / "part" / "c.mp4").symlink_to(store),
        lambda: replaced_in_disguise(store, b"kinked"),
        lambda: labels.write_text("file,label\nb.mp4,REAL\n"),
    ):
        note_done(stage, made, None, 1.0, {})
        assert is_current(stage, made, None)
        change()
        assert not is_current(stage, made, None)


def replaced_in_disguise(path: Path, data: bytes) -> None:
    """Other bytes of the same size under the same name and time of change, as `cp -p` leaves them."""
    times = path.stat().st_atime_ns, path.stat().st_mtime_ns
    path.write_bytes(data)
    os.utime(path, ns=times)


def test_a_video_that_could_not_be_read_in_passing_makes_the_index_stale_and_a_bad_one_does_not(tmp_path: Path) -> None:
    stage = STAGES["01_index_videos"]
    made = config(tmp_path)
    (tmp_path / "raw").mkdir()
    bad = {"video_id": "v.mp4", "status": "bad", "size_bytes": 3, "n_frames": 0, "part": ".", "split": "test"}
    for sha256, is_settled in (("ab" * 32, True), (None, False)):
        table = pd.DataFrame([{**bad, "sha256": sha256, "reason": "is no video"}])
        table = table.reindex(columns=list(tables.empty(tables.VIDEOS).columns))
        tables.write(tables.VIDEOS, table, made.work_dir / "videos.parquet")
        note_done(stage, made, None, 1.0, {})
        assert is_current(stage, made, None) is is_settled


def test_a_failure_that_may_pass_makes_the_extraction_stale_and_one_of_the_content_does_not(tmp_path: Path) -> None:
    stage = STAGES["02_extract_faces"]
    made = config(tmp_path)
    for name in ("01_index_videos", "02_extract_faces"):
        for table in (tables.EXTRACTIONS, tables.FACES):
            tables.write(table, tables.empty(table), made.work_dir / f"{table.name}.parquet")
        video = {
            "video_id": "v.mp4",
            "status": "ok",
            "sha256": "ab" * 32,
            "size_bytes": 3,
            "part": ".",
            "split": "test",
        }
        table = pd.DataFrame([video]).reindex(columns=list(tables.empty(tables.VIDEOS).columns))
        tables.write(tables.VIDEOS, table.assign(n_frames=0), made.work_dir / "videos.parquet")
        failed = pd.DataFrame([{"stage": name, "video_id": "v.mp4", "reason": "took longer than 1 s"}])
        tables.write(tables.FAILURES, failed, made.work_dir / "failures.parquet")
        note_done(stage, made, None, 1.0, {})
        assert is_current(stage, made, None) is (name == "01_index_videos")
    note_failure(made.work_dir / shard_name("ab" * 32, made.extract), "is cut short")
    assert is_current(stage, made, None)


def test_a_lost_shard_makes_the_extraction_stale(tmp_path: Path) -> None:
    from learning_data import face_row

    stage = STAGES["02_extract_faces"]
    made = config(tmp_path)
    for table in (tables.VIDEOS, tables.EXTRACTIONS, tables.FAILURES):
        tables.write(table, tables.empty(table), made.work_dir / f"{table.name}.parquet")
    rows = [face_row("v.mp4", 0, i, (0, 0, 9, 9), shard="crops/v.tar") for i in range(2)]
    tables.write(tables.FACES, pd.DataFrame(rows), made.work_dir / "faces.parquet")
    shard = made.work_dir / "crops" / "v.tar"
    shard.parent.mkdir()
    shard.touch()
    note_done(stage, made, None, 1.0, {})
    assert is_current(stage, made, None) and missing_shards(made) == []
    shard.unlink()
    assert not is_current(stage, made, None) and missing_shards(made) == ["crops/v.tar"]


def test_a_missing_input_names_the_stage_that_makes_it(tmp_path: Path) -> None:
    made = config(tmp_path)
    with pytest.raises(UserError, match=r"03_make_folds: .*videos.parquet does not exist; run src/01_index_videos"):
        check_inputs(FOLDS, made)
    write(made, "videos")
    with pytest.raises(UserError, match=r"run src/02_extract_faces.py first"):
        check_inputs(FOLDS, made)
    write(made, "extractions", "faces")
    check_inputs(FOLDS, made)


def test_a_second_process_gets_an_error_that_names_who_works_in_the_folder(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom pathlib import Path\nfrom deepfake.stages import alone\n"
        "try:\n    with alone(Path(sys.argv[1])): print('in')\nexcept ValueError as error: print(error)\n"
    )

    def second() -> str:
        command = [sys.executable, "-c", code, str(tmp_path)]
        return subprocess.run(command, capture_output=True, text=True, cwd=PROJECT_ROOT / "src", check=True).stdout

    with alone(tmp_path):
        assert "is in use by another command (process " in second()
    assert second() == "in\n"


def test_the_folder_is_free_again_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(KeyError), alone(tmp_path / "new"):
        raise KeyError
    with alone(tmp_path / "new"):
        pass


def test_a_changed_sample_submission_makes_the_ensemble_stale_alone(tmp_path: Path) -> None:
    from deepfake.stages import sample_digest

    made = config(tmp_path)
    assert sample_digest(made) is None
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "sample_submission.csv").write_text("filename,label\na.mp4,0.5\n")
    first = sample_digest(made)
    (tmp_path / "raw" / "sample_submission.csv").write_text("filename,label\nb.mp4,0.5\n")
    assert first is not None and sample_digest(made) not in (None, first)
    stage = STAGES["07_ensemble"]
    for path in (*stage.input_paths(made), *stage.output_paths(made)):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    note_done(stage, made, None, 1.0, {})
    assert is_current(stage, made, None)
    (tmp_path / "raw" / "sample_submission.csv").unlink()
    assert not is_current(stage, made, None)


def test_a_stage_of_any_name_says_itself_what_it_goes_by_what_it_may_lack_and_where_it_notes_that(
    tmp_path: Path,
) -> None:
    facts: dict[str, str | None] = {"weather": "dry"}
    lacking: list[str] = []
    stages = [
        Stage(
            name=name,
            makes="nothing",
            sections=(),
            outputs=(),
            notes_in=folder,
            facts=lambda config: facts,
            missing=lambda config: lacking,
        )
        for name, folder in (("01_first", "run"), ("09_last", "work"))
    ]
    made = config(tmp_path)
    assert [stage.manifest_path(made).parent for stage in stages] == [made.run_dir, made.work_dir]
    for stage in stages:
        note_done(stage, made, None, 1.0, {})
        assert is_current(stage, made, None)
        facts["weather"] = "wet"
        assert not is_current(stage, made, None)
        facts["weather"] = "dry"
        lacking.append("crops/v.tar")
        assert not is_current(stage, made, None)
        lacking.clear()
        assert is_current(stage, made, None)


def test_what_was_made_before_stages_described_themselves_is_still_up_to_date(done: Config) -> None:
    """Digests taken with stages that were distinguished by their names."""
    from deepfake.files import digest, sha256_of
    from deepfake.settings import section_values
    from deepfake.stages import FORMAT, fingerprint

    inputs = [[path.name, sha256_of(path)] for path in FOLDS.input_paths(done)]
    settings = {name: section_values(done, name) for name in ("folds", "people")}
    before = {"format": FORMAT, "stage": FOLDS.name, "settings": settings, "inputs": inputs, "raw": None, "limit": None}
    assert fingerprint(FOLDS, done, None) == digest(before)
