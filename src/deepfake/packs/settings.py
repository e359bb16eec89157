"""Settings of a training from a pack: plain values, checked here, for a machine without a settings library."""

from __future__ import annotations

import difflib
import re
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import yaml

from deepfake.errors import UserError
from deepfake.packs.folds import ALL, FOLDS, MOST_FOLDS

HULLS = ("five_points", "mesh")
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)[eE][+-]?\d+")
PRECISIONS = ("auto", "fp32", "bf16")
# name: (least, most) of a number.
RANGES: dict[str, tuple[float, float]] = {
    "input_px": (32, 1024),
    "view_ratio": (0.2, 1),
    "zoom": (0, 0.7),
    "hull_jitter": (0, 0.5),
    "min_face_px": (0, 1000),
    "photo_share": (0, 1),
    "forged_share": (0, 1),
    "fold": (ALL, MOST_FOLDS - 1),
    "folds": (2, MOST_FOLDS),
    "damage": (0, 1.5),
    "damage_start": (-1, 1.5),
    "pairs": (0, 10**9),
    "pairs_per_batch": (1, 4096),
    "learning_rate": (1e-9, 1),
    "backbone_rate_ratio": (1e-3, 1),
    "weight_decay": (0, 1),
    "warmup_ratio": (0, 1),
    "label_smoothing": (0, 0.49),
    "sam_radius": (0, 1),
    "pair_weight": (0, 10),
    "boundary_weight": (0, 10),
    "dropout": (0, 0.99),
    "ema_decay": (0, 0.99999),
    "seed": (0, 2**31),
    "snapshots": (0, 8),
    "validations": (1, 1000),
    "validation_clips": (0, 10**6),
}


@dataclass(frozen=True)
class PackTraining:
    """One training; the families' shares are of `forging.families.FAMILIES`."""

    backbone: str = "tf_efficientnet_lite0"
    start: str = "pack"  # pack: its weights; random; else the path of a snapshot to go on from
    input_px: int = 224
    view_ratio: float = 0.7  # middle part of a stored picture, of twice the face, that is seen
    zoom: float = 0.15  # how much larger or smaller it may be, as a natural logarithm
    hulls: str = "five_points"  # mesh: the face's own outline, where one was found
    hull_jitter: float = 0.0  # of an own outline's scale; above 0 its parts are drawn, too
    min_face_px: int = 0  # photos with a smaller face are not learnt from; frames of clips are
    photo_share: float = 0.57  # the rest are frames of real clips, people drawn alike
    forged_share: float = 0.0  # of pairs: a forged clip's picture and a real one's; the rest is forged here
    fold: int = ALL  # of sources, is never learnt from and alone measured on where forged clips are learnt from
    folds: int = FOLDS  # that the sources are dealt to
    families: Mapping[str, float] = field(
        default_factory=lambda: {"self_blend": 0.5, "cross_identity": 0.2, "lip_sync": 0.15, "local_warp": 0.15}
    )
    damage: float = 0.6  # how often pictures are damaged; 1 is the usual
    damage_start: float = -1.0  # at the beginning, then evenly to `damage`; below 0: the same all the time
    h264: bool = False  # needs PyAV; a few milliseconds a pair
    pairs: int = 0  # to learn from at most; 0: as many as fit into the time
    pairs_per_batch: int = 16
    learning_rate: float = 1e-3
    backbone_rate_ratio: float = 1.0
    weight_decay: float = 0.03
    warmup_ratio: float = 0.03
    label_smoothing: float = 0.02
    sam_radius: float = 0.0
    pair_weight: float = 0.0
    boundary_weight: float = 0.3
    dropout: float = 0.2
    ema_decay: float = 0.999
    precision: str = "auto"  # auto: bf16 where it is fast
    seed: int = 0
    validations: int = 6  # evenly over the training, beside one before it
    snapshots: int = 6  # are kept of the last validations; files of at most 16 MiB, for two backbones of Lite
    validation_clips: int = 0  # of each family and of the reals; 0: all


def _hint(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(known), n=1)
    return f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}"


def parse_settings(values: Mapping[str, Any], where: str) -> PackTraining:
    """Settings of plain values; all that is wrong is told at once."""
    types = typing.get_type_hints(PackTraining)
    known = [item.name for item in fields(PackTraining)]
    problems = [f"{name}: no such setting; {_hint(str(name), known)}" for name in values if name not in known]
    kept: dict[str, Any] = {}
    for name in [name for name in known if name in values]:
        value = _number(values[name]) if types[name] is float else values[name]
        problem = _problem(name, value, types[name])
        if problem:
            problems.append(f"{name}: found {value!r}; {problem}")
        kept[name] = float(value) if types[name] is float and not problem else value
    fold, folds = kept.get("fold", ALL), kept.get("folds", FOLDS)
    if not problems and fold >= folds:
        problems.append(f"fold: found {fold}; wanted a number from {ALL} to {folds - 1}, for there are {folds} folds")
    if problems:
        raise UserError(f"{where}: {len(problems)} wrong\n  " + "\n  ".join(problems))
    return PackTraining(**kept)


def _number(value: Any) -> Any:
    """YAML takes 1e-3 for text, as it wants a point in such a number; people do not."""
    if not isinstance(value, str) or not NUMBER.fullmatch(value):
        return value
    return float(value)


def _problem(name: str, value: Any, kind: Any) -> str | None:
    if kind is bool or isinstance(value, bool):
        return None if kind is bool and isinstance(value, bool) else f"wanted {getattr(kind, '__name__', kind)}"
    if kind in (int, float):
        low, high = RANGES[name]
        if not isinstance(value, int if kind is int else (int, float)) or not low <= value <= high:
            return f"wanted {'a whole number' if kind is int else 'a number'} from {low:g} to {high:g}"
        return None
    if kind is str:
        choices = {"hulls": HULLS, "precision": PRECISIONS}.get(name)
        if not isinstance(value, str) or (choices and value not in choices):
            return f"wanted {' or '.join(choices) if choices else 'text'}"
        return None
    shares = value if isinstance(value, Mapping) else {}
    if (
        not shares
        or not all(isinstance(s, (int, float)) and s >= 0 for s in shares.values())
        or not sum(shares.values())
    ):
        return "wanted shares of families, one above 0"
    return None


def with_overrides(values: Mapping[str, Any], overrides: Iterable[str]) -> dict[str, Any]:
    """Plain values with `key=value` laid over them; a value is read as YAML."""
    result = dict(values)
    for text in overrides:
        key, equals, value = text.partition("=")
        if not equals:
            raise UserError(f"--set {text!r}: wanted key=value, for example input_px=288")
        result[key.strip()] = read_plain(value, f"--set {text!r}")
    return result


def read_plain(text: str, where: str) -> Any:
    """YAML as plain values."""
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UserError(f"{where}: not valid YAML ({' '.join(str(error).split())[:120]})") from None


@dataclass(frozen=True)
class Plan:
    """Trainings one after the other, by name; a name also names its files."""

    trials: Mapping[str, PackTraining]


def read_plan(path: Path, overrides: Iterable[str] = ()) -> Plan:
    """A YAML file with `trials`, each a few settings that differ, and `common`, those of all."""
    try:
        values = read_plain(path.read_text(encoding="utf-8"), f"plan {str(path)!r}")
    except OSError as error:
        raise UserError(f"plan {str(path)!r}: {error.strerror}") from None
    trials = values.get("trials") if isinstance(values, dict) else None
    odd = sorted(set(values) - {"common", "trials"}) if isinstance(values, dict) else []
    if not isinstance(trials, dict) or not trials or odd:
        raise UserError(
            f"plan {str(path)!r}: wanted `common` and `trials` (name: settings){'; found ' + str(odd) if odd else ''}"
        )
    bad = [name for name in trials if not str(name).replace("_", "").replace("-", "").isalnum()]
    if bad:
        raise UserError(
            f"plan {str(path)!r}: trial {bad[0]!r}: wanted letters, digits, - and _, for files are named so"
        )
    common = with_overrides(values.get("common") or {}, overrides)
    return Plan(
        {
            str(name): parse_settings({**common, **(own or {})}, f"plan {str(path)!r}, trial {name!r}")
            for name, own in trials.items()
        }
    )
