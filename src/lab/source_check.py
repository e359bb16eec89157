"""Whether real and fake are separated by what their source left on them (quality, not forgery).

A small classifier sees a few statistics of each picture, never the picture. What it learns, a network
would learn first and would be wrong by elsewhere. A new statistic is a line in `statistics`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np
import pandas as pd
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from deepfake.errors import UserError
from deepfake.forging.mixture import Made, Mixture

SPECTRUM_PX = 128
FOLDS = 5


def statistics(crop_HWC: np.ndarray) -> dict[str, float]:
    """Colour, sharpness, noise, blockiness, spectrum and repeated edges of a picture (uint8 RGB)."""
    luma = cv2.cvtColor(crop_HWC, cv2.COLOR_RGB2GRAY).astype(np.float32)
    channels = crop_HWC.reshape(-1, 3)
    dark, light = np.percentile(luma, [2, 98])
    laplacian = cv2.Laplacian(luma, cv2.CV_32F)
    # Diagonal detail: faces have little of it, noise as much as of any other.
    diagonal = cv2.filter2D(luma, cv2.CV_32F, np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32) / 6)
    slope, fine_share = _spectrum(luma)
    values = dict(zip(("red", "green", "blue"), channels.mean(0).tolist(), strict=True))
    return values | {
        "contrast": float(luma.std()),
        "dark": float(dark),
        "light": float(light),
        "saturation": float((channels.max(1).astype(np.float32) - channels.min(1)).mean()),
        "sharpness": float(np.log(laplacian.var() + 1e-3)),
        "noise": float(np.median(np.abs(diagonal))),
        "blockiness": _blockiness(luma),
        "spectrum_slope": slope,
        "fine_share": fine_share,
        "repeated_edges": _repeated_edges(luma),
    }


def _spectrum(luma: np.ndarray) -> tuple[float, float]:
    """Fall of the power by frequency (both as logarithms) and the share above half of the highest frequency."""
    side = min(SPECTRUM_PX, *luma.shape)
    top, left = (luma.shape[0] - side) // 2, (luma.shape[1] - side) // 2
    window = np.hanning(side)[:, None] * np.hanning(side)[None]
    part = luma[top : top + side, left : left + side]
    power = np.abs(np.fft.rfft2((part - part.mean()) * window)) ** 2
    radius = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None])
    edges = np.geomspace(2 / side, 0.5, 12)
    bands = np.digitize(radius.ravel(), edges)
    levels = np.array([power.ravel()[bands == band].mean() for band in range(1, 12) if (bands == band).any()])
    logs = np.log(levels + 1e-3)
    fine = power[radius > 0.25].sum() / max(power[radius > 0].sum(), 1e-9)
    return float(np.polyfit(np.arange(len(logs)), logs, 1)[0]), float(np.log(fine + 1e-7))


def _blockiness(luma: np.ndarray) -> float:
    """Steps across the strongest grid of 8 pixels over the usual step, on both axes."""
    ratios = []
    for steps in (np.abs(np.diff(luma, axis=1)).mean(0), np.abs(np.diff(luma, axis=0)).mean(1)):
        phases = [steps[phase::8].mean() for phase in range(8)]
        ratios.append(max(phases) / (np.median(phases) + 0.1))
    return float(np.mean(ratios))


def _repeated_edges(luma: np.ndarray) -> float:
    """Share of rows and columns, from the borders inwards, that repeat their neighbour."""
    repeated = 0
    for steps in (np.abs(np.diff(luma, axis=0)).mean(1), np.abs(np.diff(luma, axis=1)).mean(0)):
        for inwards in (steps, steps[::-1]):
            moves = np.flatnonzero(inwards > 0.7)
            repeated += int(moves[0]) if len(moves) else len(inwards)
    return repeated / (sum(luma.shape) * 2)


@dataclass(frozen=True)
class Separation:
    """How well real and fake items of a kind are separated; `auc` by classifier, 0.5 is chance.

    `error` is one standard error of an AUC at chance, `best` the single statistic that separates best, with its AUC.
    """

    kind: str
    n_items: int
    auc: dict[str, float]
    error: float
    best: tuple[str, float]


def measure(items: Iterable[Made]) -> pd.DataFrame:
    """Two rows an item: kind, owner, is_fake and the statistics of what the network sees."""
    rows = [
        {"kind": made.kind, "owner": owner, "is_fake": is_fake, **statistics(seen)}
        for made in items
        for is_fake, (owner, seen) in enumerate(zip(made.owners, made.seen, strict=True))
    ]
    return pd.DataFrame(rows)


def separations(table: pd.DataFrame, seed: int = 0) -> list[Separation]:
    """Cross-validated AUC for each kind of item; an owner's pictures are never on both sides."""
    return [_separation(str(kind), rows, seed) for kind, rows in table.groupby("kind", sort=True)]


def _separation(kind: str, rows: pd.DataFrame, seed: int) -> Separation:
    values = rows.drop(columns=["kind", "owner", "is_fake"])
    labels, owners = rows["is_fake"].to_numpy(), rows["owner"].to_numpy()
    n_items = int(labels.sum())
    owners_of_each = min(len(set(owners[labels == label])) for label in (0, 1))
    if owners_of_each < FOLDS:
        raise UserError(
            f"{kind}: {owners_of_each} people or videos with real or with fake pictures, wanted at least {FOLDS}"
        )
    classifiers = {
        "linear": make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)),
        "forest": RandomForestClassifier(60, min_samples_leaf=5, random_state=seed, n_jobs=1),
    }
    auc = {name: _held_out_auc(classifier, values, labels, owners, seed) for name, classifier in classifiers.items()}
    single = {name: float(roc_auc_score(labels, values[name])) for name in values}
    best = max(single, key=lambda name: (abs(single[name] - 0.5), name))
    return Separation(kind, n_items, auc, float(np.sqrt(1 / (6 * n_items))), (best, single[best]))


def _held_out_auc(classifier: object, values: pd.DataFrame, labels: np.ndarray, owners: np.ndarray, seed: int) -> float:
    """Mean over the folds: logits of two classifiers are not on one scale."""
    aucs_and_sizes = []
    for learn, held in StratifiedGroupKFold(FOLDS, shuffle=True, random_state=seed).split(values, labels, owners):
        if len(set(labels[held])) < 2:
            continue
        fitted = classifier.fit(values.iloc[learn], labels[learn])  # type: ignore[attr-defined]
        aucs_and_sizes.append((roc_auc_score(labels[held], fitted.predict_proba(values.iloc[held])[:, 1]), len(held)))
    aucs, weights = zip(*aucs_and_sizes, strict=True)
    return float(np.average(aucs, weights=weights))


def check(mixture: Mixture, n_items: int, seed: int = 0) -> list[Separation]:
    """Measure so many items of each kind; kinds follow the mixture's own shares otherwise."""
    left = dict.fromkeys(mixture.kinds, n_items)
    items = []
    for number in range(100 * n_items):
        kind = mixture.kind_of((0, number))
        if left[kind]:
            left[kind] -= 1
            items.append(mixture.make((0, number)))
        if not any(left.values()):
            break
    return separations(measure(items), seed)


def text_report(rows: list[Separation]) -> str:
    """The figures for a person."""
    lines = [f"{'kind':8} {'items':>6} {'linear':>7} {'forest':>7} {'chance':>13}  best separated by"]
    for row in rows:
        chance = f"0.500 +-{row.error:.3f}"
        lines.append(
            f"{row.kind:8} {row.n_items:6} {row.auc['linear']:7.3f} {row.auc['forest']:7.3f} {chance:>13}  "
            f"{row.best[0]} ({row.best[1]:.3f})"
        )
    return "\n".join(lines)
