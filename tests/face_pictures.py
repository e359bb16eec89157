"""Invented still pictures of faces with their points, whole and as the material of learning by forging."""

from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from deepfake import tables
from deepfake.forgeries import Face
from deepfake.mixture import LANDMARKS, PHOTO_COLUMNS, Frames, Photos, Sources, balanced_groups
from deepfake.shards import encode_crop, write_shard
from drawn_faces import SKINS, drawn_face, paste
from learning_data import face_row

POINTS = np.array([(0.36, 0.44), (0.64, 0.44), (0.5, 0.62), (0.4, 0.76), (0.6, 0.76)])  # of a drawn face


def face(seed: int, side_px: int = 160, grain: float = 8.0) -> Face:
    """A drawn face before a coloured wall, all of it grainy, so that every change can be seen."""
    rng = np.random.default_rng(seed)
    scene = cv2.resize(rng.uniform(50, 200, (6, 6, 3)).astype(np.float32), (side_px, side_px))
    face_px = round(side_px * 0.6)
    corner = (side_px - face_px) // 2
    paste(scene, *drawn_face(face_px, SKINS[seed % len(SKINS)], rng.uniform(0, 1)), corner, corner)
    scene += rng.normal(0, grain, scene.shape).astype(np.float32)
    return Face(scene.clip(0, 255).astype(np.uint8), POINTS * face_px + corner)


def write_photos(folder: Path, faces: list[Face]) -> Path:
    """The faces as PNG files and the CSV that lists them; returns the CSV."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for number, one in enumerate(faces):
        (folder / f"{number}.png").write_bytes(encode_crop(one.picture, "png", 95))
        rows.append([f"{number}.png", f"person{number}", *one.landmarks.ravel()])
    pd.DataFrame(rows, columns=list(PHOTO_COLUMNS)).to_csv(folder / "faces.csv", index=False)
    return folder / "faces.csv"


def write_frames(work_dir: Path, clips: dict[str, list[Face]]) -> pd.DataFrame:
    """Clips' faces as stored crops; returns rows of the faces table."""
    rows = []
    for video_id, faces in clips.items():
        crops = [(f"{i}.png", encode_crop(one.picture, "png", 95)) for i, one in enumerate(faces)]
        places = write_shard(work_dir / f"crops/{video_id}.tar", crops, {"faces": [{}] * len(crops)})
        for i, (one, (offset, size)) in enumerate(zip(faces, places, strict=True)):
            where = {"crop_side_px": float(len(one.picture)), "shard": f"crops/{video_id}.tar"}
            points = dict(zip(LANDMARKS, one.landmarks.ravel().tolist(), strict=True))
            rows.append(face_row(video_id, 0, i, (10, 10, 60, 60), offset=offset, size=size, **where, **points))
    columns = [column.name for column in tables.FACES.columns]
    return pd.DataFrame(rows, columns=columns)


def sources(
    folder: Path,
    photos: list[Face],
    reals: dict[str, list[Face]],
    fakes: dict[str, list[Face]],
    generators: dict[str, str] | None = None,
) -> Sources:
    """Material to learn from, written below `folder`; `generators` of the fake clips by their names."""
    real_rows, fake_rows = write_frames(folder, reals), write_frames(folder, fakes)
    fake_groups = balanced_groups(fake_rows, generators or {})
    return Sources(
        photos=Photos(write_photos(folder / "photos", photos)) if photos else None,
        reals=Frames(real_rows, folder),
        fakes=Frames(fake_rows, folder),
        real_groups=balanced_groups(real_rows, {}),
        fake_groups=fake_groups,
        kin=[np.empty(0, int)] * len(fake_rows),
        fake_shares=np.full(len(fake_groups), 1 / max(len(fake_groups), 1)),
    )
