"""`deepfake find`: what it prints and writes, and what it says of bad input."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from deepfake import tables
from deepfake.catalog.copy_index import read_index
from deepfake.commands import find
from deepfake.commands.guard import guarded
from deepfake.faces import extractor
from deepfake.faces.extracted import Job, shard_name
from deepfake.faces.extractor import extract
from deepfake.files import sha256_of
from deepfake.media.clips import write_clip
from deepfake.settings import Extract
from moving_squares import SquareDetector
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


def test_the_index_of_a_data_set_takes_what_extraction_kept(
    archive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extractor, "_detector", lambda *arguments: SquareDetector())
    settings, work = tmp_path / "mine.yaml", tmp_path / "work" / "mine"
    settings.write_text(f"dataset: mine\ndata_dir: {tmp_path}\nindex: {{root: {archive}}}\n")
    known = {column.name: None for column in tables.VIDEOS.columns}
    fixed = {"part": ".", "split": "train", "n_frames": 36, "status": "ok"}
    rows = []
    for name in ("part.mkv", "other.mp4", "videos/v1.mp4"):
        path = archive / name
        state = {"size_bytes": path.stat().st_size, "sha256": sha256_of(path)}
        rows.append({**known, **fixed, **state, "video_id": name})
        shard = shard_name(str(state["sha256"]), Extract())
        if name != "other.mp4":
            assert extract(Job(name, path, work, shard, Extract())).failure is None
    tables.write(tables.VIDEOS, pd.DataFrame(rows), work / "videos.parquet")
    code, said, _ = ended(capsys, "index", "--config", settings, "--workers", 1)
    assert code == 0 and said.startswith("3 videos: 3 hashed (2 when their faces were extracted), 0 known before")
    ended(capsys, "index", archive, "--index", tmp_path / "decoded", "--workers", 1)
    taken, decoded = read_index(work / "copies.index"), read_index(tmp_path / "decoded")
    for number, (_, name) in enumerate(taken.keys):
        other = decoded.held([key[1] for key in decoded.keys].index(name))
        assert np.array_equal(taken.held(number).words_NW, other.words_NW)
    # One that was changed since stage 01 is decoded as it is now: its crops are of what it was.
    changed = archive / "videos" / "v1.mp4"
    os.utime(changed, ns=(2**62, 2**62))
    _, said, _ = ended(capsys, "index", "--config", settings, "--workers", 1)
    assert said.startswith("3 videos: 1 hashed, 2 known before")


def test_an_index_wants_a_folder_or_a_data_set(capsys: pytest.CaptureFixture[str]) -> None:
    for given in ((), ("folder", "--config", "mine.yaml")):
        code, _, said = ended(capsys, "index", *given)
        assert code == 2 and "name a folder of videos, or the settings of a data set with --config" in said
    code, _, said = ended(capsys, "index", "folder", "--set", "a.b=1")
    assert code == 2 and "--set changes the settings of a data set" in said
