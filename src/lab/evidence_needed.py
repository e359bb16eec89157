"""How much of a face has to be seen for a verdict: error rates of decided clips against frames, seconds, size, blur.

Frames: of each clip's longest track only so many successive frames are kept. Size and blur: its crops are made small,
or blurred, and shown to the networks anew. Letters: N faces, M members, H rows, W columns, C channels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from tqdm import tqdm

from deepfake.arrays import map_array, write_array
from deepfake.detector import fitting, recalibration
from deepfake.detector.check import FORGED, INCONCLUSIVE, level_of
from deepfake.detector.file import TrainedDetector
from deepfake.detector.labelled_clips import Clips, some_frames
from deepfake.faces.crop_store import read_crop
from deepfake.faces.crops import sharpness
from deepfake.files import digest
from deepfake.settings import Predict

FRAMES = (1, 2, 3, 4, 6, 8, 12, 16, 32)
SIDES_PX = (128, 96, 80, 64, 48, 32, 24, 16)  # of the face, half of the crop
SIGMAS = (1.0, 2.0, 3.0, 5.0)  # of the crop at 320 px
CROP_PX = 320.0
Change = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Damage:
    """One way to see less of a face: its name, and what becomes of a crop."""

    name: str
    change: Change
    side_px: float | None = None


def damages() -> list[Damage]:
    """All that are measured, from light to heavy."""
    small = [Damage(f"face of {side} px", _smaller(2 * side), side) for side in SIDES_PX]
    return [*small, *(Damage(f"blur of sigma {sigma:g}", _blurred(sigma)) for sigma in SIGMAS)]


def _smaller(side_px: int) -> Change:
    def change(crop_HWC: np.ndarray) -> np.ndarray:
        side = min(side_px, crop_HWC.shape[0])
        small = cv2.resize(crop_HWC, (side, side), interpolation=cv2.INTER_AREA)
        return np.asarray(cv2.resize(small, crop_HWC.shape[1::-1], interpolation=cv2.INTER_CUBIC))

    return change


def _blurred(sigma: float) -> Change:
    def change(crop_HWC: np.ndarray) -> np.ndarray:
        return np.asarray(cv2.GaussianBlur(crop_HWC, (0, 0), sigma * crop_HWC.shape[0] / CROP_PX))

    return change


def longest(faces: pd.DataFrame) -> pd.DataFrame:
    """The rows of each video's longest track, the first of equals."""
    sizes = faces.groupby(["video_id", "track"]).size().rename("n").reset_index()
    best = sizes.sort_values(["video_id", "n", "track"], ascending=[True, False, True]).drop_duplicates("video_id")
    return faces.merge(best[["video_id", "track"]], on=["video_id", "track"])


def successive(faces: pd.DataFrame, n_frames: int) -> pd.DataFrame:
    """At most so many successive rows of each video, from its middle."""
    parts = []
    for _, part in faces.groupby("video_id", sort=True):
        start = max((len(part) - n_frames) // 2, 0)
        parts.append(part.iloc[start : start + n_frames])
    return pd.concat(parts)


@dataclass(frozen=True)
class Judge:
    """A detector and the labels that its verdicts are compared with."""

    detector: TrainedDetector
    labels: dict[str, int]

    def row(self, what: str, faces: pd.DataFrame, logits_NM: np.ndarray) -> dict[str, object]:
        """How often the detector decides on these faces, and how often wrongly; no minimum is asked for."""
        stack, names = self.detector.stack, self.detector.stack.members
        rows = faces[["video_id", "track", "frame_index"]]
        scores = {name: rows.assign(logit=logits_NM[:, place]) for place, name in enumerate(names)}
        clips = Clips(faces, [], [], Path())
        tracks = fitting.member_tracks(scores, clips, self.detector.ensemble)
        p = stack.p_fake(tracks)
        truth = np.array([self.labels[video_id] for video_id in tracks.video_ids])
        levels = np.array([level_of(float(one), *stack.band) for one in p])
        decided = levels != INCONCLUSIVE
        wrong = (levels == FORGED) != (truth == 1)
        side = np.maximum(faces["x1_px"] - faces["x0_px"], faces["y1_px"] - faces["y0_px"])
        spans = faces.groupby("video_id")["time_s"].agg(np.ptp)
        return {
            "what": what,
            "clips": len(p),
            "seconds": float(spans.median()),
            "side_px": float(side.median()),
            "sharpness": float(faces["sharpness"].median()),
            "decided": int(decided.sum()),
            "wrong": int((wrong & decided).sum()),
            "reals_forged": int((wrong & decided & (truth == 0)).sum()),
            "fakes_real": int((wrong & decided & (truth == 1)).sum()),
        }


def frames_table(judge: Judge, clips: Clips, logits_NM: np.ndarray) -> list[dict[str, object]]:
    """A row for each number of successive frames."""
    faces = longest(clips.faces.assign(place=np.arange(len(clips.faces))))
    rows = []
    for n_frames in FRAMES:
        some = successive(faces, n_frames)
        rows.append(judge.row(f"{n_frames} frames", some, logits_NM[some["place"].to_numpy()]))
    return rows


def damage_table(
    judge: Judge, clips: Clips, n_frames: int, networks: str, predict: Predict
) -> Iterator[dict[str, object]]:
    """A row for each damage, of `n_frames` frames of each clip."""
    faces = some_frames(longest(clips.faces), n_frames)
    scorer = recalibration.every_member(judge.detector, predict)
    for damage in [Damage("as it is", np.asarray), *damages()]:
        path = clips.cache_dir / "members" / f"{digest([networks, damage.name, n_frames, len(faces)])[:32]}.npy"
        crops = _changed(clips, faces, damage)
        known = map_array(path, len(faces))
        if known is None:
            parts = [crops[start : start + 64] for start in range(0, len(crops), 64)]
            bar = tqdm(parts, desc=damage.name, unit="batch", disable=None)
            known = np.concatenate([recalibration.crop_logits(scorer, part) for part in bar])
            write_array(path, known)
        seen = faces.assign(sharpness=[sharpness(crop) for crop in crops])
        if damage.side_px is not None:
            seen = _of_side(seen, damage.side_px)
        yield judge.row(damage.name, seen, known)


def _changed(clips: Clips, faces: pd.DataFrame, damage: Damage) -> list[np.ndarray]:
    places = faces[["shard", "offset", "size"]].itertuples(index=False)
    return [damage.change(read_crop(clips.cache_dir, *place)) for place in places]


def _of_side(faces: pd.DataFrame, side_px: float) -> pd.DataFrame:
    """The same faces in boxes of at most that side."""
    side = np.maximum(faces["x1_px"] - faces["x0_px"], faces["y1_px"] - faces["y0_px"])
    ratio = np.minimum(side_px / side, 1.0)
    for axis in "xy":
        low = faces[f"{axis}0_px"]
        faces = faces.assign(**{f"{axis}1_px": low + ratio * (faces[f"{axis}1_px"] - low)})
    return faces


def as_markdown(rows: Sequence[dict[str, object]]) -> str:
    """The table for people."""
    names = list(rows[0])
    lines = ["| " + " | ".join(name.replace("_", " ") for name in names) + " |", "|" + "---|" * len(names)]
    for row in rows:
        cells = [f"{value:.1f}" if isinstance(value, float) else str(value) for value in row.values()]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)
