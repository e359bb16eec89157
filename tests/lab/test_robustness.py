"""Damaged copies of videos, cells that go on where they were, and the table; a stub stands in for the detector."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from deepfake.detector.score_videos import Scored
from deepfake.errors import UserError
from deepfake.evaluation.labelled import Labelled, spread
from deepfake.files import PROJECT_ROOT, sha256_of
from deepfake.media.clips import write_clip
from deepfake.media.video import probe, sample
from deepfake.settings import Robustness, Validation
from drawn_faces import write_person
from lab.distortions import Distortion
from lab.robustness import Bench, Clip, Material, gather, measured, write_distorted
from lab.robustness_report import as_csv, as_markdown, as_svg, write_table
from run_command import run

SETTINGS = Robustness(seconds=1, workers=1, deadline_s=60, clips_on_disk=2)


def clip(path: Path, grey: int, n_frames: int = 16) -> Path:
    write_clip(path, [np.full((48, 64, 3), grey, np.uint8)] * n_frames, 8, crf=4, options={"preset": "ultrafast"})
    return path


class Stub:
    """Scores a video by the grey of its first frame and counts what it was shown."""

    def __init__(self, stop_after: int | None = None, fallback: str | None = None) -> None:
        self.seen: list[str] = []
        self.stop_after, self.fallback = stop_after, fallback

    def __call__(self, paths: dict[str, Path], cache_dir: Path) -> Iterator[Scored]:
        for name, path in paths.items():
            if len(self.seen) == self.stop_after:
                raise KeyboardInterrupt
            self.seen.append(name)
            with sample(path, n_frames=1) as video:
                (frame,) = video
            yield Scored(name, float(frame.rgb().mean()) / 255, 8, 1, self.fallback)


def bench(out: Path, score: Stub, **changes: object) -> Bench:
    return Bench(score, "weights", 0.5, SETTINGS.model_copy(update=changes), out)


def material(paths: dict[str, Path]) -> Material:
    videos = [Labelled(name, number % 2, {"file": name}) for number, name in enumerate(paths)]
    return Material(videos, paths, {name: sha256_of(path) for name, path in paths.items()})


@pytest.fixture
def greys(tmp_path: Path) -> Material:
    return material({name: clip(tmp_path / name, 40 * i) for i, name in enumerate(("a.mp4", "b.mp4", "c.mp4"), 1)})


def nothing() -> None:
    """No progress bar."""


def written(source: Path, target: Path, distortion: Distortion, seconds: float = 1) -> Path:
    assert (
        write_distorted(Clip(name="v", source=source, target=target, distortion=distortion, seconds=seconds, crf=6))
        is None
    )
    return target


def test_a_copy_holds_the_beginning_at_the_same_pace(tmp_path: Path) -> None:
    probed = probe(written(clip(tmp_path / "a.mp4", 90), tmp_path / "none.mp4", Distortion("none")))
    assert (probed.n_frames, probed.fps, probed.width_px) == (8, pytest.approx(8), 64)


def test_fewer_frames_last_as_long_and_a_smaller_picture_stays_small(tmp_path: Path) -> None:
    source = clip(tmp_path / "a.mp4", 90)
    probed = probe(written(source, tmp_path / "fps.mp4", Distortion("fps", 4)))
    assert (probed.n_frames, probed.fps) == (2, pytest.approx(2))
    assert probe(written(source, tmp_path / "scale.mp4", Distortion("scale", 0.5))).width_px == 32


def test_a_video_shorter_than_asked_for_is_taken_whole(tmp_path: Path) -> None:
    probed = probe(written(clip(tmp_path / "a.mp4", 90, 5), tmp_path / "none.mp4", Distortion("none"), seconds=60))
    assert probed.n_frames == 5


def test_the_heavier_crf_makes_the_smaller_file(tmp_path: Path) -> None:
    write_person(tmp_path / "a.mp4", 1, n_frames=8)
    sizes = [
        written(tmp_path / "a.mp4", tmp_path / f"{crf}.mp4", Distortion("h264", crf)).stat().st_size
        for crf in (23, 32, 40)
    ]
    assert sizes[0] > sizes[1] > sizes[2]


@pytest.mark.parametrize("height_px", [96, 720])
def test_writing_without_damage_shifts_no_colours(height_px: int, tmp_path: Path) -> None:
    y, x = np.mgrid[0:height_px, 0:160]
    picture = np.stack([x / 160 * 255, y / height_px * 255, 255 - x / 160 * 255], -1).astype(np.uint8)
    write_clip(tmp_path / "a.mp4", [picture] * 2, 8, crf=4, options={"colorspace": "smpte170m"})
    copy = written(tmp_path / "a.mp4", tmp_path / "none.mp4", Distortion("none"))
    with sample(copy, "uniform", 1) as video:
        (frame,) = video
    assert np.abs(frame.rgb().astype(int) - picture).mean() < 3


def test_a_file_that_is_no_video_has_a_reason(tmp_path: Path) -> None:
    (tmp_path / "bad.mp4").write_text("no video")
    reason = write_distorted(
        Clip(
            name="v",
            source=tmp_path / "bad.mp4",
            target=tmp_path / "out.mp4",
            distortion=Distortion("none"),
            seconds=1,
            crf=6,
        )
    )
    assert reason is not None and "bad.mp4" in reason
    assert not (tmp_path / "out.mp4").exists()


def test_a_cell_scores_the_damaged_copies_and_deletes_them(greys: Material, tmp_path: Path) -> None:
    (tmp_path / "bad.mp4").write_text("no video")
    with_bad = material({**greys.paths, "bad.mp4": tmp_path / "bad.mp4"})
    stub = Stub()
    rows = bench(tmp_path / "out", stub, clips_on_disk=8).cell(Distortion("brightness", 0.5), with_bad, nothing)
    assert [rows[n]["p_fake"] for n in greys.paths] == pytest.approx([20 / 255, 40 / 255, 60 / 255], abs=0.015)
    assert rows["bad.mp4"]["p_fake"] == 0.5 and rows["bad.mp4"]["fallback"].startswith("not distorted: ")
    assert stub.seen == ["a.mp4", "b.mp4", "c.mp4"]
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["cells"]


def test_folders_of_the_user_are_left_alone(greys: Material, tmp_path: Path) -> None:
    mine = clip(tmp_path / "clips" / "mine.mp4", 9)
    bench(tmp_path, Stub()).cell(Distortion("original"), greys, nothing)
    assert mine.is_file() and all(path.is_file() for path in greys.paths.values())


def test_a_clip_that_takes_too_long_is_reported_but_tried_again(greys: Material, tmp_path: Path) -> None:
    rows = bench(tmp_path / "out", Stub(), deadline_s=0.01).cell(Distortion("none"), greys, nothing)
    assert all("took longer than 0.01 s" in row["fallback"] for row in rows.values())
    (note,) = (tmp_path / "out" / "cells").iterdir()
    assert json.loads(note.read_text()) == {}


@pytest.mark.parametrize(
    ("reason", "n_again"),
    [
        ("no_face", 0),
        ("unreadable: decoded 0 of 32 wanted frames", 0),
        ("unreadable: took longer than 300 s and was stopped; a larger deadline_s gives it more", 3),
        ("unreadable: its process died (exit code -9): the decoder or a library crashed", 3),
    ],
)
def test_only_a_score_that_a_busy_machine_may_have_cost_is_tried_again(
    reason: str, n_again: int, greys: Material, tmp_path: Path
) -> None:
    rows = bench(tmp_path, Stub(fallback=reason)).cell(Distortion("original"), greys, nothing)
    assert {row["fallback"] for row in rows.values()} == {reason}
    stub = Stub()
    bench(tmp_path, stub).cell(Distortion("original"), greys, nothing)
    assert len(stub.seen) == n_again


def test_a_finished_cell_is_read_back(greys: Material, tmp_path: Path) -> None:
    calls: list[int] = []
    first, again = Stub(), Stub()
    rows = bench(tmp_path / "out", first).cell(Distortion("original"), greys, lambda: calls.append(1))
    assert bench(tmp_path / "out", again).cell(Distortion("original"), greys, lambda: calls.append(1)) == rows
    assert len(first.seen) == 3 and again.seen == [] and len(calls) == 6


def test_other_weights_or_settings_are_another_cell(greys: Material, tmp_path: Path) -> None:
    bench(tmp_path, Stub()).cell(Distortion("original"), greys, nothing)
    other = Stub()
    Bench(other, "other weights", 0.5, SETTINGS, tmp_path).cell(Distortion("original"), greys, nothing)
    assert len(other.seen) == 3


def test_a_changed_file_and_a_new_one_are_measured_and_the_rest_is_kept(greys: Material, tmp_path: Path) -> None:
    bench(tmp_path, Stub()).cell(Distortion("original"), greys, nothing)
    clip(greys.paths["b.mp4"], 200)
    more = material({**greys.paths, "d.mp4": clip(tmp_path / "d.mp4", 10)})
    stub = Stub()
    rows = bench(tmp_path, stub).cell(Distortion("original"), more, nothing)
    assert stub.seen == ["b.mp4", "d.mp4"]
    assert rows["b.mp4"]["p_fake"] == pytest.approx(200 / 255, abs=0.01)


def test_a_stopped_cell_goes_on_after_the_last_part(greys: Material, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        bench(tmp_path, Stub(stop_after=2), clips_on_disk=1).cell(Distortion("original"), greys, nothing)
    stub = Stub()
    bench(tmp_path, stub, clips_on_disk=1).cell(Distortion("original"), greys, nothing)
    assert stub.seen == ["c.mp4"]


def video(name: str, label: int, family: str) -> Labelled:
    return Labelled(name, label, {"file": name, "family": family})


def test_a_few_videos_are_half_real_and_of_all_families_and_fewer_are_among_more() -> None:
    families = ["swap"] * 20 + ["lipsync"] * 3 + ["real"] * 30
    videos = [video(f"{i}.mp4", int(family != "real"), family) for i, family in enumerate(families)]
    chosen = {n: spread(videos, n) for n in (4, 8, 20)}
    assert [sum(v.label for v in chosen[n]) for n in chosen] == [2, 4, 10]
    assert {v.columns["family"] for v in chosen[4]} == {"real", "swap", "lipsync"}
    assert {v.name for v in chosen[4]} < {v.name for v in chosen[8]} < {v.name for v in chosen[20]}
    assert spread(videos, None) == videos == spread(videos, 999)


def test_labels_find_their_files_and_files_without_a_label_are_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("a.mp4", "b.mp4", "x.mp4"):
        (tmp_path / name).write_text(name)
    labelled = [video("dev/b.mp4", 1, "swap"), video("dev/a.mp4", 0, "real"), video("train/c.mp4", 0, "real")]
    material = gather(tmp_path, labelled, None)
    assert {name: path.name for name, path in material.paths.items()} == {"dev/b.mp4": "b.mp4", "dev/a.mp4": "a.mp4"}
    assert material.sha256["dev/a.mp4"] == sha256_of(tmp_path / "a.mp4")
    assert "1 videos have no label and are left out, the first 'x.mp4'" in caplog.text
    with pytest.raises(UserError, match="--limit 1: wanted at least 2"):
        gather(tmp_path, labelled, 1)


def cells() -> list[dict[str, object]]:
    """Two reals, two swaps, a lip-sync; damage puts one real above a swap and hides the lip-sync's face."""
    videos = [video(f"{i}", int(i > 1), ("real", "real", "swap", "swap", "lip|sync")[i]) for i in range(5)]
    scores = {None: [0.1, 0.2, 0.8, 0.9, 0.7], 40: [0.1, 0.85, 0.8, 0.9, 0.5]}
    made = []
    for level, p in scores.items():
        rows = {
            f"{i}": {"p_fake": x, "n_faces": 1, "fallback": "no_face" if x == 0.5 else None} for i, x in enumerate(p)
        }
        distortion = Distortion("none") if level is None else Distortion("jpeg", level)
        made.append(measured(distortion, videos, rows, Validation(bootstrap=20), 0.01))
    return made


def test_the_table_says_what_each_level_costs() -> None:
    none, jpeg = csv.DictReader(io.StringIO(as_csv(cells()).decode()))
    assert (none["kind"], none["level"], none["roc_auc"], none["roc_auc_lost"]) == ("none", "", "1.0", "")
    # Of six pairs the swap at .8 and the lip-sync at .5 lose to the real at .85.
    assert float(jpeg["roc_auc"]) == pytest.approx(4 / 6) and float(jpeg["roc_auc_lost"]) == pytest.approx(2 / 6)
    assert (jpeg["n_without_score"], jpeg["share_without_score"]) == ("1", "0.2")
    assert float(jpeg["roc_auc_swap"]) == 0.75
    assert float(jpeg["mean_p_real"]) == pytest.approx(0.475)
    assert float(jpeg["mean_p_fake"]) == pytest.approx(2.2 / 3)
    expected = -np.mean(np.log([0.9, 0.15, 0.8, 0.9, 0.5]))
    assert float(jpeg["log_loss_clipped"]) == pytest.approx(expected, abs=1e-6)


def test_the_table_for_people_has_a_row_a_cell_and_as_many_places_in_each() -> None:
    lines = [line for line in as_markdown(cells()).splitlines() if line.startswith("|")]
    assert len(lines) == 4 and len({line.count("|") for line in lines}) == 1
    assert "swap (2)" in lines[0] and "lip/sync (1)" in lines[0]
    assert lines[3].startswith("| jpeg | 40 | 0.667") and "| 0.333 |" in lines[3] and "| 20% |" in lines[3]


def test_the_plot_names_its_kinds_and_is_the_same_on_the_next_run() -> None:
    text = as_svg(cells())
    assert text.startswith("<svg") and "jpeg: 40" in text and text == as_svg(cells())


def test_videos_of_one_label_have_a_table_without_auc() -> None:
    rows = {"0": {"p_fake": 0.2, "n_faces": 1, "fallback": None}}
    only = [measured(Distortion("none"), [Labelled("0", 0, {"file": "0"})], rows, Validation(bootstrap=20), 0.01)]
    assert "| none |  | - | - |" in as_markdown(only) and as_svg(only).startswith("<svg")
    (row,) = csv.DictReader(io.StringIO(as_csv(only).decode()))
    assert row["roc_auc"] == ""


def test_the_text_counts_what_has_no_score(tmp_path: Path) -> None:
    text = write_table(cells(), {"detector": "stub"}, tmp_path)
    assert "without a score: 1 no_face" in text
    stored = json.loads((tmp_path / "robustness.json").read_text())
    assert stored["detector"] == "stub" and stored["cells"][1]["videos"]["4"]["fallback"] == "no_face"
    assert (tmp_path / "robustness.csv").is_file() and (tmp_path / "robustness.svg").is_file()


def people(folder: Path) -> tuple[Path, Path]:
    write_person(folder / "videos" / "real.mp4", 1, n_frames=8)
    write_person(folder / "videos" / "fake.mp4", 1, (True,), n_frames=8)
    names = [path.name for path in sorted((folder / "videos").iterdir())]
    labels = pd.DataFrame({"file": names, "label": ["FAKE" if n.startswith("fake") else "REAL" for n in names]})
    labels.assign(family=labels["label"].str.lower()).to_csv(folder / "labels.csv", index=False)
    return folder / "videos", folder / "labels.csv"


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        (["--kinds", "jpg"], "--kinds: found 'jpg'"),
        (["--videos", "no such folder"], "does not exist"),
        (["--set", "robustness.second=1"], "did you mean 'seconds'?"),
    ],
)
def test_a_mistake_is_a_sentence_and_exit_code_2(extra: list[str], words: str, tmp_path: Path) -> None:
    done = run(
        "lab.robustness", "--videos", tmp_path, "--labels", tmp_path / "none.csv", "--out", tmp_path / "out", *extra
    )
    assert done.returncode == 2, done.stderr
    assert words in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_the_command_scores_damaged_people_with_a_shipped_detector(tmp_path: Path) -> None:
    videos, labels = people(tmp_path)
    weights = sorted((PROJECT_ROOT / "data/weights").glob("*.safetensors"))[0]
    args = ("--videos", videos, "--labels", labels, "--out", tmp_path / "out", "--weights", weights)
    args = (*args, "--levels", "scale=0.1", "--set", "validation.bootstrap=20", "--set", "robustness.workers=1")
    done = run("lab.robustness", *args)
    assert done.returncode == 0, done.stderr
    original, none, small = csv.DictReader((tmp_path / "out/robustness.csv").open())
    assert original["n_without_score"] == none["n_without_score"] == "0"
    assert small["n_without_score"] == "2"  # no face is found in 20 x 18 px
    first = (tmp_path / "out/robustness.csv").read_bytes()
    assert run("lab.robustness", *args).returncode == 0 and (tmp_path / "out/robustness.csv").read_bytes() == first
