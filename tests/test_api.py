"""The public API: the example of every name runs, and importing the package costs nothing."""

from __future__ import annotations

import doctest
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import deepfake
from deepfake import api, files, tables
from deepfake.commands.main import main
from deepfake.files import PROJECT_ROOT
from drawn_faces import write_person
from invented_people import videos_frame, write_table

HEAVY = ("torch", "numpy", "pandas", "pydantic", "scipy", "cv2", "av", "timm", "yaml")
OF_THE_API = [name for name in deepfake.__all__ if getattr(deepfake, name).__module__ == "deepfake.api"]
EXAMPLES = [
    test
    for name in OF_THE_API
    for test in doctest.DocTestFinder().find(
        getattr(api, name), name, module=api, globs={"deepfake": deepfake, "json": json}
    )
    if test.examples
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("videos")
    write_person(made / "clip.mp4", 0)
    (made / "text.mp4").write_text("text\n")
    settings = {"dataset": "mine", "data_dir": str(made / "data")}
    (made / "mine.yaml").write_text(json.dumps(settings))
    write_table(tables.VIDEOS, videos_frame({"video_id": "clip.mp4", "n_frames": 24}), made / "data/work/mine")
    return made


@pytest.fixture(autouse=True)
def in_the_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setattr(api, "default_cache", lambda: folder / "cache")


def in_python(code: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(PROJECT_ROOT / "src")}
    command = [sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout


def test_importing_the_package_imports_no_library() -> None:
    loaded = set(in_python("import deepfake, sys; print(*sys.modules)").split())
    assert "deepfake" in loaded and "deepfake.api" not in loaded
    assert not loaded.intersection(HEAVY)


def test_describing_a_file_does_without_torch_and_pandas() -> None:
    code = "import deepfake, sys; print(deepfake.probe('clip.mp4').n_frames, *sys.modules)"
    n_frames, *loaded = in_python(code).split()
    assert n_frames == "24" and not {"torch", "pandas"}.intersection(loaded)


def test_all_public_names_are_there_and_no_module_hides_one() -> None:
    in_python("import deepfake.commands.main; from deepfake import *; assert callable(check) and callable(probe)")
    assert set(deepfake.__all__) <= set(dir(deepfake))
    modules = {path.stem for path in (PROJECT_ROOT / "src/deepfake").iterdir()}
    assert not modules.intersection(deepfake.__all__)
    with pytest.raises(AttributeError, match="no attribute 'chekc'"):
        deepfake.chekc  # noqa: B018


def test_every_public_name_of_the_api_has_an_example() -> None:
    assert set(OF_THE_API) == {
        *("Detector", "FaceTrack", "check", "find_faces", "load_detector", "open_video", "probe", "query")
    }
    assert {test.name for test in EXAMPLES} == {*OF_THE_API, "Detector.score", "FaceTrack.crops"}


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda test: test.name)
def test_the_examples_say_what_happens(example: doctest.DocTest) -> None:
    output: list[str] = []
    assert doctest.DocTestRunner().run(example, out=output.append).failed == 0, "".join(output)


def test_a_check_is_what_the_command_writes(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["check", "clip.mp4", "--json", "-", "--html", "page.html", "--cache", "cache2"])
    by_command = json.loads(capsys.readouterr().out)
    by_api = json.loads(deepfake.check("clip.mp4").to_json())
    assert ended.value.code == by_api["exit_code"]
    assert by_command["p_fake"] == pytest.approx(by_api["p_fake"], abs=1e-5)
    assert by_command["shots"][0]["tracks"][0]["n_frames"] == by_api["shots"][0]["tracks"][0]["n_frames"]


def test_a_program_without_a_main_guard_may_check_and_keeps_its_own_cache(folder: Path) -> None:
    program = folder / "program.py"
    program.write_text("import deepfake\nprint('once', len(deepfake.find_faces('clip.mp4', 'mine')))\n")
    environment = {**os.environ, "PYTHONPATH": str(PROJECT_ROOT / "src")}
    done = subprocess.run([sys.executable, program], capture_output=True, text=True, env=environment, cwd=folder)
    assert done.stdout == "once 1\n", done.stderr
    assert any((folder / "mine").rglob("*.tar"))


def test_tracks_are_those_of_the_check_and_their_crops_those_it_was_made_from() -> None:
    (track,) = deepfake.find_faces(Path("clip.mp4"))
    ((shot, checked),) = deepfake.check("clip.mp4").tracks
    assert (track.shot, track.track, len(track.faces)) == (shot.shot, checked.track, checked.n_frames)
    assert track.times_s == pytest.approx([frame.time_s for frame in checked.frames], abs=1e-3)
    assert np.allclose(track.boxes_px, [frame.box_px for frame in checked.frames], atol=0.06)
    assert all(0 <= score <= 1 for score in track.scores)
    crops = list(track.crops())
    assert len(crops) == len(track.faces) and crops[0].dtype == np.uint8 and crops[0].std() > 10


def test_mistakes_are_errors_in_words() -> None:
    for call in (deepfake.check, deepfake.find_faces):
        with pytest.raises(deepfake.UserError, match=r"video 'absent\.mp4' does not exist"):
            call("absent.mp4")
    with pytest.raises(deepfake.UserError, match="is a folder"):
        deepfake.find_faces(".")
    for call in (deepfake.find_faces, deepfake.probe, deepfake.open_video):
        with pytest.raises(deepfake.VideoError, match="found text"):
            call("text.mp4")
    with pytest.raises(deepfake.UserError, match="do not exist"):
        deepfake.load_detector("absent.safetensors")


def test_a_detector_is_loaded_once_for_many_videos(monkeypatch: pytest.MonkeyPatch) -> None:
    detector = deepfake.load_detector()
    assert repr(detector) == f"<deepfake.Detector 'selfblend' of {str(detector.path)!r}>"
    first = detector.score("clip.mp4")
    monkeypatch.setattr("deepfake.detector.file.open_detector", None)
    assert detector.score("clip.mp4") == first == deepfake.check("clip.mp4", detector)
    assert detector.score("text.mp4").p_fake is None


def test_what_is_kept_lies_in_the_project_or_with_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    assert files.default_cache() == PROJECT_ROOT / "data/work/predict"
    assert files.default_checks() == PROJECT_ROOT / "data/work/checks"
    monkeypatch.setattr(files, "IN_SOURCE_TREE", False)
    monkeypatch.setenv("XDG_CACHE_HOME", "/var/cache/me")
    assert files.default_cache() == Path("/var/cache/me/deepfake")
    assert files.default_checks().name == "deepfake-checks"
    assert files.current_commit() == f"version {deepfake.__version__}", "the current folder is another repository"
