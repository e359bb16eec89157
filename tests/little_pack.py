"""A pack of drawn faces."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import pandas as pd

from deepfake.packs.file import COLUMNS, LEARN, VALIDATE, Pack, pack_digest
from deepfake.packs.outlines import KEPT
from face_pictures import face

SIDE = 96


def row(number: int, role: str = LEARN, kind: str = "photo", label: int = 0, **more: object) -> dict[str, object]:
    return {
        "name": f"{kind}{number}",
        "role": role,
        "kind": kind,
        "label": label,
        "owner": f"person{number}",
        "clip": f"{kind}{number}",
        "source": "studio",
        "family": "swap" if label else "real",
        "generator": "-",
        "face_px": 48.0,
        "height_px": SIDE,
        "width_px": SIDE,
        **more,
    }


def png(picture: np.ndarray) -> bytes:
    return bytes(cv2.imencode(".png", picture[..., ::-1])[1].tobytes())


def packed(rows: Sequence[dict[str, object]]) -> Pack:
    """A pack of these rows, each with a face of its own; no mesh was found."""
    faces = pd.DataFrame(rows, columns=list(COLUMNS))
    some = [face(i, SIDE) for i in range(len(rows))]
    landmarks = np.array([one.landmarks for one in some], np.float32)
    mesh = np.full((len(rows), len(KEPT), 2), np.nan, np.float32)
    encoded = [png(one.picture) for one in some]
    return Pack(faces, landmarks, mesh, encoded, {}, pack_digest(faces, encoded))


def clip(number: int, label: int, source: str, generator: str = "-", role: str = VALIDATE) -> dict[str, object]:
    name = f"clip{number}"
    return row(number, role, "clip", label, clip=name, owner=name, source=source, generator=generator, name=name)


def wide_pack() -> Pack:
    """Ten publishers, each with a real clip and two forged ones by a generator of its own; a photo; one lone fake."""
    rows = [row(0), clip(900, 1, "lone", "Lone"), clip(901, 0, "taught", role=LEARN)]
    for publisher in range(10):
        name, first = f"publisher{publisher}", 10 * publisher
        rows += [clip(first, 0, name), *(clip(first + k, 1, name, f"G{publisher}") for k in (1, 2))]
    return packed(rows)
