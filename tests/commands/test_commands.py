"""Commands: help at once, mistakes in a sentence, exit codes that mean something."""

import argparse
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from deepfake.commands.arguments import crop_view, grey_levels, view_name, whole_numbers
from deepfake.commands.main import COMMANDS as DEEPFAKE
from deepfake.commands.main import dispatch
from deepfake.settings import CropView
from lab.__main__ import COMMANDS as LAB
from run_command import ENVIRONMENT, SOURCES, run

STAGES = sorted(path.name for path in SOURCES.glob("*.py"))
PROGRAMS = {"deepfake": DEEPFAKE, "lab": LAB}
EVERY = [*STAGES, *(f"{program}.{name}" for program, commands in PROGRAMS.items() for name in commands)]
# What takes longer to import than `--help` may take.
HEAVY = (
    "torch",
    "timm",
    "pandas",
    "numpy",
    "scipy",
    "sklearn",
    "numba",
    "matplotlib",
    "cv2",
    "pydantic",
    "pyarrow",
    "av",
)


def settings(folder: Path) -> Path:
    path = folder / "mine.yaml"
    lines = [f"data_dir: {folder / 'data'}", f"submissions_dir: {folder / 'sub'}", f"index: {{root: {folder / 'raw'}}}"]
    path.write_text("\n".join(["dataset: mine", *lines]))
    return path


@pytest.mark.parametrize("name", EVERY)
def test_every_command_says_how_it_is_used(name: str) -> None:
    done = run(name, "--help")
    assert done.returncode == 0 and "usage:" in done.stdout and not done.stderr


@pytest.mark.parametrize("program", PROGRAMS)
def test_no_help_waits_for_a_heavy_library(program: str) -> None:
    modules = [f"{program}.commands.{name.replace('-', '_')}" for name in PROGRAMS[program]]
    code = f"import importlib, sys\nfor name in {modules}: importlib.import_module(name).arguments()\n"
    code += f"print([name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=ENVIRONMENT)
    assert done.stdout == "[]\n", done.stderr


@pytest.mark.parametrize("program", PROGRAMS)
def test_the_list_of_commands_is_that_of_the_files(program: str) -> None:
    files = {path.stem for path in (SOURCES / program / "commands").glob("*.py")}
    with_flags = {name for name in files if "def arguments(" in (SOURCES / program / f"commands/{name}.py").read_text()}
    assert with_flags == {name.replace("-", "_") for name in PROGRAMS[program]}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["chekc"], "there is no command 'chekc'; did you mean check?"),
        (["xyz"], "wanted one of check, predict"),
        ([], "usage: deepfake COMMAND"),
    ],
)
def test_a_command_that_is_none_is_answered_with_those_there_are(arguments: list[str], words: str) -> None:
    command = [sys.executable, "-m", "deepfake", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT)
    assert done.returncode == 2 and words in done.stderr + done.stdout


@pytest.mark.parametrize("name", [name for name in STAGES if name[:2].isdigit()])
def test_every_stage_has_the_same_flags(name: str) -> None:
    shown = run(name, "--help").stdout
    for flag in ("--config", "--set", "--run", "--limit", "--force"):
        assert flag in shown


def test_a_missing_settings_file_is_a_sentence_and_exit_code_2(tmp_path: Path) -> None:
    done = run("01_index_videos.py", "--config", tmp_path / "none.yaml")
    assert done.returncode == 2
    assert done.stderr.startswith("error: settings file") and "Traceback" not in done.stderr


def test_a_missing_input_and_a_missing_folder_are_exit_code_2(tmp_path: Path) -> None:
    done = run("03_make_folds.py", "--config", settings(tmp_path))
    assert done.returncode == 2 and "run src/01_index_videos.py first" in done.stderr
    done = run("01_index_videos.py", "--config", settings(tmp_path))
    assert done.returncode == 2 and "set index.root" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize("limit", ["0", "-1", "many", "1.5", "²"])
def test_a_limit_is_a_whole_number_from_1(tmp_path: Path, limit: str) -> None:
    done = run("03_make_folds.py", "--config", settings(tmp_path), f"--limit={limit}")
    assert done.returncode == 2 and "Traceback" not in done.stderr


def test_a_stage_runs_says_its_settings_and_is_up_to_date_the_second_time(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "bad.mp4").write_bytes(b"no video")
    command = ("01_index_videos.py", "--config", settings(tmp_path), "--set", "index.deadline_s=30")
    first, second, forced = run(*command), run(*command), run(*command, "--force")
    assert first.returncode == 0, first.stderr
    assert "test_folders" in first.stdout and "done in" in first.stdout and "bad 1" in first.stdout
    assert second.returncode == 0 and "up to date" in second.stdout and "done in" not in second.stdout
    assert "done in" in forced.stdout


def ended(capsys: pytest.CaptureFixture[str], name: str, *arguments: object) -> str:
    """What a command says before it ends with exit code 2; run here, because every process would load torch anew."""
    program, _, command = name.partition(".")
    with pytest.raises(SystemExit) as end:
        dispatch(program, f"{program}.commands", "", PROGRAMS[program], [command, *map(str, arguments)])
    assert end.value.code == 2
    return capsys.readouterr().err


@pytest.mark.parametrize("name", ["deepfake.train", "lab.measure", "deepfake.ship"])
def test_commands_of_the_detector_name_a_settings_file_that_is_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    more = () if name == "deepfake.train" else ("--run", "r", "--clips", tmp_path, "--labels", tmp_path / "l.csv")
    more = (*more, "--name", "n") if name == "deepfake.ship" else more
    said = ended(capsys, name, "--config", tmp_path / "none.yaml", *more)
    assert said.startswith("error: settings file") and "does not exist" in said


def test_a_detector_is_not_trained_before_the_tables_are_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = ended(capsys, "deepfake.train", "--config", settings(tmp_path))
    assert said.startswith("error: train:") and "run src/01_index_videos.py first" in said
    (tmp_path / "data/work/mine").mkdir(parents=True)
    (tmp_path / "data/work/mine/videos.parquet").touch()
    said = ended(capsys, "deepfake.train", "--config", settings(tmp_path))
    assert "run src/02_extract_faces.py first" in said


def test_comparing_sources_needs_the_settings_of_learning_by_forging_and_the_tables(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name, path = "lab.check-sources", settings(tmp_path)
    assert "frames.selfblend is not set" in ended(capsys, name, "--config", path)
    path.write_text(path.read_text() + "\nframes: {selfblend: {}}\n")
    assert "videos.parquet does not exist" in ended(capsys, name, "--config", path)


@pytest.mark.parametrize("name", ["lab.measure", "deepfake.ship"])
def test_networks_clips_and_labels_that_are_missing_are_reported_in_turn(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    clips, labels = tmp_path / "clips", tmp_path / "labels.csv"
    given = ["--config", settings(tmp_path), "--clips", clips, "--labels", labels, "--cache", tmp_path / "cache"]
    given += ["--name", "mine"] if name == "deepfake.ship" else []
    said = ended(capsys, name, *given, "--run", "first/500")
    assert said.startswith("error: run 'first/500'") and "deepfake train --run first" in said
    network = tmp_path / "data/runs/first/frames/all/model.json"
    network.parent.mkdir(parents=True)
    network.touch()
    said = ended(capsys, name, *given, "--run", "first")
    assert f"folder {str(clips)!r} does not exist" in said
    clips.mkdir()
    (clips / "a.mp4").touch()
    assert str(labels) in ended(capsys, name, *given, "--run", "first")
    labels.write_text("file,label\nb.mp4,REAL\n")
    assert "no score matches a label" in ended(capsys, name, *given, "--run", "first")


@pytest.mark.parametrize(
    ("name", "flag", "value"),
    [
        ("lab.measure", "--frames", "0"),
        ("lab.measure", "--frames", "many"),
        ("lab.measure", "--pooling", "some"),
        ("deepfake.ship", "--name", "../elsewhere"),
        ("deepfake.ship", "--name", ""),
        ("deepfake.train", "--limit", "0"),
    ],
)
def test_a_wrong_argument_is_named(capsys: pytest.CaptureFixture[str], name: str, flag: str, value: str) -> None:
    said = ended(capsys, name, "--config", "c.yaml", "--run", "r", f"{flag}={value}")
    assert f"argument {flag}" in said and repr(value) in said


@pytest.mark.parametrize("step", ["", "b", "-1", "1.5", "²"])
def test_the_step_of_a_snapshot_to_adopt_is_a_number(capsys: pytest.CaptureFixture[str], step: str) -> None:
    said = ended(capsys, "deepfake.adopt", "--config", "c.yaml", "--snapshot", "s", "--run", f"a/{step}")
    assert f"--run a/{step}: wanted NAME, or NAME/STEP" in said


@pytest.mark.parametrize("output", ["scores.csv", "labels.csv"])
def test_an_evaluation_is_not_written_over_what_it_reads(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], output: str
) -> None:
    (tmp_path / "scores.csv").write_text("filename,label\na.mp4,0.2\n")
    (tmp_path / "labels.csv").write_text("file,label\na.mp4,REAL\n")
    before = (tmp_path / output).read_bytes()
    given = ("--scores", tmp_path / "scores.csv", "--labels", tmp_path / "labels.csv", "--json", tmp_path / output)
    assert "would be written over" in ended(capsys, "deepfake.evaluate", *given)
    assert (tmp_path / output).read_bytes() == before


@pytest.mark.parametrize(
    ("flag", "value", "message"),
    [
        ("--workers", "-1", "wanted a whole number from 1"),
        ("--workers", "0", "wanted a whole number from 1"),
        ("--out", "{folder}", "is a folder; name a file"),
        ("--out", "{folder}/a.mp4/x.csv", "a.mp4' is a file; name a file elsewhere"),
        ("--out", "-", "name a file"),
        ("--out", "{folder}/a.mp4", "is read by this command and would be written over"),
        ("--cache", "{folder}/a.mp4", "is a file; name a folder"),
    ],
)
def test_a_folder_run_refuses_wrong_arguments_before_it_loads_anything(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], flag: str, value: str, message: str
) -> None:
    (tmp_path / "a.mp4").write_bytes(b"mine")
    given = {"--cache": tmp_path / "cache", "--out": tmp_path / "p.csv", flag: value.format(folder=tmp_path)}
    said = ended(capsys, "deepfake.predict", tmp_path, *(word for pair in given.items() for word in pair))
    assert message in said and (tmp_path / "a.mp4").read_bytes() == b"mine"
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]


def execute(path: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, str(path)], capture_output=True, text=True, timeout=120)


def script(folder: Path, body: str) -> Path:
    path = folder / "command.py"
    path.write_text(
        f"import sys\nsys.path.insert(0, {str(SOURCES)!r})\nfrom deepfake.commands.guard import guarded\n"
        f"from deepfake.errors import UserError\n\ndef main():\n    {body}\n\nguarded(main)\n"
    )
    return path


def test_success_is_exit_code_0_and_an_own_code_is_kept(tmp_path: Path) -> None:
    assert execute(script(tmp_path, "pass")).returncode == 0
    assert execute(script(tmp_path, "return 4")).returncode == 4


def test_a_users_mistake_is_exit_code_2_without_a_traceback(tmp_path: Path) -> None:
    done = execute(script(tmp_path, "raise UserError('video x: mend it')"))
    assert (done.returncode, done.stderr) == (2, "error: video x: mend it\n")


def test_our_own_mistake_keeps_its_traceback(tmp_path: Path) -> None:
    done = execute(script(tmp_path, "raise ValueError('ours')"))
    assert done.returncode == 1 and "Traceback" in done.stderr


def test_a_folder_that_must_not_be_written_is_reported_without_a_traceback(tmp_path: Path) -> None:
    done = execute(script(tmp_path, "raise PermissionError(13, 'Permission denied', '/data')"))
    assert (done.returncode, done.stderr) == (2, "error: /data: Permission denied; name another place\n")


def started(path: Path) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, str(path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_ctrl_c_is_exit_code_130_and_says_how_to_go_on(tmp_path: Path) -> None:
    # A command started in the background of a shell inherits a deaf ear to Ctrl-C.
    handler = "import signal, time; signal.signal(signal.SIGINT, signal.default_int_handler)"
    path = script(tmp_path, f"{handler}; print('ready', flush=True); time.sleep(60)")
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


def test_a_view_is_read_and_written_alike() -> None:
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


def test_crops_are_seen_as_asked_or_as_set_not_both() -> None:
    done = run("lab.measure", "--view", "1,1", "--views-as-set")
    assert done.returncode == 2
    assert "--views-as-set: not allowed with argument --view" in done.stderr


def test_a_member_without_its_detector_is_refused_in_words() -> None:
    done = run("deepfake.train-heads", "--config", "configs/demo.yaml", "--member", "borders")
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
def test_a_view_that_is_none_is_refused_with_one_that_is(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match=r"wanted ratios from 0.25 to 4 such as"):
        crop_view(text)
