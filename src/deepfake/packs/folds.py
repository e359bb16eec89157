"""Which clips of a pack are learnt from and which only measured on, and which real picture goes beside a forged one.

Clips of a fold share no publisher, person or generator with those of the others. Letters: N faces.
"""

from __future__ import annotations

import numpy as np

from deepfake.errors import UserError
from deepfake.packs.file import LEARN, VALIDATE, Pack
from deepfake.training.source_groups import deal_folds, plain_generator

FOLDS, MOST_FOLDS = 5, 10
ALL = -1  # no fold is left out


def left_out(pack: Pack, fold: int, n_folds: int = FOLDS) -> np.ndarray:
    """Whether each face of the pack (N,) is of a clip of this fold of `n_folds`; of none where `fold` is ALL."""
    held = np.zeros(len(pack.faces), bool)
    if fold == ALL:
        return held
    clips = pack.faces[pack.faces["kind"] == "clip"].drop_duplicates("clip").rename(columns={"owner": "identity"})
    in_fold = deal_folds(clips.reset_index(drop=True), n_folds) == fold
    held[:] = pack.faces["clip"].isin(set(clips["clip"].to_numpy()[in_fold]))
    return held


def measured_rows(pack: Pack, fold: int, forged_are_learnt: bool, n_folds: int = FOLDS) -> np.ndarray:
    """Rows of the faces to measure on: all of that role, or those of the fold; none where every clip is learnt from."""
    rows = pack.rows(VALIDATE)
    if not forged_are_learnt:
        return rows
    return np.asarray(rows[left_out(pack, fold, n_folds)[rows]])


class ForgedClips:
    """Forged clips of a pack to learn from, each beside a real one: generators are drawn alike, whatever they made."""

    def __init__(self, pack: Pack, fold: int, n_folds: int = FOLDS) -> None:
        faces = pack.faces
        known = (faces["kind"] == "clip") & ~left_out(pack, fold, n_folds)
        forged = np.flatnonzero(known & (faces["label"] == 1))
        real = np.flatnonzero(known & (faces["label"] == 0) & faces["role"].isin((LEARN, VALIDATE)))
        if not len(forged) or not len(real):
            raise UserError(
                f"pack: {len(forged)} pictures of forged and {len(real)} of real clips to learn from with "
                f"forged_share above 0 and fold={fold}; wanted both. Bring another part, or set forged_share=0"
            )
        generators = [plain_generator(str(name)) for name in faces["generator"].to_numpy()[forged]]
        self._forged = _grouped(forged, generators)
        self._sources = faces["source"].astype(str).to_numpy()
        self._clips = faces["clip"].astype(str).to_numpy()
        self._real = _grouped(real, self._sources[real].tolist())

    def draw(self, rng: np.random.Generator) -> tuple[int, int]:
        """Rows of a real and of a forged picture: of one source where it has both, else of any, sources drawn alike."""
        forged = self._picture(self._forged[_any(sorted(self._forged), rng)], rng)
        source = self._sources[forged]
        if source not in self._real:
            source = _any(sorted(self._real), rng)
        return self._picture(self._real[source], rng), forged

    def _picture(self, rows: np.ndarray, rng: np.random.Generator) -> int:
        """A picture of a clip among these, clips drawn alike."""
        clips = self._clips[rows]
        own = rows[clips == _any(sorted(set(clips.tolist())), rng)]
        return int(own[int(rng.integers(len(own)))])


def _any(names: list[str], rng: np.random.Generator) -> str:
    return names[int(rng.integers(len(names)))]


def _grouped(rows: np.ndarray, names: list[str]) -> dict[str, np.ndarray]:
    values = np.array(names, object)
    return {name: rows[values == name] for name in sorted(set(names))}
