"""What the Transformers of the archive do: embeddings of faces, hashes of pictures, and which of these are copies.

`embed` and `describe` open a file, so they run in a process of their own; `copies` is the search of `deepfake find`
among the videos that share a band of a hash with one: 32 of its 256 bits in the same place.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from deepfake.catalog.copies import find_like, pair_row
from deepfake.catalog.copy_index import Index
from deepfake.catalog.hashing import Asked, Settings, hashed_and_asked
from deepfake.catalog.people import embedded_tracks
from deepfake.engines.transformers.videos import local_path, with_crops
from deepfake.errors import UserError
from deepfake.faces.descriptors import BITS, N_VARIANTS, bytes_of, words_of
from deepfake.media.needs import allow_for
from deepfake.settings import Extract, People

Row = dict[str, Any]
BAND_BITS = 32


def embed(path: str, tracks: Sequence[Row], settings: Extract, people: People) -> list[Row]:
    """The embedding of each track, by its sharpest and most frontal crops; empty of faces that are too small."""
    with tempfile.TemporaryDirectory(prefix="deepfake-") as folder:
        extraction = with_crops(local_path(path), tracks, settings, Path(folder))
        known = {one.track: one for one in embedded_tracks(Path(folder), extraction.faces, people)}
    made = [known.get(track["number"]) for track in tracks]
    return [
        {"n_crops": one.n_crops, "embedding": one.numbers.tolist()} if one else {"n_crops": 0, "embedding": None}
        for one in made
    ]


def made_by(settings: Settings) -> str:
    """What hashes were made by, in words."""
    return f"{settings.descriptor}, version {settings.version}, {settings.sample_fps:g} a second"


def describe(path: str) -> Row:
    """The `pictures` of a video: what it is found by, and what it asks."""
    local, settings = local_path(path), Settings()
    allow_for(local.stat().st_size)
    hashed, asked = hashed_and_asked(local, settings)
    both_PKW = np.concatenate([asked.plain_PKW, asked.mirrored_PKW], axis=1)
    return {
        "made_by": made_by(settings),
        "duration_s": hashed.duration_s,
        "times_s": hashed.times_N.tolist(),
        "hashes": bytes_of(hashed.words_N4),
        "asked_times_s": asked.times_P.tolist(),
        "asked": bytes_of(both_PKW.reshape(-1, BITS // 64)),
    }


def bands(hashes: bytes) -> np.ndarray:
    """The bands of hashes as numbers, each once: where in the hash one lies, and its bits."""
    bits = np.frombuffer(hashes, "<u4").astype(np.int64).reshape(-1, BITS // BAND_BITS)
    return np.unique(bits | np.arange(BITS // BAND_BITS, dtype=np.int64) << BAND_BITS)


def copies(video_id: str, pictures: Row, others: Mapping[str, Row]) -> list[Row]:
    """What a video has of others, as rows of the table copies."""
    refuse_others([pictures, *others.values()])
    both_PKW = words_of(pictures["asked"]).reshape(-1, 2 * N_VARIANTS, BITS // 64)
    plain_PKW, mirrored_PKW = (np.ascontiguousarray(half) for half in np.split(both_PKW, 2, axis=1))
    asked = Asked(np.array(pictures["asked_times_s"], float), plain_PKW, mirrored_PKW, pictures["duration_s"])
    found = find_like(asked, _index(others))
    return [dict(pair_row(video_id, one.key[1], one.range)) for one in found]


def refuse_others(known: Sequence[Row]) -> None:
    """Raise UserError for hashes of another descriptor or version, which cannot be compared."""
    wanted = made_by(Settings())
    for pictures in known:
        if pictures["made_by"] != wanted:
            raise UserError(
                f"pictures made by {pictures['made_by']}, wanted {wanted}: their hashes cannot be compared; run the "
                "CopyDescriber of this version on those videos again"
            )


def _index(others: Mapping[str, Row]) -> Index:
    names = sorted(others)
    hashes = [words_of(others[name]["hashes"]) for name in names]
    times = [np.array(others[name]["times_s"], np.float32) for name in names]
    return Index(
        settings=Settings(),
        keys=[("", name) for name in names],
        states=[(0, 0)] * len(names),
        reasons=[None] * len(names),
        durations_V=np.array([others[name]["duration_s"] for name in names]),
        starts_V=np.cumsum([0, *(len(words_NW) for words_NW in hashes)]).astype(np.int64),
        times_N=np.concatenate([np.zeros(0, np.float32), *times]),
        words_N4=np.concatenate([np.zeros((0, BITS // 64), np.uint64), *hashes]),
    )
