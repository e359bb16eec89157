"""Makes a pack from the data tree: photos, frames of real clips, crops of forged clips to measure on, their meshes.

Pictures are kept as they were compressed, but for crops of clips, which are written anew. The letters are those of
`packs.file`.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import safetensors.torch
from tqdm import tqdm

from deepfake import tables
from deepfake.errors import UserError
from deepfake.faces.crops import cut_face
from deepfake.faces.geometry import apply_affine
from deepfake.faces.mesh import face_mesh
from deepfake.forging.pictures import Frames, Photos
from deepfake.models.frames import registry_weights
from deepfake.packs.file import COLUMNS, LEARN, VALIDATE, Pack, pack_digest
from deepfake.packs.outlines import KEPT
from deepfake.packs.snapshots import halves

AT_ONCE = 16
MARGIN_RATIO, MOST_PX = 0.5, 320  # of crops of clips, see configs/selfblend.yaml
BOX = ["x0", "y0", "x1", "y1"]
FACE_BOX = ["x0_px", "y0_px", "x1_px", "y1_px"]
POINTS = [f"lm{i}_{axis}" for i in range(5) for axis in "xy"]
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Contents:
    """What goes into a pack. None: none of these. `held_out` are sources whose real clips are only measured on."""

    photos_csv: Path | None
    work_dir: Path | None  # tables of stages 01 and 02
    clips_csv: Path | None  # says more about these clips
    crops_csv: Path | None  # further crops; those of split `train` are measured on
    held_out: tuple[str, ...] = ("iperov/DeepFaceLive",)
    frames_per_clip: int = 10
    validation_frames: int = 4
    jpeg_quality: int = 92
    backbones: tuple[str, ...] = ("tf_efficientnet_lite0",)
    with_mesh: bool = True
    limit: int | None = None  # so many photos and clips of each kind


@dataclass(frozen=True)
class _Face:
    row: dict[str, Any]
    encoded: bytes
    box: np.ndarray
    landmarks_52: np.ndarray


def build_pack(contents: Contents) -> Pack:
    """Gather everything; what is needed first, weights and clips, lies in the first part."""
    found = [*_clip_faces(contents), *_further_faces(contents), *_photo_faces(contents)]
    if not any(face.row["role"] == LEARN for face in found):
        raise UserError("pack: no photo and no frame of a real clip to learn from; name photos or run stages 01 and 02")
    faces = pd.DataFrame([face.row for face in found], columns=list(COLUMNS))
    encoded = [face.encoded for face in found]
    landmarks = np.array([face.landmarks_52 for face in found], np.float32)
    mesh = _meshes(found) if contents.with_mesh else np.full((len(found), len(KEPT), 2), np.nan, np.float32)
    start = {name: safetensors.torch.save(halves(registry_weights(name))) for name in contents.backbones}
    return Pack(faces, landmarks, mesh, encoded, start, pack_digest(faces, encoded))


def shrunk(pack: Pack, webp_quality: int) -> Pack:
    """The pack with its pictures written anew as WebP: half the bytes at 90, brightness 45 dB near."""
    encoded = []
    for name, data in zip(pack.faces["name"], tqdm(pack.encoded, desc="pictures", disable=None), strict=True):
        picture = _decode(data, str(name))
        done, smaller = cv2.imencode(".webp", picture[..., ::-1], [cv2.IMWRITE_WEBP_QUALITY, webp_quality])
        assert done, "OpenCV writes every uint8 picture"
        encoded.append(smaller.tobytes())
    return replace(pack, encoded=encoded, digest=pack_digest(pack.faces, encoded))


def _row(picture: np.ndarray, face_px: float, **values: Any) -> dict[str, Any]:
    return {**values, "face_px": round(float(face_px), 1), "height_px": picture.shape[0], "width_px": picture.shape[1]}


def _photo_faces(contents: Contents) -> list[_Face]:
    if contents.photos_csv is None:
        return []
    photos = Photos(contents.photos_csv)
    found = []
    for i in tqdm(_some(len(photos), contents.limit), desc="photos", disable=None):
        data = (photos.folder / photos.files[i]).read_bytes()
        given = photos.cells[i]
        box = np.array([float(given[name]) for name in BOX]) if set(BOX) <= set(given) else _around(photos.points[i])
        row = _row(
            _decode(data, photos.name(i)),
            max(box[2] - box[0], box[3] - box[1]),
            name=str(photos.files[i]),
            role=LEARN,
            kind="photo",
            label=0,
            owner=photos.owner(i),
            clip=str(photos.files[i]),
            source=str(given.get("source", "-")),
            family="real",
            generator="-",
        )
        found.append(_Face(row, data, box, photos.points[i]))
    return found


def _clip_faces(contents: Contents) -> list[_Face]:
    if contents.work_dir is None:
        return []
    videos = tables.read(tables.VIDEOS, contents.work_dir / "videos.parquet")
    faces = tables.read(tables.FACES, contents.work_dir / "faces.parquet")
    about = _about_clips(contents.clips_csv)
    found: list[_Face] = []
    for label in (0, 1):
        video_ids = sorted(videos.loc[videos["label"] == label, "video_id"])
        for k in tqdm(_some(len(video_ids), contents.limit), desc=["real", "forged"][label], disable=None):
            video_id = video_ids[k]
            known = about.get(Path(video_id).name, {})
            source = known.get("source", "-")
            role = VALIDATE if label or source in contents.held_out else LEARN
            rows = faces[faces["video_id"] == video_id].sort_values(["track", "frame_index"])
            n_frames = contents.frames_per_clip if role == LEARN else contents.validation_frames
            values = {
                "role": role,
                "kind": "clip",
                "label": label,
                "owner": known.get("identity") or video_id,
                "clip": video_id,
                "source": source,
                "family": known.get("family", "-") if label else "real",
                "generator": known.get("generator", "-"),
            }
            found += _frames(rows.iloc[_spread(len(rows), n_frames)], contents, values)
    return found


def _frames(rows: pd.DataFrame, contents: Contents, values: dict[str, Any]) -> list[_Face]:
    assert contents.work_dir is not None
    frames = Frames(rows, contents.work_dir)
    found = []
    for i in range(len(frames)):
        face, row = frames.face(i), frames.faces.iloc[i]
        ratio = face.picture.shape[0] / float(row["crop_side_px"])
        corner = row[["crop_x0_px", "crop_y0_px"] * 2].to_numpy(np.float64)
        box = (row[FACE_BOX].to_numpy(np.float64) - corner) * ratio
        data = _encode(face.picture, contents.jpeg_quality)
        about = _row(face.picture, max(box[2] - box[0], box[3] - box[1]), name=frames.name(i), **values)
        found.append(_Face(about, data, box, face.landmarks))
    return found


def _further_faces(contents: Contents) -> list[_Face]:
    """Crops of clips listed beside them, of split `train`, cut again so that the face is in their middle."""
    if contents.crops_csv is None:
        return []
    table = pd.read_csv(contents.crops_csv, dtype={"clip_id": str, "generator": str}, keep_default_na=False)
    table = table[table["split"] == "train"]
    clips = sorted(table["clip_id"].unique())
    chosen = {clips[i] for i in _some(len(clips), contents.limit)}
    found = []
    for row in table[table["clip_id"].isin(chosen)].to_dict("records"):
        label = int(row["label"] == "FAKE")
        given = _decode((contents.crops_csv.parent / row["file"]).read_bytes(), row["file"])
        box = np.array([float(row[name]) for name in BOX])
        points = np.array([float(row[name]) for name in POINTS]).reshape(5, 2)
        picture, to_crop = cut_face(given, box, MARGIN_RATIO, MOST_PX)
        about = _row(
            picture,
            max(box[2] - box[0], box[3] - box[1]) * to_crop[0, 0],
            name=row["file"],
            role=VALIDATE,
            kind="clip",
            label=label,
            owner=row["identity"] or row["clip_id"],
            clip=row["clip_id"],
            source=row["source"],
            family=row["family"] if label else "real",
            generator=row["generator"],
        )
        moved = apply_affine(to_crop, np.vstack([box.reshape(2, 2), points]))
        found.append(_Face(about, _encode(picture, contents.jpeg_quality), moved[:2].ravel(), moved[2:]))
    return found


def _about_clips(clips_csv: Path | None) -> dict[str, dict[str, str]]:
    if clips_csv is None:
        return {}
    table = pd.read_csv(clips_csv, dtype=str, keep_default_na=False)
    return {Path(row["file"]).name: row for row in table.to_dict("records")}


def _meshes(found: Sequence[_Face]) -> np.ndarray:
    """Of the pictures to learn from: no other is forged."""
    points_NP2 = np.full((len(found), len(KEPT), 2), np.nan, np.float32)
    learn = [i for i, face in enumerate(found) if face.row["role"] == LEARN]
    network = face_mesh()
    for first in tqdm(range(0, len(learn), AT_ONCE), desc="meshes", disable=None):
        places = learn[first : first + AT_ONCE]
        some = [found[i] for i in places]
        pictures = [_decode(face.encoded, face.row["name"]) for face in some]
        points, _ = network.find(
            pictures, np.array([face.box for face in some]), np.array([face.landmarks_52 for face in some])
        )
        points_NP2[places] = points[:, list(KEPT), :2]
    return points_NP2


def _around(landmarks_52: np.ndarray) -> np.ndarray:
    """About the box MTCNN would draw: the five points cover its inner half."""
    low, high = landmarks_52.min(0), landmarks_52.max(0)
    side = 1.1 * float((high - low).max())
    centre = (low + high) / 2
    return np.concatenate([centre - side, centre + side])


def _some(n: int, limit: int | None) -> Iterable[int]:
    return _spread(n, limit) if limit else range(n)


def _spread(n: int, wanted: int) -> list[int]:
    return sorted(set(np.linspace(0, n - 1, min(n, wanted)).round().astype(int).tolist())) if n else []


def _decode(data: bytes, name: str) -> np.ndarray:
    picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    if picture is None:
        raise UserError(f"pack: {name!r} is not a picture; take it out of its list")
    return np.ascontiguousarray(picture[..., ::-1])


def _encode(picture_HWC: np.ndarray, quality: int) -> bytes:
    options = [
        cv2.IMWRITE_JPEG_QUALITY,
        quality,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
    ]
    done, data = cv2.imencode(".jpg", picture_HWC[..., ::-1], options)
    assert done, "OpenCV writes every uint8 picture"
    return data.tobytes()
