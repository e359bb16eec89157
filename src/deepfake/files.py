"""Whole files: their hash, writing them, and the state of the project they were made with."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path

from deepfake import __version__
from deepfake.errors import UserError

PACKAGE = Path(__file__).resolve().parent
IN_SOURCE_TREE = PACKAGE.parent.name == "src"
# In a source tree (src/deepfake) the folder above src, wherever a command is started; else the current folder.
PROJECT_ROOT = PACKAGE.parent.parent if IN_SOURCE_TREE else Path.cwd()
BLOCK_BYTES = 1 << 20
MOST_NAME_BYTES = 230  # of 255 in all: a mark, a process and an ending are added
END_BYTES = 1 << 16
PART = re.compile(r"\.(?P<name>.+)\.(?P<pid>[1-9][0-9]*)\.part", re.DOTALL)
CLOCKS_DIFFER_S = 2.0  # the time of a file, and that since the machine was started
State = tuple[int, ...]


def digest(value: object) -> str:
    """SHA-256 (64 hex digits) of a plain value; equal values give equal digests."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def sha256_of(path: Path) -> str:
    """SHA-256 (64 hex digits) of a file's bytes, read in blocks."""
    hasher = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(BLOCK_BYTES):
            hasher.update(block)
    return hasher.hexdigest()


def state_of(path: Path) -> State:
    """What changes when a file is changed or another takes its place; OSError for what is no regular file.

    The time of change of the inode cannot be set, as `cp -p` and `rsync -t` set that of the content.
    """
    state = path.stat()
    if not stat.S_ISREG(state.st_mode):
        raise OSError(errno.EINVAL, "no regular file", str(path))
    return state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns


def packaged_file(package: str, name: str, remedy: str, sha256: str | None = None) -> Path:
    """Where a file of an installed package lies that is only read, never imported.

    UserError where the package is missing, or the file another than the one of that digest; `remedy` says what to do.
    """
    # Here, as in `current_commit`: --help waits for no import that it can spare.
    from importlib.metadata import PackageNotFoundError, files

    try:
        (path,) = (Path(str(entry.locate())) for entry in files(package) or () if str(entry) == name)
        digest_here = sha256_of(path)
    except (PackageNotFoundError, ValueError, OSError):
        raise UserError(f"{name}: the package {package} is not installed here; {remedy}") from None
    if sha256 is not None and digest_here != sha256:
        raise UserError(f"{path}: not the file of the version of {package} that was tried here; {remedy}")
    return path


def visible_files(root: Path) -> Iterator[Path]:
    """All files below a folder, in no fixed order; linked folders are entered once, hidden names are left out."""
    return (path for path in files_below(root) if not path.name.startswith("."))


def files_below(root: Path, on_error: Callable[[OSError], None] | None = None) -> Iterator[Path]:
    """The same with hidden files, not with what lies in hidden folders.

    Folders that cannot be listed are handed to `on_error`.
    """
    seen = {os.path.realpath(root)}
    for folder, below, names in os.walk(root, onerror=on_error, followlinks=True):
        real = {name: os.path.realpath(Path(folder) / name) for name in below if not name.startswith(".")}
        below[:] = sorted(name for name, place in real.items() if place not in seen)  # a link may lead back
        seen.update(real.values())
        yield from (Path(folder) / name for name in names)


def printable(value: object, instead: str | None = None) -> str:
    """A text on one line: what does not print is shown by its escape, or by `instead`."""
    return "".join(c if c.isprintable() else _escaped(c) if instead is None else instead for c in str(value))


def _escaped(character: str) -> str:
    return character.encode("unicode_escape", "backslashreplace").decode()


def part_beside(path: Path) -> Path:
    """Where a file is written before it is renamed into place."""
    return path.with_name(f".{_part_name(path)}.{os.getpid()}.part")


def _part_name(path: Path) -> str:
    return path.name if len(os.fsencode(path.name)) <= MOST_NAME_BYTES else digest(path.name)


def write_whole(path: Path, data: bytes) -> None:
    """Write a file aside, flush it to the disk and rename it into place; an OSError names it.

    What killed processes left of the same file goes.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        remove_stale_parts(path)
        try:
            _write_aside(path, data)
        except FileNotFoundError:
            # To another machine or container that shares the folder this process is none, so its part is a stale one.
            _write_aside(path, data)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A place aside of a file, to be written within the `with`; then it is flushed and renamed into place.

    For what is too large for `write_whole`. An error leaves nothing of it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_stale_parts(path)
    aside = part_beside(path)
    try:
        yield aside
        with aside.open("rb") as stream:
            os.fsync(stream.fileno())
        aside.replace(path)
    finally:
        with suppress(OSError):
            aside.unlink()


def _write_aside(path: Path, data: bytes) -> None:
    aside = part_beside(path)
    try:
        with aside.open("wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        aside.replace(path)
    finally:
        with suppress(OSError):
            aside.unlink()


def remove_whole(path: Path) -> None:
    """Remove a file that `write_whole` wrote, if it is there, and what killed processes left of it."""
    path.unlink(missing_ok=True)
    remove_stale_parts(path)


def remove_stale_parts(path: Path) -> None:
    """Remove what killed processes began to write aside of this one file; that of living ones stays."""
    for part, pid in _parts_in(path.parent, os.getpid()).get(_part_name(path), ()):
        with suppress(OSError):
            if not _is_being_written(part, pid):
                part.unlink()


@lru_cache(maxsize=1024)
def _parts_in(folder: Path, _pid: int) -> Mapping[str, Sequence[tuple[Path, int]]]:
    """Parts in a folder and the processes they are of, by `_part_name`.

    Listed once by a process: folders of a cache hold a file a video, and are written to as often.
    """
    parts: dict[str, list[tuple[Path, int]]] = {}
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            match = PART.fullmatch(entry.name) if entry.name.endswith(".part") else None
            if match:
                parts.setdefault(match["name"], []).append((folder / entry.name, int(match["pid"])))
    return parts


def _is_being_written(part: Path, pid: int) -> bool:
    """Whether its process lives; not another one that has got the same number since."""
    import psutil  # not needed by --help

    try:
        process = psutil.Process(pid)
        began, is_dead = process.create_time(), process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
    except psutil.Error:
        return True
    return not is_dead and bool(began <= part.stat().st_mtime + CLOCKS_DIFFER_S)


def replace_folder(aside: Path, out: Path) -> None:
    """Put a folder that was built aside in the place of another; what a stopped replacement left goes, too."""
    old = out.with_name(f".{out.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if out.exists():
        out.rename(old)
    aside.rename(out)
    shutil.rmtree(old, ignore_errors=True)


def default_cache() -> Path:
    """Where crops and scores are kept if nothing else was said: in a source tree below data, else with the user's."""
    return PROJECT_ROOT / "data/work/predict" if IN_SOURCE_TREE else user_cache(os.environ, Path.home()) / "deepfake"


def user_cache(environment: Mapping[str, str], home: Path, on_windows: bool = os.name == "nt") -> Path:
    """Where a user's programs keep what they can make again."""
    named = Path(environment.get("LOCALAPPDATA" if on_windows else "XDG_CACHE_HOME", ""))
    if named.is_absolute():  # the XDG specification: a relative one is to be ignored
        return named
    return home / ("AppData/Local" if on_windows else ".cache")


def default_checks() -> Path:
    """Where the pages of `deepfake check` go if nothing else was said."""
    return PROJECT_ROOT / ("data/work/checks" if IN_SOURCE_TREE else "deepfake-checks")


def probe_note(path: Path, cache_dir: Path) -> Path:
    """Where the row of a probed file is kept: by its path, its state, and its first and last bytes.

    The bytes are for file systems without inodes of their own, such as a memory stick's.
    """
    state = state_of(path)
    return cache_dir / "probes" / f"{digest([os.fsencode(path.absolute()).hex(), state, _ends(path)])[:32]}.json"


def _ends(path: Path) -> str:
    with path.open("rb") as stream:
        first = stream.read(END_BYTES)
        stream.seek(max(stream.seek(0, os.SEEK_END) - END_BYTES, 0))
        return hashlib.sha256(first + stream.read(END_BYTES)).hexdigest()


def current_commit() -> str:
    """The project's git commit (12 digits), with -dirty where tracked files differ from it; unknown outside git.

    Of an installed package its version: the current folder may be a repository, but it is another one.
    """
    if not IN_SOURCE_TREE:
        return f"version {__version__}"
    import subprocess

    try:
        command = ["git", "-C", str(PROJECT_ROOT), "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=20).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return "unknown"
