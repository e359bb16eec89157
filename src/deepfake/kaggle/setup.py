"""What the Kaggle notebook does before the package can score: check the bundle, install its wheels, find the folders.

Imports nothing that the bundle brings itself.
"""

from __future__ import annotations

import hashlib
import json
import logging
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deepfake.errors import UserError

MANIFEST = "MANIFEST.json"
REQUIREMENTS = "wheels/requirements.txt"
OPTIONAL = "wheels/optional.txt"  # what the notebook can do without
FORMAT = 1
KAGGLE = Path("/kaggle")
DEPTHS = ("*", "*/*", "*/*/*")  # where an attached data set may lie below /kaggle/input
TEST_VIDEOS, SAMPLE = "test_videos", "sample_submission.csv"
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Places:
    """Where the notebook reads and writes.

    `work` keeps crops and scores, for a notebook that is run again; `out` gets submission.csv and details.csv.
    """

    bundle: Path
    competition: Path
    work: Path
    out: Path


def check_bundle(bundle: Path) -> dict[str, Any]:
    """The manifest of a bundle whose every file has the size and SHA-256 it lists."""
    try:
        manifest: dict[str, Any] = json.loads((bundle / MANIFEST).read_text())
    except (OSError, ValueError) as error:
        raise UserError(f"bundle {str(bundle)!r}: {MANIFEST} cannot be read ({error}); upload it again") from None
    if manifest.get("format") != FORMAT:
        raise UserError(f"bundle {str(bundle)!r}: format {manifest.get('format')!r}, wanted {FORMAT}; run make kaggle")
    for file in manifest["files"]:
        path = bundle / file["path"]
        if not path.is_file():
            raise UserError(f"bundle {str(bundle)!r}: {file['path']!r} is missing; upload the whole folder again")
        data = path.read_bytes()
        if hashlib.sha256(data).hexdigest() != file["sha256"]:
            raise UserError(
                f"bundle {str(bundle)!r}: {file['path']!r} has {len(data)} bytes that are not the {file['bytes']} that "
                "were built; upload it again"
            )
    return manifest


def install(bundle: Path) -> list[str]:
    """Install the bundle's wheels without a network and without touching anything else; return what was installed.

    What is optional and does not fit this Python is left out, with a warning.
    """
    wanted = (bundle / REQUIREMENTS).read_text().split()
    python = ".".join(map(str, sys.version_info[:2]))
    remedy = f"put '{python}' into kaggle.python_versions of configs/kaggle.yaml, run make kaggle and upload it again"
    if wanted and (reason := _refused_by_pip(bundle, wanted)):
        raise UserError(f"the bundle's wheels cannot be installed into this Python {python}: {reason}; {remedy}")
    optional = (bundle / OPTIONAL).read_text().split() if (bundle / OPTIONAL).is_file() else []
    for name in optional:
        if reason := _refused_by_pip(bundle, [name]):
            log.warning("going on without %s, which cannot be installed here: %s; %s", name, reason, remedy)
        else:
            wanted.append(name)
    return wanted


def _refused_by_pip(bundle: Path, wanted: Sequence[str]) -> str:
    """Why pip cannot install these of the bundle's wheels; empty where it did."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-index"]
    # --no-deps: whatever else they need is in the image already, in the image's own versions.
    command += ["--no-deps", "--find-links", str(bundle / "wheels"), *wanted]
    done = subprocess.run(command, capture_output=True, text=True)
    return (" ".join(done.stderr.split())[-300:] or f"exit code {done.returncode}") if done.returncode else ""


def find_places(bundle: Path, environment: Mapping[str, str], kaggle: Path = KAGGLE) -> Places:
    """The folders; DEEPFAKE_COMPETITION, DEEPFAKE_WORK and DEEPFAKE_OUT name others than Kaggle's."""
    named = {
        name: Path(environment[f"DEEPFAKE_{name}"])
        for name in ("COMPETITION", "WORK", "OUT")
        if environment.get(f"DEEPFAKE_{name}")
    }
    competition = named.get("COMPETITION") or _find_competition(kaggle / "input")
    for wanted in (competition / TEST_VIDEOS, competition / SAMPLE):
        if not wanted.exists():
            raise UserError(f"competition folder {str(competition)!r}: it has no {wanted.name}")
    out = named.get("OUT") or (kaggle / "working" if (kaggle / "working").is_dir() else Path.cwd())
    # Beside working, whose files would all become outputs of the notebook.
    return Places(bundle, competition, named.get("WORK") or kaggle / "tmp/deepfake", out)


def _find_competition(inputs: Path) -> Path:
    folders = [path.parent for depth in DEPTHS for path in sorted(inputs.glob(f"{depth}/{TEST_VIDEOS}"))]
    folders = [path for path in folders if (path / SAMPLE).is_file()]
    if len(folders) == 1:
        return folders[0]
    listed = _listed(folders) if folders else f"{_listed(sorted(inputs.glob('*')))} attached"
    raise UserError(
        f"{len(folders)} folders below {inputs} hold {TEST_VIDEOS} and {SAMPLE} ({listed}); attach the competition's "
        "data, or name its folder in the environment variable DEEPFAKE_COMPETITION"
    )


def _listed(paths: Iterable[Path]) -> str:
    return ", ".join(path.name for path in paths) or "nothing"
