"""A detector's band by left-out sources: the command on a file, the table, and labels that do not say enough."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from deepfake.commands import recalibrate
from deepfake.detector import by_sources
from deepfake.detector.by_sources import Measured, decisions_of, refit, rows
from deepfake.detector.file import open_detector, write_stack
from deepfake.detector.header import read_detector
from deepfake.detector.listed_crops import read_crops
from deepfake.detector.recalibration import networks_sha256
from deepfake.ensemble.calibration import Calibration
from deepfake.ensemble.pooling import Tracks
from deepfake.ensemble.stack import Stack
from deepfake.errors import UserError
from deepfake.models.detector_file import read_header
from deepfake.settings import Ensemble, Predict
from deepfake.training.source_groups import CLIPS
from learning_data import one_thread  # noqa: F401 - a fixture
from listed_faces import write_list
from little_detector import two_members
from promises import promise

STACK = Stack(("a",), (1.0,), Calibration("platt", 3.0, 1.0, 50), 0.5, (0.3, 0.7))
N_SOURCES, OF_EACH = 12, 12  # so many reals, and so many forged clips


def clips(separation: float, **changes: object) -> Measured:
    """Sources of their own people and generators; forged clips have logits higher by `separation`."""
    about = [
        (label, "swap" if label else "real", f"g{s}" if label else "-", f"p{s}-{k}", f"s{s:02d}", "x")
        for s in range(N_SOURCES)
        for label in (0, 1)
        for k in range(OF_EACH)
    ]
    table = pd.DataFrame([[f"c{i}", *one] for i, one in enumerate(about)], columns=list(CLIPS)).assign(**changes)
    labels = table["label"].to_numpy()
    logits = labels * separation + np.random.default_rng(0).normal(-separation / 2, 1, len(labels))
    return Measured(table, Tracks.one_each(logits[:, None], ["a"], table["clip"].tolist()))


def test_clips_of_twelve_sources_make_a_promise() -> None:
    made = refit(STACK, clips(10), Ensemble())
    assert made.found.promise.n_groups == N_SOURCES and made.found.promise.gives_any
    assert made.found.stack.calibration != STACK.calibration and made.found.stack.weights == STACK.weights


def test_the_table_counts_what_was_decided_before_and_after() -> None:
    known = clips(0)
    before = np.where(known.labels == 1, 1, -1)
    before[:3] = 1  # three reals of the first source
    lines = rows(known, before, np.full(len(before), -1))
    assert lines[0] == "| all | 144 + 144 | 147 | 3 (2%) | 0 | - |"
    assert lines[1] == "| “likely forged” | 144 + 144 | 147 | 3 (2%) | 0 | - |"
    assert lines[2] == "| “likely real” | 144 + 144 | 0 | - | 0 | - |"
    assert "| real | 144 + 0 | 3 | 3 (100%) | 0 | - |" in lines and "| swap | 0 + 144 | 144 | 0 (0%) | 0 | - |" in lines
    assert "| s00 | 12 + 12 | 15 | 3 (20%) | 0 | - |" in lines and len(lines) == 3 + 2 + N_SOURCES


def test_small_groups_share_a_line() -> None:
    table = clips(0).clips.iloc[[0, 1, 2, 24, 48]].reset_index(drop=True)
    known = Measured(table, Tracks.one_each(np.zeros((5, 1)), ["a"], table["clip"].tolist()))
    lines = rows(known, np.zeros(5, int), np.zeros(5, int))
    assert lines[-2:] == [
        "| s00 | 3 + 0 | 3 | 0 (0%) | 3 | 0 (0%) |",
        "| 2 smaller groups | 2 + 0 | 2 | 0 (0%) | 2 | 0 (0%) |",
    ]


def test_a_score_on_a_bound_is_inconclusive() -> None:
    assert decisions_of(np.array([0.2, 0.3, 0.5, 0.7, 0.8]), (0.3, 0.7)).tolist() == [0, -1, -1, -1, 1]
    assert decisions_of(np.array([0.01, 0.99]), (0.0, 1.0)).tolist() == [-1, -1]


def test_clips_that_do_not_say_where_they_come_from_are_refused() -> None:
    with pytest.raises(UserError, match=r"288 of 288 clips have no source, the first 'c0'.*--by people"):
        refit(STACK, clips(10, source=" "), Ensemble())


@pytest.mark.usefixtures("one_thread")
def test_a_clip_of_two_collections_is_refused(tmp_path: Path) -> None:
    path, _ = two_members(tmp_path)
    detector = open_detector(path, Predict())
    listed = read_crops(write_list(tmp_path), ["train"], detector.extract, tmp_path / "cache")
    once = by_sources.measured(detector, "x", [listed], Predict())
    assert once.clips["clip"].tolist() == ["c1", "c2"] and once.labels.tolist() == [0, 1]
    with pytest.raises(UserError, match="2 clips are in two collections, the first 'c1'"):
        by_sources.measured(detector, "x", [listed, listed], Predict())


def test_clips_of_one_source_are_refused() -> None:
    with pytest.raises(UserError, match="all videos are of one group of sources"):
        refit(STACK, clips(10, source="all"), Ensemble())


def test_reals_alone_are_refused() -> None:
    with pytest.raises(UserError, match="none of them real or none forged"):
        refit(STACK, clips(10, label=0), Ensemble())


def test_a_promise_goes_with_its_stack(tmp_path: Path) -> None:
    old, _ = two_members(tmp_path)
    first, second = tmp_path / "first.safetensors", tmp_path / "second.safetensors"
    stack = read_detector(old).stack
    assert read_detector(old).promise is None and open_detector(old, Predict()).promise is None
    closed = Stack.from_dict({**stack.to_dict(), "band": [0.0, 0.8]})
    write_stack(old, first, closed, promise())
    assert read_detector(first).promise == promise() == open_detector(first, Predict()).promise
    write_stack(first, second, stack)
    assert read_detector(second).promise is None and "promise" not in read_header(second)
    assert networks_sha256(old) == networks_sha256(first) == networks_sha256(second)
    write_stack(old, first, stack, promise())  # whose band says "likely real" below .4
    with pytest.raises(UserError, match="gives the verdict real, which was not promised"):
        read_detector(first)


@pytest.mark.usefixtures("one_thread")
def test_the_command_writes_a_detector_with_what_it_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    old, _ = two_members(tmp_path)
    crops_csv, out = write_list(tmp_path), tmp_path / "new.safetensors"
    known = clips(10)
    two = Tracks.one_each(np.repeat(known.tracks.logits_KM, 2, axis=1), ["wide", "near-250"], known.tracks.video_ids)
    asked = []
    monkeypatch.setattr(
        by_sources,
        "measured",
        lambda detector, networks, sets, predict, left_out: asked.append(sets) or Measured(known.clips, two),
    )
    words = ["--weights", old, "--crops", crops_csv, "--splits", "train", "--out", out, "--cache", tmp_path / "cache"]
    recalibrate.run(recalibrate.arguments().parse_args([str(word) for word in words]))
    said = capsys.readouterr().out
    assert [clip for (one,) in asked for clip in one.video_ids] == ["c1", "c2"], "the split that was named"
    told = read_detector(out).promise
    assert told is not None and told.n_videos == 288 and told.gives_any
    assert "| all | 144 + 144 |" in said and "“Likely forged” was wrong" in said


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--clips", "."], "--clips and --labels belong together"),
        (["--crops", "more.csv"], "--crops and --splits belong together"),
        ([], "no labelled clips given: wanted --clips or --crops"),
        (["--by", "people", "--crops", "more.csv", "--splits", "train"], "no labelled clips given: wanted --clips"),
        (
            ["--by", "people", "--clips", ".", "--labels", "l.csv", "--left-out", "s.parquet"],
            "--left-out: wanted with --by sources",
        ),
    ],
)
def test_half_a_question_is_refused(arguments: list[str], message: str, tmp_path: Path) -> None:
    args = recalibrate.arguments().parse_args([*arguments, "--out", str(tmp_path / "o.safetensors")])
    with pytest.raises(UserError, match=message):
        recalibrate.run(args)
