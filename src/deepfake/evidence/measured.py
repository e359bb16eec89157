"""Signs of many checks against labels: how often real and forged videos have one, and what its strength is worth.

What `deepfake evaluate --evidence` prints. Checks are the JSON files that `deepfake check --evidence` writes.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from deepfake.detector.check import Check, Sign
from deepfake.errors import UserError
from deepfake.evaluation import bootstrap
from deepfake.evaluation.evaluate import bootstrap_groups
from deepfake.evaluation.labelled import Labelled, pair
from deepfake.evaluation.text_tables import aligned, show
from deepfake.settings import Ensemble, Validation

REMEDY = "make it with `deepfake check --evidence --json FILE`"
Evidence = Mapping[str, tuple[Sign, ...]]  # by the file's path as the check has it


@dataclass(frozen=True)
class Rate:
    """How many of so many videos have a sign, with the interval of Clopper and Pearson."""

    n_with: int
    n: int
    low: float
    high: float


@dataclass(frozen=True)
class SignMeasure:
    """What one kind of sign says of real and forged videos; `auc` of its strength, 0 where a video has it not."""

    kind: str
    real: Rate
    forged: Rate
    auc: Mapping[str, Any]


def read_evidence(paths: Sequence[Path]) -> Evidence:
    """The signs of checks out of JSON files, each of one check or a list, or of all JSON files of a folder."""
    files = [file for path in paths for file in (sorted(path.glob("*.json")) if path.is_dir() else [path])]
    if not files:
        raise UserError(f"{', '.join(map(repr, map(str, paths)))}: no JSON file there; {REMEDY}")
    found: dict[str, tuple[Sign, ...]] = {}
    for file in files:
        for check in _checks(file):
            name, known = check.file.path, found.get(check.file.path)
            if check.evidence is None:
                raise UserError(f"{file}: {name!r} was checked without evidence; {REMEDY}")
            if known is not None and known != check.evidence:
                raise UserError(f"{file}: {name!r} was checked before with other evidence; give one check a video")
            found[name] = check.evidence
    return found


def _checks(file: Path) -> list[Check]:
    try:
        values = json.loads(file.read_bytes())
    except OSError as error:
        raise UserError(f"{file}: {error.strerror or error}; {REMEDY}") from None
    except ValueError:
        raise UserError(f"{file}: not JSON; {REMEDY}") from None
    rows = values if isinstance(values, list) else [values]
    version = Check.model_fields["schema_version"].default
    for row in rows:
        if not isinstance(row, dict) or "schema_version" not in row:
            raise UserError(f"{file}: JSON of another kind, wanted a check; {REMEDY}")
        if row["schema_version"] != version:
            raise UserError(f"{file}: a check of version {row['schema_version']!r}, wanted {version}; {REMEDY}")
    try:
        return [Check.model_validate(row) for row in rows]
    except ValidationError as error:
        where = ".".join(str(part) for part in error.errors()[0]["loc"])
        raise UserError(f"{file}: no whole check ({where}: {error.errors()[0]['msg']}); {REMEDY}") from None


def measure_signs(evidence: Evidence, labelled: Sequence[Labelled], settings: Validation) -> dict[str, Any]:
    """Every kind of sign that stands in a check of a labelled video, as plain values for JSON."""
    pairs, unlabelled = pair(evidence, labelled)
    videos, signs = [video for video, _ in pairs], [evidence[name] for _, name in pairs]
    labels = np.array([video.label for video in videos])
    resampled_by, groups = bootstrap_groups(videos)
    kinds = sorted({sign.kind for own in signs for sign in own})
    return {
        "n_videos": len(videos),
        "n_real": int((labels == 0).sum()),
        "n_forged": int(labels.sum()),
        "resampled_by": resampled_by,
        "n_resamples": settings.bootstrap,
        "unlabelled": unlabelled,
        "signs": [asdict(_measure(kind, signs, labels, groups, settings)) for kind in kinds],
    }


def _measure(
    kind: str, signs: Sequence[Iterable[Sign]], labels: np.ndarray, groups: Sequence[str], settings: Validation
) -> SignMeasure:
    own = [[sign.strength for sign in of_one if sign.kind == kind] for of_one in signs]
    has = np.array([bool(strengths) for strengths in own])
    strengths = np.array([max(strengths, default=0.0) for strengths in own])
    auc = bootstrap.measure(labels, strengths, groups, settings, Ensemble().clip_p)["roc_auc"]
    return SignMeasure(kind, rate_of(has[labels == 0]), rate_of(has[labels == 1]), auc.to_dict())


def rate_of(has: np.ndarray, confidence: float = bootstrap.CONFIDENCE) -> Rate:
    """How many of these have it (booleans)."""
    from scipy.stats import beta

    n_with, n = int(has.sum()), len(has)
    tail = (1 - confidence) / 2
    low = float(beta.ppf(tail, n_with, n - n_with + 1)) if n_with else 0.0
    high = float(beta.ppf(1 - tail, n_with + 1, n - n_with)) if n_with < n else 1.0
    return Rate(n_with, n, low, high)


def text_of(result: Mapping[str, Any]) -> str:
    """The measured signs as text for a terminal."""
    lines = [
        f"{result['n_videos']} videos: {result['n_real']} real, {result['n_forged']} forged. "
        f"Intervals: 95 %; of the AUC by {result['n_resamples']} resamples (one {result['resampled_by']} each)."
    ]
    if result["unlabelled"]:
        lines.append(f"{len(result['unlabelled'])} checks have no label")
    if not result["signs"]:
        return "\n".join([*lines, "no check has a sign"]) + "\n"
    rows = [[row["kind"], _shown(row["real"]), _shown(row["forged"]), show(row["auc"], 2)] for row in result["signs"]]
    table = aligned([["sign", "real with it", "forged with it", "AUC of its strength"], *rows], "lllx")
    return "\n".join([*lines, "", *table]) + "\n"


def _shown(rate: Mapping[str, Any]) -> str:
    share = f"{rate['n_with'] / rate['n']:.2f}" if rate["n"] else "-"
    return f"{rate['n_with']} of {rate['n']}: {share} [{rate['low']:.2f}, {rate['high']:.2f}]"
