"""`deepfake find`: what it prints and writes, and what it says of bad input."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from deepfake import tables
from deepfake.commands import find
from deepfake.commands.guard import guarded
from deepfake.media.clips import write_clip
from wandering_pictures import FPS, moving


def ended(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    """Exit code, screen and errors of the command."""
    args = find.arguments().parse_args([str(one) for one in arguments])
    with pytest.raises(SystemExit) as stop:
        guarded(lambda: find.run(args))
    said = capsys.readouterr()
    return int(str(stop.value.code)), said.out, said.err


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("found")
    for seed in range(3):
        write_clip(root / "videos" / f"v{seed}.mp4", moving(seed, 3.0), FPS)
    write_clip(root / "part.mkv", [frame[:, ::-1] for frame in moving(1, 3.0)[FPS:]], FPS)
    write_clip(root / "other.mp4", moving(9, 3.0), FPS)
    return root


def test_an_archive_is_indexed_once_and_asked(archive: Path, capsys: pytest.CaptureFixture[str]) -> None:
    index = archive / "index"
    (archive / "videos" / "bad.mp4").write_text("no video")
    code, said, _ = ended(capsys, "index", archive / "videos", "--index", index, "--workers", 1)
    assert code == 0 and said.startswith("4 videos: 3 hashed, 0 known before, 1 unreadable\n  bad.mp4: video 'bad.mp4'")
    _, again, _ = ended(capsys, "index", archive / "videos", "--index", index, "--workers", 1)
    assert again.startswith("4 videos: 0 hashed, 3 known before, 1 unreadable")

    code, said, _ = ended(capsys, "like", archive / "part.mkv", "--index", index)
    assert code == 0 and f"{archive}/videos/v1.mp4" in said and "mirrored" in said
    assert said.endswith("found in 1 among 3 videos; 1 videos of the index could not be read\n")
    _, said, _ = ended(capsys, "like", archive / "other.mp4", "--index", index)
    assert said == "no copy found among 3 videos; 1 videos of the index could not be read\n"
    _, said, _ = ended(capsys, "like", archive / "videos" / "v0.mp4", "--index", index)
    assert said.startswith("no copy found among 2 other videos")

    (row,) = json.loads(ended(capsys, "like", archive / "part.mkv", "--index", index, "--format", "json")[1])
    assert row["video_id"] == "v1.mp4" and row["is_mirrored"] and row["to_s"] == pytest.approx(3.0, abs=0.3)
    ended(capsys, "like", archive / "part.mkv", "--index", index, "--out", archive / "found.csv")
    (line,) = csv.DictReader((archive / "found.csv").open())
    assert line["video_id"] == "v1.mp4" and float(line["from_s"]) == pytest.approx(row["from_s"])


def test_bad_input_gets_a_sentence_and_exit_code_2(
    archive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clip = archive / "other.mp4"
    code, _, said = ended(capsys, "like", clip, "--index", tmp_path / "none")
    assert code == 2 and "does not exist; `deepfake find index FOLDER --index" in said
    (tmp_path / "empty").mkdir()
    code, _, said = ended(capsys, "index", tmp_path / "empty", "--index", tmp_path / "made")
    assert code == 2 and "holds no video" in said
    ended(capsys, "index", archive / "videos", "--index", tmp_path / "made", "--workers", 1)
    (tmp_path / "junk.mp4").write_bytes(b"junk")
    code, _, said = ended(capsys, "like", tmp_path / "junk.mp4", "--index", tmp_path / "made")
    assert code == 2 and "junk.mp4" in said and "nothing was searched for" in said
    code, _, said = ended(capsys, "like", clip, "--index", tmp_path / "made", "--out", tmp_path / "a.txt")
    assert code == 2 and "the ending says how" in said
    for part in (tmp_path / "made").glob("part-*"):
        part.write_bytes(part.read_bytes()[:50])
    code, _, said = ended(capsys, "like", clip, "--index", tmp_path / "made")
    assert code == 2 and "is not a readable Parquet file" in said and "deepfake find index" in said


def test_a_data_set_gets_a_table_of_its_copies(
    archive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = tmp_path / "mine.yaml"
    settings.write_text(f"dataset: mine\ndata_dir: {tmp_path}\nindex: {{root: {archive}}}\n")
    names = ["part.mkv", "other.mp4", "videos/v1.mp4"]
    known = {column.name: None for column in tables.VIDEOS.columns}
    fixed = {"size_bytes": 1, "part": ".", "split": "train", "n_frames": 36, "status": "ok"}
    rows = pd.DataFrame([{**known, **fixed, "video_id": name} for name in names])
    tables.write(tables.VIDEOS, rows, tmp_path / "work" / "mine" / "videos.parquet")
    code, said, _ = ended(capsys, "pairs", "--config", settings, "--workers", 1)
    assert code == 0 and said.startswith("3 videos, 1 pairs that share some seconds, 0 unreadable")
    made = tables.read(tables.COPIES, tmp_path / "work" / "mine" / "copies.parquet")
    assert made[["video_id", "other_id"]].to_numpy().tolist() == [
        ["part.mkv", "videos/v1.mp4"],
        ["videos/v1.mp4", "part.mkv"],
    ]
    assert made["is_mirrored"].all() and np.allclose(made["other_to_s"], [3.0, 2.0], atol=0.3)
