"""How a video's score bears many faces: real crowds, and crowds with one forged face, of 1 to 9 clips of one face each.

`simulated` puts scores together: each clip's logit by a stack that was fitted on the other half of the people.
`Grids` puts pictures together: the crops of several clips side by side, as a call shows them, written as a video and
checked. Letters: D draws, N faces.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from tqdm import tqdm

from deepfake.detector.check import FORGED, REAL, level_of
from deepfake.detector.fitting import cross_fitted
from deepfake.detector.labelled_clips import HALVES, Clips
from deepfake.ensemble.pooling import Tracks, of_crowd
from deepfake.ensemble.stack import neutral_logit
from deepfake.errors import UserError
from deepfake.evaluation.ranking import rank_auc
from deepfake.faces.crop_store import read_crop
from deepfake.media.clips import write_clip
from deepfake.settings import Ensemble

TILE_PX, GAP_PX, FPS = 256, 8, 4.0
Rule = Callable[[np.ndarray, float], np.ndarray]


def _worst(logits_DN: np.ndarray, _: float) -> np.ndarray:
    return np.asarray(logits_DN.max(axis=1))


def _shipped(logits_DN: np.ndarray, neutral: float) -> np.ndarray:
    n_draws, n_faces = logits_DN.shape
    rows = np.repeat(np.arange(n_draws), n_faces)
    return of_crowd(logits_DN.ravel(), np.ones(logits_DN.size, bool), rows, neutral)


def _power(power: float) -> Rule:
    """The mean of the odds' powers: 1 is what is shipped, a large one the worst face alone."""

    def rule(logits_DN: np.ndarray, neutral: float) -> np.ndarray:
        scaled = power * (logits_DN - neutral)
        return np.asarray(neutral + (np.logaddexp.reduce(scaled, axis=1) - np.log(scaled.shape[1])) / power)

    return rule


RULES: Mapping[str, Rule] = {"worst face": _worst, "power 4": _power(4), "power 2": _power(2), "shipped": _shipped}


def single_logits(tracks: Tracks, clips: Clips, settings: Ensemble) -> pd.DataFrame:
    """Columns video_id, label, logit, half of the clips of one judged face; no stack saw the label of its clips."""
    p = cross_fitted(tracks, clips, settings)
    logits = np.log(p / (1 - p))
    one = [video_id for video_id, n in zip(tracks.video_ids, np.bincount(tracks.video_K), strict=True) if n == 1]
    table = pd.DataFrame(
        {"video_id": clips.video_ids, "label": clips.labels, "logit": logits, "half": clips.halves % HALVES}
    )
    return table[table["video_id"].isin(set(one))].reset_index(drop=True)


def simulated(
    singles: pd.DataFrame, band: tuple[float, float], prior: float, sizes: Sequence[int], n_draws: int, seed: int = 0
) -> pd.DataFrame:
    """A row a rule and crowd size: shares of crowds above and below the `band`, and the AUC of one fake among reals."""
    rng, neutral = np.random.default_rng(seed), neutral_logit(prior)
    reals, fakes = (singles.loc[singles["label"] == label, "logit"].to_numpy() for label in (0, 1))
    if len(reals) < max(sizes) or not len(fakes):
        raise UserError(f"crowds: {len(reals)} reals and {len(fakes)} fakes of one face; wanted {max(sizes)} and 1")
    low, high = (np.log(bound / (1 - bound)) for bound in band)
    rows = []
    for n in sizes:
        real_DN = np.stack([rng.choice(reals, n, replace=False) for _ in range(n_draws)])
        fake_DN = np.column_stack([rng.choice(fakes, n_draws), real_DN[:, 1:]])
        for name, rule in RULES.items():
            real, fake = rule(real_DN, neutral), rule(fake_DN, neutral)
            rows.append(
                {
                    "rule": name,
                    "faces": n,
                    "real, forged": float((real > high).mean()),
                    "real, real": float((real < low).mean()),
                    "one fake, forged": float((fake > high).mean()),
                    "one fake, real": float((fake < low).mean()),
                    "auc": rank_auc(real, fake),
                }
            )
    return pd.DataFrame(rows).sort_values(["rule", "faces"], kind="stable").reset_index(drop=True)


@dataclass(frozen=True)
class Grid:
    """One composed video: its file, the clips in it, and whether the first of them is forged."""

    path: Path
    clips: tuple[str, ...]
    is_fake: bool


def draw_grids(singles: pd.DataFrame, counts: Mapping[int, int], folder: Path, seed: int = 0) -> list[Grid]:
    """For each number of faces so many grids of reals, and as many with one forged face among them."""
    rng = np.random.default_rng(seed)
    reals, fakes = (singles.loc[singles["label"] == label, "video_id"].to_numpy() for label in (0, 1))
    grids = []
    for n, count in counts.items():
        for number in range(count):
            chosen = rng.choice(reals, n, replace=False).tolist()
            forged = [str(rng.choice(fakes)), *chosen[1:]]
            for is_fake, clips in ((False, chosen), (True, forged)):
                path = folder / f"{n}-{number:02d}-{'fake' if is_fake else 'real'}.mp4"
                grids.append(Grid(path, tuple(clips), is_fake))
    return grids


def write_grid(grid: Grid, clips: Clips, n_frames: int) -> None:
    """Write the crops of its clips side by side, the forged one at a place that its name decides."""
    shown = list(grid.clips)
    place = sum(grid.path.stem.encode()) % len(shown)
    shown[0], shown[place] = shown[place], shown[0]
    strips = [_tiles(clips, video_id, n_frames) for video_id in shown]
    write_clip(grid.path, _frames(strips, n_frames), FPS, options={"g": "8"})


def _tiles(clips: Clips, video_id: str, n_frames: int) -> list[np.ndarray]:
    rows = clips.faces[clips.faces["video_id"] == video_id].head(n_frames)
    made = []
    for shard, offset, size in rows[["shard", "offset", "size"]].itertuples(index=False):
        crop = read_crop(clips.cache_dir, shard, offset, size)
        made.append(cv2.resize(crop, (TILE_PX, TILE_PX), interpolation=cv2.INTER_AREA))
    return made


def _frames(strips: Sequence[Sequence[np.ndarray]], n_frames: int) -> Iterator[np.ndarray]:
    """Frame by frame all tiles in rows of at most three; a clip that is over begins anew."""
    columns = min(len(strips), 2 if len(strips) <= 4 else 3)
    height, step = -(-len(strips) // columns), TILE_PX + GAP_PX
    for index in range(n_frames):
        sheet = np.full((height * step + GAP_PX, columns * step + GAP_PX, 3), 40, np.uint8)
        for place, strip in enumerate(strips):
            y, x = (GAP_PX + step * part for part in divmod(place, columns))
            sheet[y : y + TILE_PX, x : x + TILE_PX] = strip[index % len(strip)]
        yield sheet


def tally(grids: Sequence[Grid], results: Mapping[str, tuple[float, float, int]], band: tuple[float, float]) -> str:
    """A Markdown row for each number of faces; `results` by file: p_fake, the worst face's, faces counted."""
    lines = [
        "| faces | grids | counted | reals forged / real | worst face alone | with a fake forged / real "
        "| worst face alone | AUC | worst |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for n in sorted({len(grid.clips) for grid in grids}):
        own = [grid for grid in grids if len(grid.clips) == n and grid.path.name in results]
        p, alone, counted = (np.array([results[grid.path.name][i] for grid in own]) for i in range(3))
        fake = np.array([grid.is_fake for grid in own])
        cells = [f"{len(own)}", f"{counted.mean():.1f}"]
        for chosen in (~fake, fake):
            cells += [_sides(values[chosen], band) for values in (p, alone)]
        cells += [f"{rank_auc(values[~fake], values[fake]):.2f}" for values in (p, alone)]
        lines.append(f"| {n} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _sides(p: np.ndarray, band: tuple[float, float]) -> str:
    levels = [level_of(float(one), *band) for one in p]
    return f"{levels.count(FORGED)} / {levels.count(REAL)} of {len(p)}"


def compose(grids: Sequence[Grid], clips: Clips, n_frames: int) -> None:
    """Write the grids that are not there yet."""
    for grid in tqdm(grids, desc="grids", unit="grid", disable=None):
        if not grid.path.is_file():
            write_grid(grid, clips, n_frames)
