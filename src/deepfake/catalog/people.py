"""Who is the same person: an embedding a track, and tracks grouped by how alike these are. Nobody gets a name.

Letters: N tracks or crops, D numbers of an embedding.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from deepfake.catalog.clustering import average_linkage
from deepfake.catalog.embeddings import (
    ALIGNED_POINTS,
    N_NUMBERS,
    PACKAGE,
    REMEDY,
    SHA256,
    FaceEmbedder,
    aligned,
    face_embedder,
    is_available,
    points_in_crop,
    unit,
)
from deepfake.errors import UserError
from deepfake.faces.extracted import StoredFace, by_track, stored_crop
from deepfake.faces.geometry import apply_affine, fit_similarity
from deepfake.files import digest
from deepfake.kept import keep, kept
from deepfake.settings import Config, People

if TYPE_CHECKING:
    import pandas as pd

FORMAT = 1  # raise it when the same crops and settings give other embeddings
# How far, in eye distances, points may lie from those of a face seen from the front: turned by some 30 degrees.
FRONTAL_REACH = 0.12


@dataclass(frozen=True)
class TrackEmbedding:
    """A track that can be compared with others: `numbers` (D,) float32 of length 1, made of `n_crops` of its crops."""

    track: int
    n_crops: int
    numbers: np.ndarray


def frontal_share(landmarks_52: np.ndarray) -> float:
    """1 for a face that looks into the camera, towards 0 the more it is turned aside."""
    points = apply_affine(fit_similarity(landmarks_52, ALIGNED_POINTS), landmarks_52)
    eye_distance = float(ALIGNED_POINTS[1, 0] - ALIGNED_POINTS[0, 0])
    off = float(np.sqrt(((points - ALIGNED_POINTS) ** 2).sum(1).mean())) / eye_distance
    return float(np.exp(-((off / FRONTAL_REACH) ** 2)))


def telling_places(faces: Sequence[StoredFace], most: int) -> list[int]:
    """The places of at most so many faces of one track, in time: the sharpest and most frontal ones.

    Faces whose boxes were carried between two detections are taken only where there is nothing else.
    """
    detected = any(face.is_detected for face in faces)
    places = [place for place, face in enumerate(faces) if face.is_detected or not detected]
    sharpest = max(faces[place].sharpness for place in places)
    worth = {
        place: frontal_share(np.array(faces[place].landmarks).reshape(5, 2))
        * (faces[place].sharpness + 1)
        / (sharpest + 1)
        for place in places
    }
    return sorted(sorted(places, key=lambda place: (-worth[place], place))[:most])


def is_comparable(faces: Sequence[StoredFace], settings: People) -> bool:
    """Whether a track's faces are large enough for an embedding to say whose they are."""
    sides = [max(face.x1_px - face.x0_px, face.y1_px - face.y0_px) for face in faces]
    return float(np.median(sides)) >= settings.min_face_px


def embeddings_of(embedder: FaceEmbedder, tracks: Sequence[Sequence[np.ndarray]]) -> list[np.ndarray]:
    """One embedding (D,) a track of its aligned faces, one or more: the direction of the mean of theirs."""
    if not tracks:
        return []
    numbers_ND = embedder.embed([face for faces in tracks for face in faces])
    ends = np.cumsum([len(faces) for faces in tracks])[:-1]
    return [unit(own.mean(axis=0, keepdims=True))[0] for own in np.split(numbers_ND, ends)]


def kept_embeddings(work_dir: Path, faces: Sequence[StoredFace], settings: People) -> list[TrackEmbedding] | None:
    """What `embedded_tracks` made before of one video; None where it made nothing yet."""
    return _as_embeddings(kept(_kept_place(work_dir, faces, settings))) if faces else []


def embedded_tracks(work_dir: Path, faces: Sequence[StoredFace], settings: People) -> list[TrackEmbedding]:
    """Embeddings of the comparable tracks of one video, kept below `work_dir` beside its crops."""
    known = kept_embeddings(work_dir, faces, settings)
    if known is not None:
        return known
    tracks = [own for own in by_track(faces) if is_comparable(own, settings)]
    chosen = [[own[i] for i in telling_places(own, settings.crops_per_track)] for own in tracks]
    shown = [[_aligned(work_dir, face) for face in own] for own in chosen]
    numbers = embeddings_of(face_embedder(), shown) if shown else []
    made = [
        TrackEmbedding(own[0].track, len(crops), one) for own, crops, one in zip(tracks, shown, numbers, strict=True)
    ]
    place = _kept_place(work_dir, faces, settings)
    keep(place, [{"track": one.track, "n_crops": one.n_crops, "numbers": one.numbers.tolist()} for one in made])
    return made


def _aligned(work_dir: Path, face: StoredFace) -> np.ndarray:
    crop = stored_crop(work_dir, face)
    return aligned(crop, points_in_crop(face, len(crop)))


def _kept_place(work_dir: Path, faces: Sequence[StoredFace], settings: People) -> Path:
    crops = [[face.track, face.shard, face.offset] for face in faces]
    key = digest([FORMAT, SHA256, crops, settings.crops_per_track, settings.min_face_px])[:32]
    return work_dir / "embeddings" / key[:2] / f"{key}.json"


def _as_embeddings(stored: Any) -> list[TrackEmbedding] | None:
    try:
        return [
            TrackEmbedding(one["track"], one["n_crops"], np.array(one["numbers"], np.float32).reshape(N_NUMBERS))
            for one in stored
        ]
    except (ValueError, KeyError, TypeError):
        return None


def same_people(numbers_ND: np.ndarray, min_similarity: float) -> np.ndarray:
    """The person (N,) of each embedding: 0 is who has most of them, then who comes first."""
    if not len(numbers_ND):
        return np.zeros(0, np.int64)
    groups_N = average_linkage(numbers_ND, min_similarity)
    order = np.argsort(-np.bincount(groups_N), kind="stable")
    number_of = np.empty(len(order), np.int64)
    number_of[order] = np.arange(len(order))
    return np.asarray(number_of[groups_N])


def likeness(numbers_ND: np.ndarray, people_N: np.ndarray) -> np.ndarray:
    """How alike each embedding is to the others of its person on average (N,); NaN of one that is alone."""
    n_people = int(people_N.max(initial=-1)) + 1
    sums = np.zeros((n_people, numbers_ND.shape[1]))
    np.add.at(sums, people_N, numbers_ND)
    others_N = np.bincount(people_N, minlength=n_people)[people_N] - 1
    products_N = np.einsum("nd,nd->n", sums[people_N] - numbers_ND, numbers_ND)
    return np.where(others_N > 0, products_N / np.maximum(others_N, 1), np.nan)


def people_in_video(
    embeddings: Sequence[TrackEmbedding], faces: Sequence[StoredFace], settings: People
) -> dict[int, int]:
    """The person of each track of one video, numbered from 0 by first appearance.

    A track that cannot be compared is a person of its own: nothing says that it is another's. Two faces in one frame
    are two persons, however alike they are; which of them a later track is, the greater likeness says.
    """
    numbers = {one.track: one.numbers for one in embeddings}
    known = same_people(np.array(list(numbers.values())).reshape(-1, N_NUMBERS), settings.min_similarity)
    group_of = dict(zip(numbers, known.tolist(), strict=True))
    frames = {own[0].track: {(face.shot, face.frame_index) for face in own} for own in by_track(faces)}
    people: list[list[int]] = []
    for track in sorted(frames):
        alike = {
            person: float(np.mean([numbers[track] @ numbers[other] for other in own]))
            for person, own in enumerate(people)
            if track in group_of
            and group_of.get(own[0]) == group_of[track]
            and all(frames[track].isdisjoint(frames[other]) for other in own)
        }
        if alike:
            people[max(alike, key=lambda person: (alike[person], -person))].append(track)
        else:
            people.append([track])
    return {track: person for person, own in enumerate(people) for track in own}


def people_table(videos: Iterable[tuple[str, Sequence[StoredFace]]], work_dir: Path, settings: People) -> pd.DataFrame:
    """The people table of videos: their names and faces. Of two files of equal bytes the crops are embedded once."""
    import pandas as pd
    from tqdm import tqdm

    from deepfake.tables import PEOPLE

    rows: list[Mapping[str, Any]] = []
    for video_id, faces in tqdm(videos, desc="people", unit="video", disable=None):
        known = {one.track: one for one in embedded_tracks(work_dir, faces, settings)}
        rows += [_row(video_id, own[0].track, known.get(own[0].track)) for own in by_track(faces)]
    frame = pd.DataFrame(rows, columns=PEOPLE.schema.names)
    return numbered(frame.sort_values(["video_id", "track"], ignore_index=True), settings.min_similarity)


def _row(video_id: str, track: int, one: TrackEmbedding | None) -> Mapping[str, Any]:
    known = {"n_crops": one.n_crops, "embedding": one.numbers} if one else {"n_crops": 0, "embedding": None}
    return {"video_id": video_id, "track": track, "person": None, "likeness": None, **known}


def numbered(people: pd.DataFrame, min_similarity: float) -> pd.DataFrame:
    """A people table with its persons found anew from its embeddings; tracks without one stay without a person."""
    comparable = people["embedding"].notna().to_numpy()
    numbers_ND = np.array(people.loc[comparable, "embedding"].tolist(), np.float32).reshape(-1, N_NUMBERS)
    found = same_people(numbers_ND, min_similarity)
    alike = likeness(numbers_ND, found)
    made = people.astype({"person": object, "likeness": object})
    made.loc[comparable, "person"] = found.tolist()
    made.loc[comparable, "likeness"] = [None if np.isnan(value) else float(value) for value in alike]
    return made.astype({"person": "Int32", "likeness": "Float32"})


def faces_by_video(faces: pd.DataFrame) -> Iterator[tuple[str, list[StoredFace]]]:
    """Videos of a faces table with their faces, in the order of their names."""
    from deepfake.faces.extraction import faces_of_rows

    for video_id, rows in faces.groupby("video_id", sort=True):
        yield str(video_id), faces_of_rows(rows.to_dict("records"))


def is_of(people: pd.DataFrame, faces: pd.DataFrame) -> bool:
    """Whether a people table is of the tracks of this faces table, and not of an earlier one."""
    key = ["video_id", "track"]
    tracks = faces[key].drop_duplicates()
    return len(people) == len(tracks) and len(people.merge(tracks, on=key)) == len(tracks)


def links_by_face(people: pd.DataFrame) -> list[tuple[str, str]]:
    """Pairs of videos that show one person: the first of each person with each of the others."""
    links = []
    for _, same in people[people["person"].notna()].groupby("person")["video_id"]:
        first, *others = sorted(set(same))
        links += [(first, other) for other in others]
    return links


def links_in(faces: pd.DataFrame, video_ids: Iterable[str], config: Config) -> list[tuple[str, str]]:
    """`links_by_face` of some videos of a data set, by its faces table; makes the embeddings that are missing."""
    chosen = faces[faces["video_id"].isin(set(video_ids))]
    if len(chosen) and not is_available():
        raise UserError(
            f"no label names an identity, and to tell people apart by face the package {PACKAGE} is missing; {REMEDY}, "
            "name identities in the labels, or set folds.by_face=false"
        )
    return links_by_face(people_table(faces_by_video(chosen), config.work_dir, config.people))
