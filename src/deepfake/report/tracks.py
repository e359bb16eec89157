"""What `explore_tracks.ipynb` shows of one data set: videos, faces, tracks, crops and scores of frames, as HTML."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
from scipy.special import expit

from deepfake import tables
from deepfake.errors import UserError
from deepfake.faces.crop_store import read_crop
from deepfake.report import plots
from deepfake.report.strips import Strip, facts_html, spread_places, strips_html
from deepfake.settings import Config

LABELS = {0: "real", 1: "fake"}


@dataclass(frozen=True)
class Material:
    """Tables of a data set; `faces` have a column p_fake, not a number where no frame network has scored the frame.

    `read_crop(shard, offset, size)` returns HWC uint8 RGB.
    """

    config: Config
    videos: pd.DataFrame
    faces: pd.DataFrame
    read_crop: Callable[[str, int, int], np.ndarray]


def read_material(config: Config) -> Material:
    """Read what stages 01 and 02 made, and the out-of-fold scores of frames where stage 04 has run."""
    videos = tables.read(tables.VIDEOS, config.work_dir / "videos.parquet")
    faces = tables.read(tables.FACES, config.work_dir / "faces.parquet")
    path = config.run_dir / "frames_oof.parquet"
    scores = tables.read(tables.FRAME_SCORES, path) if path.is_file() else tables.empty(tables.FRAME_SCORES)
    keys = ["video_id", "track", "frame_index"]
    logits = scores.groupby(keys, as_index=False)["logit"].mean()
    faces = faces.merge(logits, on=keys, how="left")
    faces["p_fake"] = expit(faces.pop("logit").to_numpy(float))
    return Material(config, videos, faces, partial(read_crop, config.work_dir))


def overview(material: Material) -> str:
    """Counts of the data set."""
    videos, faces = material.videos, material.faces
    labels = videos["label"].map(LABELS).fillna("without a label")
    n_tracks = len(faces[["video_id", "track"]].drop_duplicates())
    readable = videos.loc[videos["status"] == "ok", "video_id"]
    return facts_html(
        {
            "Data set": material.config.dataset,
            "Videos": f"{len(videos):,}: "
            + ", ".join(f"{count:,} {name}" for name, count in sorted(Counter(labels).items())),
            "Unreadable": f"{len(videos) - len(readable):,}",
            "Without a face": f"{(~readable.isin(set(faces['video_id']))).sum():,}",
            "Tracks": f"{n_tracks:,}",
            "Faces": f"{len(faces):,}, {int((~faces['is_detected']).sum()):,} of them carried between two detections",
            "Frames scored": f"{int(faces['p_fake'].notna().sum()):,} by run {material.config.run}",
        }
    )


def video_table(material: Material) -> pd.DataFrame:
    """One row a video: label, length, tracks, faces and the mean p_fake of its frames."""
    of_faces = material.faces.groupby("video_id").agg(
        n_tracks=("track", "nunique"), n_faces=("track", "size"), mean_p_fake=("p_fake", "mean")
    )
    columns = ["video_id", "split", "label", "duration_s", "width_px", "height_px"]
    table = material.videos[columns].merge(of_faces, left_on="video_id", right_index=True, how="left")
    counts = ["n_tracks", "n_faces"]
    table[counts] = table[counts].fillna(0).astype(int)
    table["label"] = table["label"].map(LABELS).fillna("")
    table[["width_px", "height_px"]] = table[["width_px", "height_px"]].astype("Int64")
    return table.set_index("video_id").round({"duration_s": 2, "mean_p_fake": 3})


def busiest_video(material: Material) -> str:
    """The video with most tracks; of several the one with most faces, then the first by name."""
    if material.faces.empty:
        raise UserError(
            f"data set {material.config.dataset!r} has no face; look at extractions.parquet for the reasons"
        )
    table = video_table(material).reset_index()
    best = table.sort_values(["n_tracks", "n_faces", "video_id"], ascending=[False, False, True])
    return str(best["video_id"].iloc[0])


def _tracks(material: Material, video_id: str) -> list[tuple[int, pd.DataFrame]]:
    faces = material.faces[material.faces["video_id"] == video_id].sort_values(["track", "frame_index"])
    if faces.empty:
        known = "no such video" if video_id not in set(material.videos["video_id"]) else "no face was found in it"
        raise UserError(f"video {video_id!r}: {known}; choose one of video_table")
    return [(int(str(track)), rows.reset_index(drop=True)) for track, rows in faces.groupby("track")]


def track_strips(material: Material, video_id: str) -> str:
    """Crops of every track of a video, spread over its time."""
    strips = []
    for track, rows in _tracks(material, video_id):
        shown = rows.iloc[spread_places(len(rows))]
        strips.append(
            Strip(
                title=f"{video_id}, track {track}",
                note=f"shot {rows['shot'].iloc[0]}, {rows['time_s'].iloc[0]:.1f} to {rows['time_s'].iloc[-1]:.1f} s, "
                f"{len(rows)} frames, face {_sides_px(rows).median():.0f} px",
                crops=[
                    material.read_crop(*place) for place in shown[["shard", "offset", "size"]].itertuples(index=False)
                ],
                captions=[
                    f"{time_s:.1f} s" + ("" if np.isnan(p) else f": {p:.2f}")
                    for time_s, p in shown[["time_s", "p_fake"]].itertuples(index=False)
                ],
            )
        )
    return strips_html(strips)


def _sides_px(rows: pd.DataFrame) -> pd.Series:
    return np.maximum(rows["x1_px"] - rows["x0_px"], rows["y1_px"] - rows["y0_px"])


def timeline(material: Material, video_id: str) -> str:
    """Size of each track's face over the time of a video and, where frames are scored, their p_fake."""
    tracks = _tracks(material, video_id)
    sizes = {f"track {track}": (rows["time_s"].to_numpy(), _sides_px(rows).to_numpy()) for track, rows in tracks}
    drawings = [facts_html({"Video": video_id, "Shown": "side of the face"}, plots.over_time(sizes, "px"))]
    scores = {f"track {track}": (rows["time_s"].to_numpy(), rows["p_fake"].to_numpy()) for track, rows in tracks}
    if any(np.isfinite(p).any() for _, p in scores.values()):
        drawing = plots.over_time(scores, "p_fake of the frame", (0, 1))
        drawings.append(facts_html({"Video": video_id, "Shown": "frame network, out of fold, not calibrated"}, drawing))
    return "".join(drawings)


def frame_scores(material: Material) -> str:
    """Histogram of the p_fake of all frames scored out of fold, by the label of their video."""
    faces = material.faces.merge(material.videos[["video_id", "label"]], on="video_id")
    faces = faces[faces["p_fake"].notna() & faces["label"].notna()]
    if faces.empty:
        return facts_html({"Frames scored": "none; run stages 03 and 04 of the same settings"})
    labels, p = faces["label"].to_numpy(int), faces["p_fake"].to_numpy(float)
    return facts_html(
        {"Frames of reals": f"{(labels == 0).sum():,}", "Frames of fakes": f"{(labels == 1).sum():,}"},
        plots.score_histogram(labels, p, "frames"),
    )
