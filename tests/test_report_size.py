"""The report of five thousand videos: made within a minute of one core, and small enough to open at once."""

import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from deepfake import tables
from deepfake.aggregate import Tracks
from deepfake.config import parse_config
from deepfake.ensemble_table import Evidence
from deepfake.report.inputs import ReportInputs
from deepfake.report.validation import Report, build_report
from deepfake.shards import encode_crop, read_crop, write_shard

N_VIDEOS, N_FRAMES, CROP_PX = 5000, 32, 224
MAX_CPU_S, MAX_PAGE_BYTES = 60, 4_000_000


def filled(table: tables.Table, n: int, **columns: object) -> pd.DataFrame:
    """`n` rows with these columns; the others are empty or zero."""
    rest = {c.name: None if c.nullable else 0.0 for c in table.columns if c.name not in columns}
    return tables.check(table, pd.DataFrame({**rest, **columns}, index=range(n))).to_pandas()


def many_videos(work_dir: Path, n: int = N_VIDEOS) -> ReportInputs:
    """A data set of `n` videos as stages 01 to 07 would leave it: 1,000 people, every fourth video real."""
    generator = np.random.default_rng(0)
    number = np.arange(n)
    label = (number % 4 > 0).astype(int)
    ids = np.array([f"dfdc_train_part_{i % 10}/{i:06d}.mp4" for i in number])
    original = [None if i % 4 == 0 else ids[i - i % 4] for i in number]
    group = np.array([ids[i - i % 5] for i in number])
    video = {"video_id": ids, "part": [i.split("/")[0] for i in ids], "split": "train", "label": label}
    video |= {"original": original, "identity": [f"person {i // 5}" for i in number], "status": "ok"}
    video |= {"manipulation": [f"kind {i % 7}" if i % 4 else None for i in number]}
    video |= {"size_bytes": generator.integers(10**6, 10**7, n), "n_frames": 300, "fps": 30.0, "duration_s": 10.0}
    video |= {"codec": generator.choice(["h264", "hevc", "vp9"], n), "width_px": 1920, "height_px": 1080}
    hashes = [[generator.bytes(32).hex() for _ in range(8)] for _ in number]
    p = 1 / (1 + np.exp(-generator.normal(np.where(label, 1.0, -1.0), 1.5)))
    scores = [
        filled(tables.VIDEO_SCORES, n, model=model, video_id=ids, p_fake=np.clip(p + shift, 0.001, 0.999))
        for model, shift in (("ensemble", 0.0), ("frames", 0.01), ("sequences", -0.02))
    ]
    rows = np.repeat(number, N_FRAMES)
    places = _crops(work_dir, generator)
    picture = generator.integers(len(places), size=len(rows))
    frame = {"video_id": ids[rows], "track": 0, "frame_index": np.tile(np.arange(N_FRAMES) * 9, n)}
    faces = frame | {"shard": "crops/all.tar", "offset": [places[k][0] for k in picture], "shot": 0}
    faces |= {"size": [places[k][1] for k in picture], "x1_px": 150.0, "y1_px": 180.0, "sharpness": 90.0}
    faces |= {"time_s": frame["frame_index"] / 30, "is_detected": True}
    logits = np.log(p / (1 - p))[rows] + generator.normal(0, 1, len(rows))
    members = np.stack([np.log(p / (1 - p)), generator.normal(2.0 * label - 1, 1.5)], axis=1)
    return ReportInputs(
        config=parse_config({"run": "many"}),
        videos=filled(tables.VIDEOS, n, **video),
        extractions=filled(tables.EXTRACTIONS, n, video_id=ids, status="ok", frame_hashes=hashes),
        faces=filled(tables.FACES, len(rows), **faces),
        folds=filled(tables.FOLDS, n, video_id=ids, group=group, fold=(number // 5) % 5),
        failures=filled(tables.FAILURES, 3, stage="02_extract_faces", video_id=["a", "b", "c"], reason="broken"),
        scores=pd.concat(scores, ignore_index=True),
        read_crop=lambda shard, offset, size: read_crop(work_dir, shard, offset, size),
        frame_scores=filled(tables.FRAME_SCORES, len(rows), model="frames", logit=logits, **frame),
        test_scores=scores[0],
        evidence=Evidence(Tracks.one_each(members, ["frames", "sequences"]), label, (number // 5) % 5, group.tolist()),
        facts={"commit": "abc123"},
    )


def _crops(work_dir: Path, generator: np.random.Generator) -> list[tuple[int, int]]:
    """Places of a few noisy pictures, as slow to decode as faces."""
    pictures = [
        (f"{k}.jpg", encode_crop(generator.integers(60, 180, (CROP_PX, CROP_PX, 3), dtype=np.uint8), "jpeg", 95))
        for k in range(20)
    ]
    return write_shard(work_dir / "crops/all.tar", pictures, {"faces": [{} for _ in pictures]})


@pytest.fixture(scope="module")
def timed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Report, float]:
    work_dir = tmp_path_factory.mktemp("many")
    found = many_videos(work_dir)
    start = time.process_time()
    report = build_report(found)
    return report, time.process_time() - start


@pytest.mark.slow
def test_the_report_of_five_thousand_videos_takes_less_than_a_minute_of_one_core(timed) -> None:
    assert timed[1] < MAX_CPU_S


@pytest.mark.slow
def test_the_page_of_five_thousand_videos_stays_small_and_the_tables_hold_them_all(timed) -> None:
    report = timed[0]
    assert len(report.html) < MAX_PAGE_BYTES
    assert report.html.count("<tr") < 1000
    assert report.tables["videos.csv"].count(b"\n") == N_VIDEOS + 1
    assert 'href="tables/groups.csv"' in report.html
