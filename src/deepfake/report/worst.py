"""The worst mistakes: reals that look most fake, fakes that look most real, each with a strip of its crops."""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pandas as pd

from deepfake.config import PROJECT_ROOT, Config, UserError
from deepfake.metrics import THRESHOLD
from deepfake.report.inputs import ReportInputs
from deepfake.report.plain import plain_rows
from deepfake.report.templates import data_url

STRIP_FRAMES = 8
STRIP_PX = 112
STRIP_QUALITY = 80
CHECKS = "checks"  # folder of check pages beside the report
MARK = 8  # hex digits of the video's SHA-256 in the name of its page
COLUMNS = (
    *("video_id", "label", "p_fake", "fallback", "part", "manipulation", "identity", "group", "fold"),
    *("n_faces", "n_tracks", "faces_at_once", "face_px", "brightness", "duration_s", "codec"),
)


def worst_videos(scored: pd.DataFrame, config: Config) -> dict[str, list[dict[str, Any]]]:
    """`false_alarms` and `misses`: the reals of highest and the fakes of lowest p_fake, the worst first.

    Where there are fewer mistakes than asked for, the nearest right answers follow; `is_wrong` tells them apart.
    """
    error = (scored["p_fake"] - scored["label"]).abs()
    ordered = scored.assign(error=error).sort_values(["error", "video_id"], ascending=[False, True])
    pages = pages_by_mark(config.submission_dir / CHECKS)
    n, columns = config.validation.worst_videos, [*COLUMNS, "sha256"]
    return {
        name: [_row(row, pages, config) for row in plain_rows(ordered[ordered["label"] == label].head(n)[columns])]
        for name, label in (("false_alarms", 0), ("misses", 1))
    }


def pages_by_mark(folder: Path) -> dict[str, str]:
    """Names of the check pages in a folder by the beginning of their video's SHA-256, which their names hold."""
    found = {}
    for path in sorted(folder.glob("*.html"), reverse=True):
        marks = re.findall(rf"-([0-9a-f]{{{MARK}}})(?=[-.])", path.name)
        found.update(dict.fromkeys(marks, path.name))
    return found


def _row(row: dict[str, Any], pages: Mapping[str, str], config: Config) -> dict[str, Any]:
    mark = (row.pop("sha256") or "")[:MARK]
    page = pages.get(mark)
    return row | {
        "is_wrong": (row["p_fake"] > THRESHOLD) != bool(row["label"]),
        "page": quote(f"{CHECKS}/{page}") if page else None,
        "command": check_command(config, [row["video_id"]], f"{CHECKS}/check-{mark}.html" if mark else CHECKS),
    }


def check_command(config: Config, video_ids: Sequence[str], out: str = CHECKS) -> str:
    """The command that makes the own pages of videos where the report looks for them."""
    root = config.path(config.index.root)
    words = [
        "--weights",
        _short(config.run_dir / "detector.safetensors"),
        "--html",
        _short(config.submission_dir / out),
    ]
    words += ["--", *(_short(root / video_id) for video_id in video_ids)]
    return f".venv/bin/python src/check_video.py {shlex.join(words)}"


def _short(path: Path) -> str:
    return path.relative_to(PROJECT_ROOT).as_posix() if path.is_relative_to(PROJECT_ROOT) else str(path)


def strip(inputs: ReportInputs, video_id: str) -> dict[str, Any]:
    """Up to eight crops of the track that looks most fake, as data URLs with their times and scores."""
    faces = inputs.faces[inputs.faces["video_id"] == video_id]
    if faces.empty:
        return {"frames": [], "note": "no face was found"}
    faces = faces.merge(_frame_logits(inputs.frame_scores, video_id), on=["track", "frame_index"], how="left")
    track = _shown_track(faces)
    chosen = faces[faces["track"] == track].sort_values("frame_index").reset_index(drop=True)
    picks = np.unique(np.linspace(0, len(chosen) - 1, min(STRIP_FRAMES, len(chosen))).round().astype(int))
    frames = []
    try:
        for row in chosen.loc[picks].to_dict("records"):
            crop = inputs.read_crop(row["shard"], int(row["offset"]), int(row["size"]))
            logit = float(row["logit"])
            p = None if math.isnan(logit) else 1 / (1 + math.exp(-max(-500.0, logit)))
            frames.append({"url": data_url(crop, STRIP_PX, STRIP_QUALITY), "time_s": float(row["time_s"]), "p_fake": p})
    except (UserError, OSError) as error:
        return {"frames": [], "note": f"the crops cannot be read: {error}"}
    return {"frames": frames, "note": f"track {track} of {faces['track'].nunique()}, {len(chosen)} crops"}


def _frame_logits(frame_scores: pd.DataFrame | None, video_id: str) -> pd.DataFrame:
    if frame_scores is None:
        return pd.DataFrame({"track": [], "frame_index": [], "logit": []}).astype({"track": int, "frame_index": int})
    own = frame_scores[frame_scores["video_id"] == video_id]
    return own.groupby(["track", "frame_index"], as_index=False)["logit"].mean()


def _shown_track(faces: pd.DataFrame) -> int:
    """The track of highest mean logit; without logits, the one with most crops; ties go to the lower number."""
    facts = faces.groupby("track").agg(logit=("logit", "mean"), n=("logit", "size")).sort_index()
    column = facts["logit"].fillna(-math.inf) if facts["logit"].notna().any() else facts["n"]
    return int(column.idxmax())
