"""What the scores of one kind of video depend on: where they come from, how large and how compressed they are.

A detector should give real videos one spread of scores, whoever filmed them. Measured per column of the labels, against
shuffles of people: of a few sources some always lie higher than others.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import rankdata

from deepfake.check import VideoFacts
from deepfake.config import UserError
from deepfake.evaluation import Labelled, Matched, bootstrap_groups, check_columns, pair
from deepfake.file_facts import describe_path
from deepfake.index import find_videos, video_id_of
from deepfake.video import VideoError

SHUFFLES = 2000
PARTS = 3  # of a column of numbers, with as many videos each
MEASURED = ("width_px", "height_px", "fps", "n_frames", "bits_per_pixel", "codec", "container")
log = logging.getLogger(__name__)


def with_facts(matched: Matched, folder: Path) -> Matched:
    """The same with the columns MEASURED, read from the video files below a folder.

    Empty for a file that is not there or cannot be read.
    """
    paths = {video_id_of(path, folder): path for path in find_videos(folder)}
    try:
        found = {video.name: paths[video_id] for video, video_id in pair(paths, matched.videos)[0]}
    except UserError as error:  # its "scores" are the files here
        raise UserError(f"--videos {folder}: {str(error).replace('scores have', 'the folder has')}") from None
    videos = []
    for video in matched.videos:
        facts = _facts(found[video.name]) if video.name in found else None
        told = {name: str(getattr(facts, name)) if facts else "" for name in MEASURED}
        videos.append(replace(video, columns={**video.columns, **told}))
    n_empty = sum(not video.columns[MEASURED[0]] for video in videos)
    if n_empty == len(videos):
        raise UserError(f"--videos {folder}: none of the {n_empty} scored and labelled videos can be read there")
    if n_empty:
        log.warning("--videos %s: %d of %d videos are not there or cannot be read", folder, n_empty, len(videos))
    return replace(matched, videos=videos)


def _facts(path: Path) -> VideoFacts | None:
    try:
        return describe_path(path)
    except VideoError:
        return None


def measure_dependence(
    matched: Matched, label: int, columns: Sequence[str], seed: int, clip_p: float
) -> dict[str, dict[str, Any]]:
    """How strongly the logits of the videos of one label depend on each column, as plain values for JSON.

    Of a column of numbers: Spearman's rank correlation; of any other: the share of the variance that lies
    between its values. One person (column identity) counts once a value. `p_value` is the share of shuffles
    of the column that give as much or more, `by_chance` what they give on average.
    """
    check_columns(matched, columns, "--dependence")
    chosen = [i for i, video in enumerate(matched.videos) if video.label == label]
    videos, p = [matched.videos[i] for i in chosen], matched.p[chosen]
    clipped = np.clip(p, clip_p, 1 - clip_p)
    logits = np.log(clipped / (1 - clipped))
    people = bootstrap_groups(videos)[1]
    return {column: _of_column(videos, p, logits, people, column, seed) for column in columns}


def _of_column(
    videos: Sequence[Labelled], p: np.ndarray, logits: np.ndarray, people: Sequence[str], column: str, seed: int
) -> dict[str, Any]:
    cells = [video.columns[column].strip() for video in videos]
    filled = [i for i, cell in enumerate(cells) if cell]
    numbers = _numbers([cells[i] for i in filled])
    kind = "values" if numbers is None else "number"
    units: dict[tuple[str, str], list[int]] = {}
    for i in filled:
        units.setdefault((people[i], cells[i] if numbers is None else ""), []).append(i)
    mean_logit = np.array([logits[rows].mean() for rows in units.values()])
    rng = np.random.default_rng(seed)
    if numbers is None:
        codes = np.unique([value for _, value in units], return_inverse=True)[1]
        found = _by_values(mean_logit, codes, rng)
        parts = {cell: [i for i in filled if cells[i] == cell] for cell in sorted({cells[i] for i in filled})}
    else:
        number_of = dict(zip(filled, numbers, strict=True))
        means = np.array([np.mean([number_of[i] for i in rows]) for rows in units.values()])
        found = _by_number(mean_logit, means, rng)
        parts = _thirds(number_of)
    return {
        "kind": kind,
        "n_videos": len(filled),
        "n_empty": len(cells) - len(filled),
        "n_units": len(units),
        **found,
        "parts": [
            {
                "value": value,
                "n_videos": len(rows),
                "mean_p": float(p[rows].mean()),
                "share_above_half": float((p[rows] > 0.5).mean()),
            }
            for value, rows in parts.items()
        ],
    }


def _numbers(cells: Sequence[str]) -> list[float] | None:
    """The cells as numbers, None where one is none."""
    try:
        found = [float(cell) for cell in cells]
    except ValueError:
        return None
    return found if found and all(map(math.isfinite, found)) else None


def _thirds(number_of: Mapping[int, float]) -> dict[str, list[int]]:
    """Rows by their number, in parts of equal count; equal numbers stay together."""
    order = sorted(number_of, key=lambda i: (number_of[i], i))
    edges = {number_of[part[-1]] for part in np.array_split(np.array(order), PARTS) if len(part)}
    parts: dict[str, list[int]] = {}
    low = -math.inf
    for high in sorted(edges):
        rows = [i for i in order if low < number_of[i] <= high]
        parts[f"{number_of[rows[0]]:g} to {number_of[rows[-1]]:g}"] = rows
        low = high
    return parts


NOTHING: dict[str, float | None] = {"strength": None, "by_chance": None, "p_value": None}


def _by_values(logits: np.ndarray, codes: np.ndarray, rng: np.random.Generator) -> dict[str, float | None]:
    total = float(((logits - logits.mean()) ** 2).sum()) if len(logits) else 0.0
    counts = np.bincount(codes) if len(codes) else np.zeros(0)
    if not 1 < len(counts) < len(logits) or total <= 0:
        return NOTHING  # one value, or a value for each: nothing to compare within

    def between(order: np.ndarray) -> float:
        sums = np.bincount(order, weights=logits)
        return float(((sums / counts - logits.mean()) ** 2 * counts).sum() / total)

    return _against_shuffles(between(codes), [between(rng.permutation(codes)) for _ in range(SHUFFLES)])


def _by_number(logits: np.ndarray, numbers: np.ndarray, rng: np.random.Generator) -> dict[str, float | None]:
    if len(np.unique(numbers)) < 2 or len(np.unique(logits)) < 2:
        return NOTHING
    ranks, others = rankdata(numbers), rankdata(logits)
    ranks, others = (values - values.mean() for values in (ranks, others))
    scale = math.sqrt(float((ranks**2).sum() * (others**2).sum()))
    shuffled = [abs(float(rng.permutation(ranks) @ others)) / scale for _ in range(SHUFFLES)]
    return _against_shuffles(float(ranks @ others) / scale, shuffled)


def _against_shuffles(found: float, shuffled: Sequence[float]) -> dict[str, float | None]:
    # Shuffles that give the very same arrangement must count, whatever the order of their sums.
    as_much = sum(value >= abs(found) - 1e-12 for value in shuffled)
    return {
        "strength": found,
        "by_chance": float(np.mean(shuffled)),
        "p_value": (1 + as_much) / (1 + len(shuffled)),
    }
