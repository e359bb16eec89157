"""Invented inputs of a validation report."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from deepfake import tables
from deepfake.faces.crop_store import encode_crop, read_crop, write_shard
from deepfake.report.inputs import ReportInputs
from deepfake.report.validation import Report, build_report
from deepfake.settings_file import parse_config

NASTY = 'part_1/<script>alert("1")</script>\n\'&\u202e".mp4'


N_ORIGINALS, N_FRAMES = 12, 10


def round_trip(table: tables.Table, rows: list[dict[str, object]]) -> pd.DataFrame:
    """Rows as a stage would read them: checked, typed, sorted."""
    frame = pd.DataFrame(rows, columns=[c.name for c in table.columns])
    return tables.check(table, frame).to_pandas()


def names() -> list[tuple[str, int, str, str | None]]:
    """(video_id, label, original, manipulation): each original has two fakes."""
    rows: list[tuple[str, int, str, str | None]] = []
    for i in range(N_ORIGINALS):
        original = NASTY if i == 3 else f"part_{i % 2}/real{i:02d}.mp4"
        rows.append((original, 0, original, None))
        rows.append((f"part_{i % 2}/swap{i:02d}.mp4", 1, original, "swap"))
        rows.append((f"part_{i % 2}/mouth{i:02d}.mp4", 1, original, "mouth <b>"))
    return rows


def videos() -> pd.DataFrame:
    rows = []
    for video_id, label, original, manipulation in names():
        row = dict.fromkeys(c.name for c in tables.VIDEOS.columns)
        row |= {"video_id": video_id, "size_bytes": 1, "part": video_id.split("/")[0], "split": "train", "label": label}
        row |= {"original": original if label else None, "manipulation": manipulation, "n_frames": 300, "fps": 30.0}
        row |= {"duration_s": 10.0, "codec": "h264", "status": "ok"}
        rows.append(row)
    return round_trip(tables.VIDEOS, rows)


def folds() -> pd.DataFrame:
    rows = [{"video_id": v, "group": original, "fold": int(original[-6:-4], 36) % 3} for v, _, original, _ in named()]
    return round_trip(tables.FOLDS, rows)


def named() -> list[tuple[str, int, str, str | None]]:
    return [(v, label, "part_1/real03.mp4" if o == NASTY else o, m) for v, label, o, m in names()]


def scores() -> pd.DataFrame:
    generator = np.random.default_rng(0)
    rows = []
    for video_id, _, _, manipulation in names():
        shift = {None: -1.5, "swap": 2.0, "mouth <b>": 0.3}[manipulation]
        has_no_face = video_id.endswith("real05.mp4")
        for model in ("frames", "sequences", "ensemble"):
            p = 1 / (1 + np.exp(-generator.normal(shift, 1)))
            p = 0.66 if has_no_face else 0.97 if video_id == NASTY else p
            rows.append(
                {
                    "model": model,
                    "video_id": video_id,
                    "p_fake": p,
                    "n_faces": N_FRAMES,
                    "n_tracks": 1,
                    "fallback": "no_face" if has_no_face else None,
                }
            )
    return round_trip(tables.VIDEO_SCORES, rows)


def picture(seed: int) -> np.ndarray:
    generator = np.random.default_rng(seed)
    return np.repeat(np.repeat(generator.integers(0, 255, (4, 4, 3), dtype=np.uint8), 16, 0), 16, 1)


def faces(work_dir: Path) -> pd.DataFrame:
    rows = []
    for i, (video_id, _, _, _) in enumerate(names()):
        if video_id.endswith("real05.mp4"):
            continue
        pictures = [(f"{k}.jpg", encode_crop(picture(100 * i + k), "jpeg", 90)) for k in range(N_FRAMES)]
        shard = f"crops/{i:03d}.tar"
        places = write_shard(work_dir / shard, pictures, {"faces": [{} for _ in pictures]})
        for k, (offset, size) in enumerate(places):
            row: dict[str, object] = {c.name: 0.0 for c in tables.FACES.columns}
            row |= {
                "video_id": video_id,
                "shot": 0,
                "track": k % 2,
                "frame_index": 30 * (k // 2),
                "time_s": float(k // 2),
            }
            row |= {"x1_px": 60.0 + 20 * (i % 12), "y1_px": 80.0 + 20 * (i % 12), "is_detected": True}
            rows.append(row | {"shard": shard, "offset": offset, "size": size})
    return round_trip(tables.FACES, rows)


def extractions() -> pd.DataFrame:
    rows = []
    for video_id, _, _, _ in names():
        status = "no_face" if video_id.endswith("real05.mp4") else "ok"
        rows.append(
            {"video_id": video_id, "status": status, "n_sampled": 16, "n_shots": 1, "n_tracks": 1, "n_faces": N_FRAMES}
            | {"frame_hashes": [], "reason": None, "decoder": "pyav", "decoder_reason": "tested"}
        )
    return round_trip(tables.EXTRACTIONS, rows)


def frame_scores(faces_table: pd.DataFrame) -> pd.DataFrame:
    rows = faces_table[["video_id", "track", "frame_index"]].assign(
        model="frames", logit=lambda f: f["track"] * 2.0 - 1
    )
    return round_trip(tables.FRAME_SCORES, rows.to_dict("records"))


def invented_inputs(work_dir: Path) -> ReportInputs:
    """All tables of an invented run; its crops are written below `work_dir`."""
    faces_table = faces(work_dir)
    failures = [{"stage": "02_extract_faces", "video_id": "part_0/<i>bad.mp4", "reason": "decoded 0 of 300 <frames>"}]
    return ReportInputs(
        parse_config({"run": "invented", "validation": {"bootstrap": 100, "ece_bins": 5, "worst_videos": 6}}),
        videos(),
        extractions(),
        faces_table,
        folds(),
        round_trip(tables.FAILURES, failures),
        scores(),
        lambda shard, offset, size: read_crop(work_dir, shard, offset, size),
        frame_scores(faces_table),
        scores(),
        facts={"commit": "abc123", "python": "3.11"},
    )


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> ReportInputs:
    return invented_inputs(tmp_path_factory.mktemp("work"))


@pytest.fixture(scope="module")
def report(inputs: ReportInputs) -> Report:
    return build_report(inputs)
