"""Commands: help at once, mistakes in a sentence, exit codes that mean something."""

import argparse
import os
import runpy
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from deepfake.cli import crop_view, grey_levels, view_name, whole_numbers
from deepfake.config import PROJECT_ROOT, CropView

SOURCES = PROJECT_ROOT / "src"
SCRIPTS = sorted(SOURCES.glob("*.py"))


def run(*arguments: object, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=folder or PROJECT_ROOT)


def settings(folder: Path) -> Path:
    path = folder / "mine.yaml"
    lines = [f"data_dir: {folder / 'data'}", f"submissions_dir: {folder / 'sub'}", f"index: {{root: {folder / 'raw'}}}"]
    path.write_text("\n".join(["dataset: mine", *lines]))
    return path


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_help_comes_at_once(script: Path) -> None:
    start = time.monotonic()
    done = run(script, "--help")
    seconds = time.monotonic() - start
    print(f"{script.name} --help: {seconds:.2f} s")
    assert done.returncode == 0 and "usage:" in done.stdout and not done.stderr
    assert seconds < 3  # promised: 1 s on an idle machine


@pytest.mark.parametrize("script", [path for path in SCRIPTS if path.name[:2].isdigit()], ids=lambda path: path.name)
def test_every_stage_has_the_same_flags(script: Path) -> None:
    shown = run(script, "--help").stdout
    for flag in ("--config", "--set", "--run", "--limit", "--force"):
        assert flag in shown


def test_a_missing_settings_file_is_a_sentence_and_exit_code_2(tmp_path: Path) -> None:
    done = run(SOURCES / "01_index_videos.py", "--config", tmp_path / "none.yaml")
    assert done.returncode == 2
    assert done.stderr.startswith("error: settings file") and "Traceback" not in done.stderr


def test_a_missing_input_and_a_missing_folder_are_exit_code_2(tmp_path: Path) -> None:
    done = run(SOURCES / "03_make_folds.py", "--config", settings(tmp_path))
    assert done.returncode == 2 and "run src/01_index_videos.py first" in done.stderr
    done = run(SOURCES / "01_index_videos.py", "--config", settings(tmp_path))
    assert done.returncode == 2 and "set index.root" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize("limit", ["0", "-1", "many", "1.5", "²"])
def test_a_limit_is_a_whole_number_from_1(tmp_path: Path, limit: str) -> None:
    done = run(SOURCES / "03_make_folds.py", "--config", settings(tmp_path), f"--limit={limit}")
    assert done.returncode == 2 and "Traceback" not in done.stderr


def test_a_stage_runs_says_its_settings_and_is_up_to_date_the_second_time(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "bad.mp4").write_bytes(b"no video")
    command = (SOURCES / "01_index_videos.py", "--config", settings(tmp_path), "--set", "index.deadline_s=30")
    first, second, forced = run(*command), run(*command), run(*command, "--force")
    assert first.returncode == 0, first.stderr
    assert "test_folders" in first.stdout and "done in" in first.stdout and "bad 1" in first.stdout
    assert second.returncode == 0 and "up to date" in second.stdout and "done in" not in second.stdout
    assert "done in" in forced.stdout


def ended(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str, *arguments: object) -> str:
    """What a command says before it ends with exit code 2; run here, because every process would load torch anew."""
    monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(SOURCES / name), run_name="__main__")
    assert end.value.code == 2
    return capsys.readouterr().err


@pytest.mark.parametrize("name", ["train_detector.py", "measure_run.py", "ship_detector.py"])
def test_commands_of_the_detector_name_a_settings_file_that_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    more = () if name == "train_detector.py" else ("--run", "r", "--clips", tmp_path, "--labels", tmp_path / "l.csv")
    more = (*more, "--name", "n") if name == "ship_detector.py" else more
    said = ended(monkeypatch, capsys, name, "--config", tmp_path / "none.yaml", *more)
    assert said.startswith("error: settings file") and "does not exist" in said


def test_a_detector_is_not_trained_before_the_tables_are_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    said = ended(monkeypatch, capsys, "train_detector.py", "--config", settings(tmp_path))
    assert said.startswith("error: train_detector:") and "run src/01_index_videos.py first" in said
    (tmp_path / "data/work/mine").mkdir(parents=True)
    (tmp_path / "data/work/mine/videos.parquet").touch()
    said = ended(monkeypatch, capsys, "train_detector.py", "--config", settings(tmp_path))
    assert "run src/02_extract_faces.py first" in said


def test_comparing_sources_needs_the_settings_of_learning_by_forging_and_the_tables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    name, path = "check_sources.py", settings(tmp_path)
    assert "frames.selfblend is not set" in ended(monkeypatch, capsys, name, "--config", path)
    path.write_text(path.read_text() + "\nframes: {selfblend: {}}\n")
    assert "videos.parquet does not exist" in ended(monkeypatch, capsys, name, "--config", path)


@pytest.mark.parametrize("name", ["measure_run.py", "ship_detector.py"])
def test_networks_clips_and_labels_that_are_missing_are_told_in_turn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    clips, labels = tmp_path / "clips", tmp_path / "labels.csv"
    given = ["--config", settings(tmp_path), "--clips", clips, "--labels", labels, "--cache", tmp_path / "cache"]
    given += ["--name", "mine"] if name == "ship_detector.py" else []
    said = ended(monkeypatch, capsys, name, *given, "--run", "first/500")
    assert said.startswith("error: run 'first/500'") and "src/train_detector.py --run first" in said
    network = tmp_path / "data/runs/first/frames/all/model.json"
    network.parent.mkdir(parents=True)
    network.touch()
    said = ended(monkeypatch, capsys, name, *given, "--run", "first")
    assert f"folder {str(clips)!r} does not exist" in said
    clips.mkdir()
    (clips / "a.mp4").touch()
    assert str(labels) in ended(monkeypatch, capsys, name, *given, "--run", "first")
    labels.write_text("file,label\nb.mp4,REAL\n")
    assert "no score matches a label" in ended(monkeypatch, capsys, name, *given, "--run", "first")


@pytest.mark.parametrize(
    ("name", "flag", "value"),
    [
        ("measure_run.py", "--frames", "0"),
        ("measure_run.py", "--frames", "many"),
        ("measure_run.py", "--pooling", "some"),
        ("ship_detector.py", "--name", "../elsewhere"),
        ("ship_detector.py", "--name", ""),
        ("train_detector.py", "--limit", "0"),
    ],
)
def test_a_wrong_argument_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str, flag: str, value: str
) -> None:
    said = ended(monkeypatch, capsys, name, "--config", "c.yaml", "--run", "r", f"{flag}={value}")
    assert f"argument {flag}" in said and repr(value) in said


def script(folder: Path, body: str) -> Path:
    path = folder / "command.py"
    path.write_text(
        f"import sys\nsys.path.insert(0, {str(SOURCES)!r})\nfrom deepfake.cli import guarded\n"
        f"from deepfake.config import UserError\n\ndef main():\n    {body}\n\nguarded(main)\n"
    )
    return path


def test_success_is_exit_code_0_and_an_own_code_is_kept(tmp_path: Path) -> None:
    assert run(script(tmp_path, "pass")).returncode == 0
    assert run(script(tmp_path, "return 4")).returncode == 4


def test_a_users_mistake_is_exit_code_2_without_a_traceback(tmp_path: Path) -> None:
    done = run(script(tmp_path, "raise UserError('video x: mend it')"))
    assert (done.returncode, done.stderr) == (2, "error: video x: mend it\n")


def test_our_own_mistake_keeps_its_traceback(tmp_path: Path) -> None:
    done = run(script(tmp_path, "raise ValueError('ours')"))
    assert done.returncode == 1 and "Traceback" in done.stderr


def test_a_folder_that_must_not_be_written_is_told_without_a_traceback(tmp_path: Path) -> None:
    done = run(script(tmp_path, "raise PermissionError(13, 'Permission denied', '/data')"))
    assert done.returncode == 2 and "Permission denied: '/data'" in done.stderr and "Traceback" not in done.stderr


def started(path: Path) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, str(path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_ctrl_c_is_exit_code_130_and_says_how_to_go_on(tmp_path: Path) -> None:
    # A command started in the background of a shell inherits a deaf ear to Ctrl-C.
    hears = "import signal, time; signal.signal(signal.SIGINT, signal.default_int_handler)"
    path = script(tmp_path, f"{hears}; print('ready', flush=True); time.sleep(60)")
    with started(path) as process:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
        os.kill(process.pid, signal.SIGINT)
        _, errors = process.communicate(timeout=30)
    assert process.returncode == 130 and "goes on from here" in errors and "Traceback" not in errors


def test_a_reader_that_leaves_ends_the_command_quietly(tmp_path: Path) -> None:
    path = script(tmp_path, "print('x\\n' * 1000000)")
    with started(path) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.wait(30) == 1
        assert "Traceback" not in process.stderr.read()


@pytest.mark.parametrize("text", ["", "0", "-1", "nan", "256", "1,x", "1,,2"])
def test_grey_levels_are_numbers_a_byte_can_differ_by(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="wanted grey levels above 0"):
        grey_levels(text)


def test_lists_between_commas_rise_and_hold_nothing_twice() -> None:
    assert grey_levels("4,0.5,4") == [0.5, 4.0]
    assert whole_numbers("32,1,32") == [1, 32]
    with pytest.raises(argparse.ArgumentTypeError, match="found 'x', wanted a whole number"):
        whole_numbers("1,x")


def test_a_view_is_read_and_told_alike() -> None:
    read = crop_view("1.5, 1.129,mirror")
    assert read == CropView(size_ratio=1.5, view_ratio=1.129, mirror=True)
    assert view_name(read) == "1.5,1.129,mirror"
    assert view_name(CropView()) == "1,1"
    blurred = crop_view("1,1, mirror, blur=0.025")
    assert blurred == CropView(mirror=True, surroundings_blur=0.025)
    assert view_name(blurred) == "1,1,mirror,blur=0.025"
    reduced = crop_view("1,1,px=240")
    assert reduced == CropView(crop_px=240)
    assert view_name(reduced) == "1,1,px=240"


def test_crops_are_seen_as_told_or_as_set_not_both() -> None:
    command = [sys.executable, str(PROJECT_ROOT / "src/measure_run.py"), "--view", "1,1", "--views-as-set"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "--views-as-set: not allowed with argument --view" in done.stderr


def test_a_member_without_its_detector_is_refused_in_words() -> None:
    command = [sys.executable, str(PROJECT_ROOT / "src/train_heads.py"), "--config", "configs/demo.yaml"]
    done = subprocess.run(
        [*command, "--member", "borders"], cwd=PROJECT_ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 2
    assert "--member borders: of which detector? Give --weights FILE, too" in done.stderr


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1",
        "1,x",
        "1,1,flip",
        "1,1,mirror,2",
        "0,1",
        "nan,1",
        "1,5",
        "1,1,blur",
        "1,1,blur=9",
        "1,1,blur=x",
        "1,1,mirror,mirror",
        "1,1,px",
        "1,1,px=8",
        "1,1,px=240,px=200",
    ],
)
def test_a_view_that_is_none_is_told_with_one_that_is(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match=r"wanted ratios from 0.25 to 4 such as"):
        crop_view(text)
