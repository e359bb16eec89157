"""A page of the surest mistakes: reals that look forged and forgeries that look real, six crops of each.

What a detector is sure of and wrong about says more of it than its mean error does.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from markupsafe import Markup

from deepfake.evaluation.labelled import Labelled
from deepfake.faces.crop_store import read_crop
from deepfake.report.strips import Strip, page_environment, spread_places, strips_html

CROPS = 6
KINDS = ("False alarms: reals that look forged", "Misses: forgeries that look real")
SHOWN_COLUMNS = ("family", "generator", "source", "identity")


def surest_mistakes(videos: Sequence[Labelled], p: np.ndarray, most: int) -> tuple[list[int], list[int]]:
    """Numbers of the reals of highest p_fake, above 0.5, and of the fakes of lowest, below it; surest first."""
    labels = np.array([video.label for video in videos])
    alarms = [i for i in np.argsort(-p, kind="stable").tolist() if labels[i] == 0 and p[i] > 0.5]
    misses = [i for i in np.argsort(p, kind="stable").tolist() if labels[i] == 1 and p[i] < 0.5]
    return alarms[:most], misses[:most]


def mistakes_page(
    videos: Sequence[Labelled], video_ids: Sequence[str], p: np.ndarray, faces: pd.DataFrame, work_dir: Path, most: int
) -> str:
    """The page. `p` are the videos' p_fake, `faces` rows of the faces table whose crops lie in `work_dir`."""
    of_video = dict(iter(faces.groupby("video_id", sort=False)))
    parts = []
    for kind, numbers in zip(KINDS, surest_mistakes(videos, p, most), strict=True):
        strips = [_strip(videos[i], p[i], of_video.get(video_ids[i]), work_dir) for i in numbers]
        parts.append((kind, len(strips), Markup(strips_html(strips))))  # noqa: S704 - escaped there
    return (
        page_environment(Path(__file__).parent)
        .get_template("mistakes.html.jinja")
        .render(parts=parts, n_videos=len(videos))
    )


def _strip(video: Labelled, p_fake: float, faces: pd.DataFrame | None, work_dir: Path) -> Strip:
    known = ", ".join(video.columns[name] for name in SHOWN_COLUMNS if video.columns.get(name))
    if faces is None:
        return Strip(video.name, f"p_fake {p_fake:.3f}; no face found; {known}", [], [])
    side = float((faces["x1_px"] - faces["x0_px"]).median())
    rows = faces.iloc[spread_places(len(faces), CROPS)]
    crops, times = zip(*_crops(rows, work_dir), strict=True)
    n_tracks = faces["track"].nunique()
    note = f"p_fake {p_fake:.3f}; face {side:.0f} px wide; {n_tracks} track{'s' * (n_tracks > 1)}; {known}"
    return Strip(video.name, note, crops, times)


def _crops(rows: pd.DataFrame, work_dir: Path) -> Iterator[tuple[np.ndarray, str]]:
    for row in rows[["shard", "offset", "size", "time_s"]].itertuples(index=False):
        yield read_crop(work_dir, str(row.shard), int(row.offset), int(row.size)), f"{float(row.time_s):.1f} s"
