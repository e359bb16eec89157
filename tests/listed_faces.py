"""A list of crops of invented clips, with the pictures it names."""

from __future__ import annotations

from pathlib import Path

import cv2
import pandas as pd

from face_pictures import face

SIDE = 120


def write_list(folder: Path, splits: tuple[str, ...] = ("train", "train", "fresh")) -> Path:
    """A real and two forged clips of two crops each, and the CSV that lists them."""
    rows = []
    for clip, split, label in zip(("c1", "c2", "n1"), splits, ("REAL", "FAKE", "FAKE"), strict=True):
        for k in range(2):
            one = face(k, SIDE)
            (folder / f"{clip}-{k}.png").write_bytes(cv2.imencode(".png", one.picture[..., ::-1])[1].tobytes())
            about = [f"{clip}-{k}.png", clip, split, label, "swap", "g", "ann", "web", 30, 40, 70, 80]
            rows.append([*about, *one.landmarks.ravel()])
    names = ["file", "clip_id", "split", "label", "family", "generator", "identity", "source", "x0", "y0", "x1", "y1"]
    pd.DataFrame(rows, columns=[*names, *(f"lm{i}_{a}" for i in range(5) for a in "xy")]).to_csv(
        folder / "more.csv", index=False
    )
    return folder / "more.csv"
