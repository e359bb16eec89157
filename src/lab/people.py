"""How well faces tell people apart: pairs of known identity, and persons found among labelled clips.

A clip's identity is that of the track seen longest. Letters: N tracks or photos.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from tqdm import tqdm

from deepfake.catalog.embeddings import N_NUMBERS, aligned, face_embedder
from deepfake.catalog.people import embedded_tracks, faces_by_video, likeness, same_people
from deepfake.detector.labelled_clips import Clips
from deepfake.errors import UserError
from deepfake.faces.extracted import by_track
from deepfake.settings import People

POINTS = [f"lm{i}_{axis}" for i in range(5) for axis in "xy"]
SIMILARITIES = (0.30, 0.35, 0.40, 0.45, 0.50, 0.55, 0.60)
BLOCK = 2000  # rows of all pairs at once


@dataclass(frozen=True)
class Known:
    """Embeddings of length 1 with whom they show, as the labels say; `kind` is real or a family of forgeries."""

    names: Sequence[str]
    numbers_ND: np.ndarray
    identity_N: np.ndarray
    kind_N: np.ndarray

    def only(self, chosen_N: np.ndarray) -> Known:
        """Some of them."""
        places = np.flatnonzero(chosen_N)
        names = [self.names[i] for i in places.tolist()]
        return Known(names, self.numbers_ND[places], self.identity_N[places], self.kind_N[places])


def known_tracks(clips: Clips, settings: People) -> Known:
    """The longest track of each clip that says whom it shows."""
    by_id = dict(zip(clips.video_ids, clips.labelled, strict=True))
    rows = []
    for video_id, faces in tqdm(faces_by_video(clips.faces), total=clips.faces["video_id"].nunique(), disable=None):
        columns = by_id[video_id].columns
        identity = columns.get("identity", "").strip()
        longest = max(by_track(faces), key=lambda own: (len(own), -own[0].track))[0].track
        found = {one.track: one.numbers for one in embedded_tracks(clips.cache_dir, faces, settings)}
        if identity and longest in found:
            kind = columns.get("family", "").strip() or ("fake" if by_id[video_id].label else "real")
            rows.append((video_id, found[longest], identity, kind))
    if not rows:
        raise UserError("no clip with a face says whom it shows; the labels want a column identity")
    names, numbers, identities, kinds = zip(*rows, strict=True)
    return Known(names, np.array(numbers), np.array(identities), np.array(kinds))


def known_photos(photos_csv: Path) -> Known:
    """Photos of people who have two or more: file, identity and five landmarks (lm0_x ... lm4_y) in pixels."""
    try:
        table = pd.read_csv(photos_csv, dtype={"file": str, "identity": str})
    except (OSError, ValueError) as error:
        raise UserError(f"photos {str(photos_csv)!r}: not a readable CSV ({error})") from None
    missing = [name for name in ("file", "identity", *POINTS) if name not in table]
    if missing:
        raise UserError(f"photos {str(photos_csv)!r}: no column {', '.join(missing)}")
    table = table[table["identity"].duplicated(keep=False)].reset_index(drop=True)
    numbers = [
        _embedded(photos_csv.parent / row["file"], np.array([row[name] for name in POINTS], float).reshape(5, 2))
        for row in tqdm(table.to_dict("records"), desc="photos", disable=None)
    ]
    kinds = np.array([Path(name).parts[0] for name in table["file"]])
    numbers_ND = np.array(numbers, np.float32).reshape(-1, N_NUMBERS)
    return Known(table["file"].tolist(), numbers_ND, table["identity"].to_numpy(str), kinds)


def _embedded(path: Path, points: np.ndarray) -> np.ndarray:
    picture = cv2.imread(str(path))
    if picture is None:
        raise UserError(f"photo {str(path)!r}: not a picture; mend the list")
    return np.asarray(face_embedder().embed([aligned(np.ascontiguousarray(picture[..., ::-1]), points)])[0])


def pair_table(known: Known, similarities: Sequence[float] = SIMILARITIES, across_kinds: bool = False) -> pd.DataFrame:
    """Of all pairs the share of two people taken for one (`false_matches`) and of one person found (`found`).

    `across_kinds`: pairs of two collections only, so that no two frames of one video are a pair.
    """
    edges = [-np.inf, *similarities, np.inf]
    counts = np.zeros((2, len(similarities) + 1), np.int64)
    n = len(known.names)
    for start in range(0, n, BLOCK):
        rows = slice(start, start + BLOCK)
        products = known.numbers_ND[rows] @ known.numbers_ND.T
        wanted = np.arange(n)[None] > np.arange(start, min(start + BLOCK, n))[:, None]
        if across_kinds:
            wanted &= known.kind_N[rows, None] != known.kind_N[None]
        is_same = known.identity_N[rows, None] == known.identity_N[None]
        for same in (False, True):
            counts[int(same)] += np.histogram(products[wanted & (is_same == same)], edges)[0]
    above = counts[:, ::-1].cumsum(axis=1)[:, ::-1][:, 1:]
    total = np.maximum(counts.sum(axis=1), 1)
    return pd.DataFrame(
        {
            "similarity": similarities,
            "false_matches": above[0] / total[0],
            "n_pairs_of_two": counts[0].sum(),
            "found": above[1] / total[1],
            "n_pairs_of_one": counts[1].sum(),
        }
    )


def grouping_table(known: Known, similarities: Sequence[float] = SIMILARITIES) -> pd.DataFrame:
    """Persons found beside identities: pairwise precision, recall and F1; persons of several identities, and parted."""
    rows = []
    for similarity in similarities:
        people_N = same_people(known.numbers_ND, similarity)
        together = people_N[:, None] == people_N[None]
        same = known.identity_N[:, None] == known.identity_N[None]
        upper = np.triu(np.ones_like(same), 1).astype(bool)
        hits, n_together, n_same = (int((table & upper).sum()) for table in (together & same, together, same))
        pairs = pd.DataFrame({"person": people_N, "identity": known.identity_N})
        rows.append(
            {
                "similarity": similarity,
                "tracks": len(people_N),
                "identities": pairs["identity"].nunique(),
                "persons": pairs["person"].nunique(),
                "precision": hits / n_together if n_together else np.nan,
                "recall": hits / n_same if n_same else np.nan,
                "f1": 2 * hits / (n_together + n_same) if n_together + n_same else np.nan,
                "false_merges": _with_several(pairs, "person", "identity"),
                "parted": _with_several(pairs, "identity", "person"),
            }
        )
    return pd.DataFrame(rows)


def _with_several(pairs: pd.DataFrame, key: str, other: str) -> int:
    """How many of the one have several of the other."""
    return int((pairs.drop_duplicates().groupby(key)[other].size() > 1).sum())


def merged_identities(known: Known, similarity: float) -> pd.DataFrame:
    """Persons that bear several identities: people whom file names hide, or people taken for one; look to tell."""
    people_N = same_people(known.numbers_ND, similarity)
    alike_N = likeness(known.numbers_ND, people_N)
    table = pd.DataFrame(
        {
            "person": people_N,
            "identity": known.identity_N,
            "kind": known.kind_N,
            "likeness": alike_N,
            "clip": known.names,
        }
    )
    several = table.groupby("person")["identity"].transform("nunique") > 1
    return table[several].sort_values(["person", "identity", "clip"], ignore_index=True)
