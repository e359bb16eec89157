"""The bundle a Kaggle notebook is given: the package, the weights, the settings and the wheels its image lacks.

It is laid out like the project, so that the package finds its settings in it as it does at home. Equal inputs give
equal bundles; MANIFEST.json has size and SHA-256 of every file.
"""

from __future__ import annotations

import json
import logging
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.tags import compatible_tags, cpython_tags
from packaging.utils import canonicalize_name, parse_wheel_filename

from deepfake.errors import UserError
from deepfake.files import PROJECT_ROOT, replace_folder, sha256_of, write_whole
from deepfake.kaggle.setup import FORMAT, MANIFEST, OPTIONAL, REQUIREMENTS
from deepfake.models.detector_file import read_header
from deepfake.settings import Kaggle
from deepfake.settings_file import load_config

PARTS = ("wheels", "src", "weights", "configs")
OLDEST_GLIBC = 17  # of manylinux2014
# The machine brings its own, for its own GPU: with CUDA they alone would fill three bundles.
OF_THE_MACHINE = ("torch", "torchvision")

Fetch = Callable[[str, str, str, Path], None]
WheelOf = Callable[[str, str, str], Path]  # of a package, its version and a Python
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class BundleFile:
    """A file of the bundle: its path below it, its size and its SHA-256."""

    path: str
    bytes: int
    sha256: str


def pins(requirements: str) -> dict[str, str]:
    """The version of each package that a requirements file pins exactly, by its normalised name."""
    matches = re.findall(r"^([A-Za-z0-9._-]+)==([^\s;#]+)", requirements, flags=re.MULTILINE)
    return {canonicalize_name(name): version for name, version in matches}


def with_dependencies(names: Iterable[str], without: Sequence[str] = ()) -> dict[str, str]:
    """Installed versions of packages and of all they need here, by name, except `without` and what only these need."""
    left_out = {canonicalize_name(name) for name in without}
    versions: dict[str, str] = {}
    waiting = [canonicalize_name(name) for name in names]
    while waiting:
        name = waiting.pop()
        if name in versions or name in left_out:
            continue
        try:
            package = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            raise UserError(f"package {name!r} is not installed here; run make setup") from None
        versions[name] = package.version
        needed = map(Requirement, package.requires or ())
        waiting += [canonicalize_name(r.name) for r in needed if not r.marker or r.marker.evaluate({"extra": ""})]
    return dict(sorted(versions.items()))


def chosen_wheels(settings: Kaggle, which: str, requirements: str) -> dict[str, str]:
    """Name and version of the packages to bundle, those among them that are optional.

    `which`: none; missing: those of the settings; all: everything but torch and torchvision, as installed here.
    """
    if which == "none":
        return {}
    if which == "all":
        return with_dependencies((*settings.wheels, *settings.optional_wheels, *settings.image_has), OF_THE_MACHINE)
    if which != "missing":
        raise UserError(f"--wheels {which!r}: wanted none, missing or all")
    pinned = pins(requirements)
    wanted = (*settings.wheels, *settings.optional_wheels)
    unknown = [name for name in wanted if canonicalize_name(name) not in pinned]
    if unknown:
        raise UserError(f"kaggle.wheels: requirements.txt pins no {unknown[0]!r}; pin it there or leave it out")
    return {name: pinned[name] for name in sorted(map(canonicalize_name, wanted))}


def find_wheel(folder: Path, name: str, version: str, python: str, glibc: str) -> Path | None:
    """A wheel of a package in a folder that Python `python` (such as 3.11) on x86-64 Linux can use, if there is one."""
    numbers = tuple(int(part) for part in python.split("."))
    platforms = [f"manylinux_2_{minor}_x86_64" for minor in range(int(glibc.partition(".")[2]), OLDEST_GLIBC - 1, -1)]
    platforms += ["manylinux2014_x86_64", "linux_x86_64"]
    fitting = {*cpython_tags(numbers, platforms=platforms), *compatible_tags(numbers, "cp", platforms)}
    for path in sorted(folder.glob("*.whl")):
        wheel_name, of_version, _, tags = parse_wheel_filename(path.name)
        if wheel_name == canonicalize_name(name) and str(of_version) == version and tags & fitting:
            return path
    return None


def download_wheel(name: str, version: str, python: str, folder: Path) -> None:
    """Let pip put a wheel that Python `python` on x86-64 Linux can use into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    platforms = [f"--platform={tag}_x86_64" for tag in ("manylinux_2_28", "manylinux_2_17", "manylinux2014", "linux")]
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--only-binary=:all:", f"--python-version={python}", *platforms, f"--dest={folder}"]
    done = subprocess.run([*command, f"{name}=={version}"], capture_output=True, text=True)
    if done.returncode:
        reason = " ".join(done.stderr.split())[-400:]
        raise UserError(f"wheel {name}=={version} for Python {python} could not be fetched: {reason}")


def build_bundle(
    config_path: Path, weights: Path, out: Path, which: str, wheel_cache: Path, fetch: Fetch = download_wheel
) -> list[BundleFile]:
    """Build the bundle aside and rename it to `out`; return its files in the manifest's order.

    Wheels (`which`: see `chosen_wheels`) that are not in `wheel_cache` yet are put there by `fetch`.
    """
    settings = load_config(config_path).kaggle
    if out.exists() and not (out / MANIFEST).is_file():
        raise UserError(f"{str(out)!r} is no bundle and would be replaced; give another --out or remove it")
    detector = str(read_header(weights)["name"])
    versions = chosen_wheels(settings, which, (PROJECT_ROOT / "requirements.txt").read_text())
    aside = out.with_name(f".{out.name}.part")
    shutil.rmtree(aside, ignore_errors=True)
    try:
        for path, target in [(config_path, "configs/kaggle.yaml"), *_own_files(weights)]:
            (aside / target).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, aside / target)
        here = f"{sys.version_info.major}.{sys.version_info.minor}"
        pythons = (here,) if which == "all" else settings.python_versions
        wheel_of = partial(_wheel, glibc=settings.glibc, wheel_cache=wheel_cache, fetch=fetch)
        _add_wheels(aside, versions, settings.optional_wheels, pythons, wheel_of)
        files = [_described(aside, path) for path in sorted(aside.rglob("*")) if path.is_file()]
        _refuse_too_large(files, settings.max_bundle_mb)
        manifest = {"format": FORMAT, "detector": detector, "files": [asdict(file) for file in files]}
        write_whole(aside / MANIFEST, (json.dumps(manifest, indent=1, sort_keys=True) + "\n").encode())
        replace_folder(aside, out)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return files


def _own_files(weights: Path) -> Iterator[tuple[Path, str]]:
    """Everything of this project that is copied, and its path in the bundle."""
    yield PROJECT_ROOT / "LICENSE", "LICENSE"
    yield weights, f"weights/{weights.name}"
    card = weights.with_suffix(".md")
    if card.is_file():
        yield card, f"weights/{card.name}"
    package = PROJECT_ROOT / "src/deepfake"
    for path in sorted(package.rglob("*")):
        below = path.relative_to(package)
        if path.is_file() and not any(part == "__pycache__" or part.startswith(".") for part in below.parts):
            yield path, f"src/deepfake/{below.as_posix()}"


def _add_wheels(
    bundle: Path, versions: dict[str, str], can_miss: Iterable[str], pythons: Sequence[str], wheel_of: WheelOf
) -> None:
    """Copy the wheels; write which of them the notebook needs, and which it can do without."""
    optional = {canonicalize_name(name) for name in can_miss}
    wheels = _wheels(versions, optional, pythons, wheel_of)
    for wheel in sorted({path for paths in wheels.values() for path in paths}):
        (bundle / "wheels").mkdir(exist_ok=True)
        shutil.copyfile(wheel, bundle / "wheels" / wheel.name)
    for target, names in ((REQUIREMENTS, versions.keys() - optional), (OPTIONAL, versions.keys() & optional)):
        lines = [f"{name}=={versions[name]}\n" for name in sorted(names) if wheels[name]]
        if lines or target == REQUIREMENTS:
            write_whole(bundle / target, "".join(lines).encode())


def _wheels(
    versions: dict[str, str], optional: Collection[str], pythons: Sequence[str], wheel_of: WheelOf
) -> dict[str, list[Path]]:
    """The wheels of each package for these Pythons; what is optional is left out, with a warning, where none is had."""
    wheels: dict[str, list[Path]] = {name: [] for name in versions}
    for name, version in versions.items():
        for python in pythons:
            try:
                wheels[name].append(wheel_of(name, version, python))
            except UserError as error:
                if name not in optional:
                    raise
                log.warning("%s is left out for Python %s, and the notebook does without: %s", name, python, error)
    return wheels


def _wheel(name: str, version: str, python: str, glibc: str, wheel_cache: Path, fetch: Fetch) -> Path:
    path = find_wheel(wheel_cache, name, version, python, glibc)
    if path is None:
        fetch(name, version, python, wheel_cache)
        path = find_wheel(wheel_cache, name, version, python, glibc)
    if path is None:
        raise UserError(
            f"wheel {name}=={version}: none in {wheel_cache} fits Python {python} on x86-64 Linux with glibc "
            f"{glibc}; change kaggle.python_versions or kaggle.glibc"
        )
    return path


def _described(root: Path, path: Path) -> BundleFile:
    return BundleFile(path.relative_to(root).as_posix(), path.stat().st_size, sha256_of(path))


def _refuse_too_large(files: Sequence[BundleFile], max_mb: int) -> None:
    if sum(file.bytes for file in files) > max_mb * 10**6:
        largest = sorted(files, key=lambda file: -file.bytes)[:3]
        sizes = ", ".join(f"{file.path} {file.bytes / 1e6:.0f} MB" for file in largest)
        raise UserError(f"the bundle would be larger than {max_mb} MB (kaggle.max_bundle_mb); the largest: {sizes}")


def size_table(files: Sequence[BundleFile]) -> str:
    """Files and megabytes of each part of the bundle, of each package among its wheels, and of the whole."""
    lines = [f"{'part':<18}{'files':>7}{'MB':>9}"]
    for part in (*PARTS, "all"):
        chosen = [file for file in files if part == "all" or file.path.startswith(f"{part}/")]
        lines.append(_row(part, chosen))
        if part == "wheels":
            wheels = [file for file in chosen if file.path.endswith(".whl")]
            for name in sorted({_package(file) for file in wheels}):
                lines.append(_row(f"  {name}", [file for file in wheels if _package(file) == name]))
    return "\n".join(lines)


def _package(wheel: BundleFile) -> str:
    return Path(wheel.path).name.partition("-")[0]


def _row(what: str, files: Sequence[BundleFile]) -> str:
    return f"{what:<18}{len(files):>7}{sum(file.bytes for file in files) / 1e6:>9.1f}"
