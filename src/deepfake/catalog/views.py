"""What questions in SQL are asked of: views over the stage tables of a data set, each column with its meaning.

To add a view, give `views` one more entry, and `HOW` the command that makes a table it is made of;
`deepfake query --columns` lists it then.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from deepfake.tables import Table

HOW = {
    "videos": "src/01_index_videos.py",
    "extractions": "src/02_extract_faces.py",
    "faces": "src/02_extract_faces.py",
    "failures": "src/02_extract_faces.py",
    "folds": "src/03_make_folds.py",
    "people": "deepfake people",
    "copies": "deepfake find pairs",
    "scores": "src/07_ensemble.py",
}


@dataclass(frozen=True)
class View:
    """One view: its name, what a row is, its columns with their meanings, and the SQL that makes it.

    `wanted` are the stage tables without which it is not there; of others that are missing its columns are empty.
    """

    name: str
    row: str
    columns: Mapping[str, str]
    sql: str
    wanted: Sequence[str]


def stage_tables() -> Mapping[str, Table]:
    """The stage tables by name."""
    from deepfake import tables

    return {
        table.name: table
        for table in (
            *(tables.VIDEOS, tables.EXTRACTIONS, tables.FACES, tables.FAILURES, tables.FOLDS, tables.PEOPLE),
            tables.COPIES,
            *(tables.FRAME_SCORES, tables.TRACK_SCORES, tables.VIDEO_SCORES),
        )
    }


def _own(table: str, *names: str) -> dict[str, str]:
    """Columns of a stage table with the meanings it gives them: these, or all."""
    return {c.name: c.meaning for c in stage_tables()[table].columns if not names or c.name in names}


@cache
def views() -> tuple[View, ...]:
    """All views, in the order in which they are made: some are made of others."""
    return (
        View(
            "videos",
            "a file",
            {
                **_own("videos"),
                "faces_status": "of the search for faces: ok, no_face or failed",
                "faces_reason": "why not ok",
                **_own("extractions", "n_sampled", "n_shots", "n_tracks", "n_faces"),
                **_own("folds", "group", "fold"),
            },
            """
            SELECT v.*, e.status AS faces_status, e.reason AS faces_reason, e.n_sampled, e.n_shots, e.n_tracks,
                e.n_faces, f."group", f.fold
            FROM stage.videos v LEFT JOIN stage.extractions e USING (video_id) LEFT JOIN stage.folds f USING (video_id)
            """,
            ("videos",),
        ),
        View("faces", "a face in a frame", _own("faces"), "SELECT * FROM stage.faces", ("faces",)),
        View(
            "people",
            "a track, with who it is",
            _own("people"),
            # As an array: DuckDB takes a list that is missing for a list of missing numbers, which have no product.
            "SELECT * REPLACE (embedding::FLOAT[128] AS embedding) FROM stage.people",
            ("people",),
        ),
        View(
            "copies",
            "seconds of a video that are seconds of another; each pair stands in it both ways",
            _own("copies"),
            "SELECT * FROM stage.copies",
            ("copies",),
        ),
        View(
            "tracks",
            "a face in a shot",
            {
                **_own("faces", "video_id"),
                **_own("faces", "track"),
                **_own("faces", "shot"),
                "person": _own("people")["person"] + "; empty without the table people",
                "from_s": "when it is first seen, seconds",
                "to_s": "when it is last seen",
                "n_frames": "sampled frames that show it",
                "face_px": "median of the longer side of its boxes",
                "sharpness": "median of its crops'",
                "frames_logit": "mean logit of its frames by the frame networks; empty where none has scored it",
                "p_frames": "the same as 0..1; not calibrated",
            },
            """
            WITH seen AS (
                SELECT video_id, track, min(shot) AS shot, min(time_s) AS from_s, max(time_s) AS to_s,
                    count(*) AS n_frames, median(greatest(x1_px - x0_px, y1_px - y0_px)) AS face_px,
                    median(sharpness) AS sharpness
                FROM stage.faces GROUP BY video_id, track
            ), scored AS (
                SELECT video_id, track, avg(logit) AS frames_logit FROM stage.frame_scores GROUP BY video_id, track
            )
            SELECT video_id, track, shot, person, from_s, to_s, n_frames, face_px, sharpness, frames_logit,
                1 / (1 + exp(-frames_logit)) AS p_frames
            FROM seen LEFT JOIN stage.people USING (video_id, track) LEFT JOIN scored USING (video_id, track)
            """,
            ("faces",),
        ),
        View(
            "shots",
            "a shot in which there is a face",
            {
                **_own("faces", "video_id", "shot"),
                "from_s": "when a face is first seen in it, seconds",
                "to_s": "when one is last seen in it",
                "n_tracks": "tracks in it",
                "n_people": "persons in it; a track that cannot be compared, or without the table people, is one",
                "worst_p_frames": "the highest p_frames of its tracks",
            },
            """
            SELECT video_id, shot, min(from_s) AS from_s, max(to_s) AS to_s, count(*) AS n_tracks,
                count(DISTINCT coalesce(person, -1 - track)) AS n_people, max(p_frames) AS worst_p_frames
            FROM tracks GROUP BY video_id, shot
            """,
            ("faces",),
        ),
        View(
            "scores",
            "what a model makes of a video, or of a track of it",
            {
                **_own("video_scores", "model", "video_id"),
                "track": "empty: the row is of the whole video",
                "scored": "oof: by networks that have not seen the video; test: a video to predict",
                "n_frames": "frames behind a track's logit",
                "logit": "above 0: fake; of tracks as the network gives it, not calibrated",
                "p_fake": "0..1, of whole videos; the model ensemble is the calibrated one",
                **_own("video_scores", "fallback"),
            },
            """
            SELECT model, video_id, NULL::INTEGER AS track, scored, NULL::INTEGER AS n_frames,
                ln(greatest(p_fake, 1e-9) / greatest(1 - p_fake, 1e-9)) AS logit, p_fake, fallback
            FROM stage.video_scores
            UNION ALL
            SELECT model, video_id, track, scored, n_frames, logit::DOUBLE, NULL, NULL FROM stage.track_scores
            UNION ALL
            SELECT model, video_id, track, scored, count(*)::INTEGER, avg(logit), NULL, NULL
            FROM stage.frame_scores GROUP BY model, video_id, track, scored
            """,
            ("scores",),
        ),
        View(
            "failures",
            "a video that a stage failed on",
            _own("failures"),
            "SELECT * FROM stage.failures",
            ("failures",),
        ),
    )
