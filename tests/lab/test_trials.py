"""Networks measured on labelled clips: who is in which half, what is fitted on whom, what a row says."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from deepfake import tables
from deepfake.detector import fitting, labelled_clips
from deepfake.detector.fitting import (
    HEADER,
    Trial,
    cross_banded,
    cross_fitted,
    final_stack,
    frame_scores,
    measure,
    member_tracks,
)
from deepfake.detector.labelled_clips import Clips, read_clips, some_frames
from deepfake.ensemble.pooling import Line, Tracks, video_logits
from deepfake.errors import UserError
from deepfake.evaluation.labelled import Labelled
from deepfake.faces.extracted import Extraction
from deepfake.faces.extraction import faces_of_rows
from deepfake.faces.reading import Reading
from deepfake.media.file_facts import VideoFile
from deepfake.models.checkpoints import save_model
from deepfake.models.frames import FrameClassifier
from deepfake.settings import Config, CropView, Ensemble, Extract
from drawn_faces import write_person
from lab import trials
from lab.trials import evidence, minutes_of
from learning_data import config, face_row, invented, one_thread  # noqa: F401 - a fixture

pytestmark = pytest.mark.usefixtures("one_thread")
NO_FACES = pd.DataFrame(columns=[column.name for column in tables.FACES.columns])
SETTINGS = Ensemble()


def clip(name: str, label: int, identity: str = "", family: str = "") -> Labelled:
    return Labelled(name, label, {"file": name, "identity": identity, "family": family})


def made_up(labelled: list[Labelled], faces: pd.DataFrame = NO_FACES, cache_dir: Path = Path()) -> Clips:
    return Clips(faces, labelled, [video.name for video in labelled], cache_dir)


def people(n_people: int = 40, n_clips: int = 2) -> Clips:
    """Two clips of everyone; every second person is fake, of two families in turn."""
    families = ("", "swap", "", "lipsync")
    return made_up(
        [
            clip(f"{person}_{number}.mp4", person % 2, f"p{person}", families[person % 4])
            for person in range(n_people)
            for number in range(n_clips)
        ]
    )


def pooled(logits_NM: np.ndarray, clips: Clips, members: list[str]) -> Tracks:
    """One track of each clip; a clip whose logits are no numbers has none."""
    seen = np.isfinite(logits_NM).all(axis=1)
    ids = [video_id for video_id, is_seen in zip(clips.video_ids, seen.tolist(), strict=True) if is_seen]
    return Tracks.one_each(logits_NM[seen], members, ids)


# --- Halves ------------------------------------------------------------------------------------------


def test_halves_part_no_person_and_split_each_family_evenly() -> None:
    clips = people(n_people=42)
    half_of: dict[str, set[int]] = {}
    for video, half in zip(clips.labelled, clips.halves, strict=True):
        half_of.setdefault(video.columns["identity"], set()).add(int(half))
    assert all(len(halves) == 1 for halves in half_of.values())
    for family in ("", "swap", "lipsync"):
        own = [
            half for video, half in zip(clips.labelled, clips.halves, strict=True) if video.columns["family"] == family
        ]
        assert abs(2 * sum(own) - len(own)) <= 2, "one person's two clips more at most"


def test_a_person_s_real_and_fake_clips_share_a_half() -> None:
    clips = made_up([clip(f"{i}{label}.mp4", label, f"p{i}", "swap" * label) for i in range(9) for label in (0, 1)])
    assert (clips.halves[::2] == clips.halves[1::2]).all()
    assert 4 <= clips.halves[::2].sum() <= 5


def test_quarters_are_halves_of_the_halves_and_part_no_person() -> None:
    clips = people(n_people=48)
    assert (clips.quarters % 2 == clips.halves).all()
    assert np.bincount(clips.quarters).tolist() == [24] * 4
    assert all(len(set(clips.quarters[i : i + 2])) == 1 for i in range(0, len(clips.labels), 2))


def test_clips_without_an_identity_are_people_of_their_own() -> None:
    videos = [clip(f"{i}.mp4", i % 2, " ") for i in range(10)]
    assert sorted(made_up(videos).halves) == [0] * 5 + [1] * 5
    columnless = [Labelled(video.name, video.label, {"file": video.name}) for video in videos]
    assert made_up(columnless).halves.tolist() == made_up(videos).halves.tolist()


# --- Fitted on the other half ------------------------------------------------------------------------


def test_every_half_is_scored_by_a_fit_on_the_other_one() -> None:
    clips = people()
    sign = np.where(clips.labels == 1, 2.0, -2.0)
    logits = np.where(clips.halves == 0, sign, -sign)[:, None]  # right in half 0, upside down in half 1
    p, fake = cross_fitted(pooled(logits, clips, ["a"]), clips, SETTINGS), clips.labels == 1
    assert (p[(clips.halves == 1) & fake] < 0.2).all(), "trusts what half 0 taught, and is wrong"
    assert (abs(p[clips.halves == 0] - 0.5) < 0.1).all(), "half 1 teaches that the logits say nothing"


def test_what_a_half_itself_looks_like_does_not_change_how_it_is_scored() -> None:
    clips = people()
    logits, first = some_logits(clips, 2), clips.halves == 0
    p = cross_fitted(pooled(logits, clips, ["a", "b"]), clips, SETTINGS)
    one = int(np.flatnonzero(first)[0])
    logits[first & (np.arange(len(first)) != one)] *= -3
    changed = cross_fitted(pooled(logits, clips, ["a", "b"]), clips, SETTINGS)
    assert changed[one] == p[one], "the others of its half are not asked"
    assert not np.allclose(changed[~first], p[~first]), "those of the other half are"


def test_a_member_that_does_not_pay_drops_out_of_the_stack_to_ship() -> None:
    clips = people()
    logits = some_logits(clips, 1)
    both = np.repeat(logits, 2, axis=1)
    trial = measure(pooled(both, clips, ["good", "copy"]), clips, SETTINGS)
    stack = final_stack(pooled(both, clips, ["good", "copy"]), clips, trial, SETTINGS)
    assert stack.weights == (1.0, 0.0) and [name for name, _ in stack.dropped] == ["copy"]
    assert np.allclose(trial.p, cross_fitted(pooled(logits, clips, ["good"]), clips, SETTINGS)), "on each half, too"


def test_a_clip_without_a_face_gets_the_prior_and_teaches_nothing() -> None:
    clips = people()
    logits = np.where(clips.labels == 1, 2.0, -2.0)[:, None]
    without = logits.copy()
    without[[0, 3]] = np.nan
    p = cross_fitted(pooled(without, clips, ["a"]), clips, SETTINGS.model_copy(update={"fake_share": 0.4}))
    assert p[[0, 3]].tolist() == [0.4, 0.4]
    assert np.isfinite(p).all()
    share = float(clips.labels.mean())
    as_they_are = SETTINGS.model_copy(update={"fake_share": None})
    assert cross_fitted(pooled(without, clips, ["a"]), clips, as_they_are)[0] == pytest.approx(share)


def test_a_half_of_one_kind_is_the_user_s_mistake() -> None:
    clips = made_up([clip("a.mp4", 0, "ann"), clip("b.mp4", 1, "bob")])
    with pytest.raises(UserError, match="both kinds are wanted in both halves"):
        cross_fitted(pooled(np.zeros((2, 1)), clips, ["a"]), clips, SETTINGS)


def test_a_band_is_found_on_the_other_half() -> None:
    clips = people()
    fake, first = clips.labels == 1, clips.halves == 0
    p = np.where(fake, 0.9, 0.1)
    p[first] = np.where(fake[first], 0.3, 0.7)  # half 0 is upside down: its band is 0.3 to 0.7
    unclear = cross_banded(p, clips, 0.1)
    assert not unclear.any(), "half 1 lies outside 0.3 to 0.7, and gives half 0 no band"
    p[~first] = np.where(fake[~first], 0.6, 0.4)
    assert (cross_banded(p, clips, 0.1) == ~first).all()


# --- Frames and their scores -------------------------------------------------------------------------


def test_some_frames_are_spread_over_each_track() -> None:
    rows = [face_row("a.mp4", 0, f, (0, 0, 9, 9)) for f in range(10)]
    rows += [face_row("a.mp4", 1, f, (0, 0, 9, 9)) for f in range(2)] + [face_row("b.mp4", 0, 7, (0, 0, 9, 9))]
    kept = some_frames(pd.DataFrame(rows), 4)
    assert kept["frame_index"].tolist() == [0, 3, 6, 9, 0, 1, 7]
    assert some_frames(pd.DataFrame(rows), 100)["frame_index"].tolist() == [*range(10), 0, 1, 7]
    assert len(some_frames(pd.DataFrame(rows), 1)) == 3


@pytest.fixture
def scored(tmp_path: Path) -> tuple[Path, Clips, Config]:
    """A finished network, and four clips with crops."""
    torch.manual_seed(0)
    model = FrameClassifier("test_efficientnet", 32)
    nn.init.normal_(model.head.weight, std=0.5)
    save_model(tmp_path / "net", "frames", model, fold=None, settings_digest="d", metrics={}, about={})
    settings = config(tmp_path)
    made = invented(settings.work_dir, n_originals=2, n_tests=0)
    videos = [clip(f"{kind}{i}.mp4", kind == "fake", f"p{i}") for i in range(2) for kind in ("real", "fake")]
    return tmp_path / "net", made_up([*videos, clip("faceless.mp4", 1)], made.faces, settings.work_dir), settings


def test_a_member_of_the_name_of_a_one_sided_one_counts_as_one(scored: tuple[Path, Clips, Config]) -> None:
    network, clips, settings = scored
    scores = {"frames": frame_scores(network, clips, settings, 2), "borders": frame_scores(network, clips, settings, 2)}
    pooling = settings.ensemble.model_copy(update={"one_sided_members": ("borders",), "prior_frames": 0.0})
    plain, one_sided = member_tracks(scores, clips, pooling).logits_KM.T
    trusted = np.abs(plain) > 0
    assert trusted.any()
    assert not np.allclose(plain[trusted], one_sided[trusted])
    assert (one_sided >= 0).all(), "it speaks for no real clip"


def test_every_network_seen_its_ways_is_a_member_at_the_cost_of_its_looks(scored: tuple[Path, Clips, Config]) -> None:
    network, clips, settings = scored
    views = {"as it is": [CropView()], "both ways": [CropView(), CropView(mirror=True)]}
    made = evidence({name: (network, some) for name, some in views.items()}, clips, settings, 2)
    assert made.members == ("as it is", "both ways")
    assert made.tracks.video_ids == ("fake0.mp4", "fake1.mp4", "real0.mp4", "real1.mp4")
    assert made.labels.tolist() == [1, 1, 0, 0], "the clip without a face is out"
    assert made.folds.tolist() == clips.halves[[1, 3, 0, 2]].tolist()
    assert list(made.groups) == ["p0", "p1", "p0", "p1"]
    seen = {name: frame_scores(network, clips, settings, 2, some) for name, some in views.items()}
    logits = made.tracks.logits_KM
    assert np.allclose(logits, member_tracks(seen, clips, settings.ensemble).logits_KM)
    assert not np.allclose(logits[:, 0], logits[:, 1])
    alone, both = made.cost_ms(made.members[:1]), made.cost_ms(made.members)
    assert alone and both and 0 < alone < both


def test_the_mean_over_the_views_is_set_against_each_of_them(
    scored: tuple[Path, Clips, Config], monkeypatch: pytest.MonkeyPatch
) -> None:
    network, clips, settings = scored
    right = np.where(clips.labels[:4] == 1, 1.0, -1.0)
    logits = {"mean": right, "right": right, "wrong": -right}

    def invented_tracks(members: dict[str, pd.DataFrame], *_: object) -> Tracks:
        return Tracks.one_each(np.stack([logits[name] for name in members], axis=1), list(members), clips.video_ids[:4])

    monkeypatch.setattr(trials, "member_tracks", invented_tracks)
    gains = trials.mean_over_each(network, {"right": CropView(), "wrong": CropView(mirror=True)}, clips, settings, 2)
    assert gains["right"]["roc_auc"].value == gains["right"]["log_loss_clipped"].value == 0
    assert gains["wrong"]["log_loss_clipped"].value < 0, "a lower loss than that of chance"


def refuse(*_: object) -> None:
    pytest.fail("it was scored again")


def test_scores_are_kept_beside_the_network_and_read_back(
    scored: tuple[Path, Clips, Config], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = frame_scores(*scored, n_frames=2)
    assert first.columns.tolist() == ["video_id", "track", "frame_index", "model", "logit"]
    assert len(first) == 8
    views = (CropView(), CropView(mirror=True))
    both, mirrored = (frame_scores(*scored, n_frames=2, views=some) for some in (views, views[1:]))
    assert not np.allclose(first["logit"], mirrored["logit"])
    assert np.allclose(both["logit"], (first["logit"] + mirrored["logit"]) / 2)
    blurred = frame_scores(*scored, n_frames=2, views=(CropView(surroundings_blur=0.1),))
    assert not np.allclose(first["logit"], blurred["logit"])
    with monkeypatch.context() as patch:
        patch.setattr(fitting, "score_faces", refuse)
        pd.testing.assert_frame_equal(frame_scores(*scored, n_frames=2), first)
        pd.testing.assert_frame_equal(frame_scores(*scored, n_frames=2, views=views), both)
    for kept in (scored[0] / "scored").glob("*.npy"):
        kept.write_bytes(b"cut short")
    assert np.allclose(frame_scores(*scored, n_frames=2)["logit"], first["logit"])


def test_a_network_of_a_stride_is_shown_one_frame_of_a_run_and_its_logit_stands_for_all(
    scored: tuple[Path, Clips, Config], monkeypatch: pytest.MonkeyPatch
) -> None:
    every = frame_scores(*scored, n_frames=2)
    shown: list[int] = []
    plain = fitting.score_faces

    def counting(scorer: Any, faces: pd.DataFrame, cache_dir: Path) -> Any:
        shown.append(len(faces))
        return plain(scorer, faces, cache_dir)

    monkeypatch.setattr(fitting, "score_faces", counting)
    strided = frame_scores(*scored, n_frames=2, stride=2)
    second = every.groupby(["video_id", "track"])["logit"].transform("last")
    assert shown == [4] and np.allclose(strided["logit"], second)
    pd.testing.assert_frame_equal(strided.drop(columns="logit"), every.drop(columns="logit"))


def test_a_clip_s_logit_is_that_of_its_tracks_together_and_none_without_a_face() -> None:
    rows = [("b.mp4", 0, f, "frames", 1.0) for f in range(3)] + [("b.mp4", 1, f, "frames", 5.0) for f in range(3)]
    rows += [("a.mp4", 0, f, "frames", -1.0) for f in range(3)]
    frames = pd.DataFrame(rows, columns=["video_id", "track", "frame_index", "model", "logit"])
    large_and_sharp = {"sharpness": 1000.0}
    tracks = [face_row(*track, 0, (0, 0, 500, 500), **large_and_sharp) for track in (("b.mp4", 0), ("b.mp4", 1))]
    tracks.append(face_row("a.mp4", 0, 0, (0, 0, SETTINGS.small_face_px / 2, 9), **large_and_sharp))  # counts half
    clips = made_up([clip("b.mp4", 1), clip("none.mp4", 0), clip("a.mp4", 0)], pd.DataFrame(tracks))
    tracks = member_tracks({"one": frames, "two": frames.assign(logit=-frames["logit"])}, clips, SETTINGS)
    assert tracks.video_ids == ("a.mp4", "b.mp4")
    assert fitting.places(tracks, clips).tolist() == [2, 0]
    assert tracks.trust_K == pytest.approx([3 / 8, 3 / 4, 3 / 4])
    assert tracks.logits_KM.tolist() == [[-1, 1], [1, -1], [5, -5]]
    both = np.log((np.exp(3 / 4) + np.exp(5 * 3 / 4)) / 2)
    assert video_logits(tracks, Line((1.0, 0.0)))[0] == pytest.approx([-3 / 8, both])
    assert video_logits(tracks, Line((0.0, 1.0)))[0] == pytest.approx([3 / 8, both - 6 * 3 / 4])


# --- Rows and stacks -----------------------------------------------------------------------------------


def test_minutes_are_those_of_the_log_up_to_the_snapshot(tmp_path: Path) -> None:
    lines = [{"step": step, "loss": 0.7, "seconds": 60.0 * (step + 1)} for step in range(3)]
    log = tmp_path / "all" / "log.jsonl"
    log.parent.mkdir()
    log.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert minutes_of(tmp_path / "all") == "6"
    assert minutes_of(tmp_path / "all" / "step000002") == "3"
    log.write_text('{"step": 0, "loss": 0.7}\n')
    assert minutes_of(tmp_path / "all") == "-"
    assert minutes_of(tmp_path / "none") == "-"


def some_logits(clips: Clips, members: int, seed: int = 0) -> np.ndarray:
    signal = np.where(clips.labels == 1, 1.0, -1.0)[:, None]
    return signal + np.random.default_rng(seed).normal(0, 0.7, (len(clips.labels), members))


@pytest.mark.parametrize("members", [["one"], ["one", "two"]])
def test_a_row_has_a_cell_for_every_heading(members: list[str]) -> None:
    clips = people()
    trial = measure(pooled(some_logits(clips, len(members)), clips, members), clips, SETTINGS)
    row = trial.row("what, 32 frames", "12")
    assert {line.count("|") for line in [*HEADER.splitlines(), row]} == {row.count("|")}
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[:2] == ["what, 32 frames", "12"]
    assert cells[3] == cells[5] == "-", "no reenactment and no talking head among these clips"
    assert all(float(cells[i].split()[0]) > 0.8 for i in (2, 4, 6))
    assert cells[-1].endswith(" %")
    assert 0 < float(cells[7]) < 0.69


def test_clips_are_ranked_by_the_mean_of_the_logits_whatever_the_halves_calibrations() -> None:
    clips = people(n_people=12)
    logits = np.where(clips.labels == 1, 1.0, -1.0) + np.where(clips.halves == 0, 0.0, 0.5)
    trial = measure(pooled(logits[:, None] + [3.0, -3.0], clips, ["one", "two"]), clips, SETTINGS)
    assert trial.ranked["metrics"]["roc_auc"]["value"] == 1


def test_the_shipped_stack_has_the_band_of_the_cross_fitted_clips_with_a_face() -> None:
    clips = made_up([clip(f"{i}.mp4", int(i >= 10)) for i in range(21)])
    logits = np.where(clips.labels == 1, 2.0, -2.0)[:, None]
    logits[20] = np.nan
    p = np.array([0.1] * 9 + [0.6] + [0.9] * 9 + [0.4] + [0.01])  # ten of each: one wrong verdict is allowed
    stack = final_stack(pooled(logits, clips, ["one"]), clips, Trial({}, {}, 0.0, p), SETTINGS)
    assert stack.band == pytest.approx((0.4, 0.6))
    assert stack.members == ("one",)
    assert stack.p_fake(Tracks.one_each(np.array([[2.0], [-2.0]]), ["one"])) == pytest.approx([0.9, 0.1], abs=0.0999)


# --- Reading clips -------------------------------------------------------------------------------------


def test_clips_of_one_name_in_two_folders_keep_their_own_faces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("real/x.mp4", "fake/x.mp4", "unlabelled.mp4"):
        (tmp_path / "clips" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "clips" / name).touch()
    (tmp_path / "labels.csv").write_text("file,label\nclips/fake/x.mp4,FAKE\nclips/real/x.mp4,REAL\n")

    def read(paths: dict[str, Path], *_: object) -> Iterator[Reading]:
        for video_id, path in paths.items():
            faces = faces_of_rows(face_row(video_id, 0, f, (0, 0, 9, 9)) for f in (1, 0))
            yield Reading(VideoFile(path, 0), Extraction(video_id, faces=tuple(faces)))

    monkeypatch.setattr(labelled_clips, "read_videos", read)
    clips = read_clips(tmp_path / "clips", tmp_path / "labels.csv", Extract(), tmp_path)
    assert dict(zip(clips.video_ids, clips.labels.tolist(), strict=True)) == {"fake/x.mp4": 1, "real/x.mp4": 0}
    assert clips.faces["video_id"].tolist() == ["fake/x.mp4"] * 2 + ["real/x.mp4"] * 2, "sorted, and labelled alone"
    assert clips.faces["frame_index"].tolist() == [0, 1, 0, 1]
    assert read_clips(tmp_path / "clips", tmp_path / "labels.csv", Extract(), tmp_path, 1).video_ids == ["real/x.mp4"]
    monkeypatch.setattr(labelled_clips, "read_videos", lambda *_: iter([]))
    with pytest.raises(UserError, match="no face in any of 2 videos"):
        read_clips(tmp_path / "clips", tmp_path / "labels.csv", Extract(), tmp_path)


@pytest.mark.slow
def test_faces_of_a_real_clip_are_found_and_its_crops_can_be_scored(tmp_path: Path) -> None:
    write_person(tmp_path / "clips" / "drawn.mp4", 0, n_frames=8)
    (tmp_path / "labels.csv").write_text("file,label\ndrawn.mp4,REAL\n")
    extract = Extract(frames_per_video=4, crop_px=64, workers=1)
    clips = read_clips(tmp_path / "clips", tmp_path / "labels.csv", extract, tmp_path / "cache")
    assert clips.video_ids == ["drawn.mp4"]
    save_model(
        tmp_path / "net",
        "frames",
        FrameClassifier("test_efficientnet", 32),
        fold=None,
        settings_digest="d",
        metrics={},
        about={},
    )
    assert np.isfinite(frame_scores(tmp_path / "net", clips, config(tmp_path), 4)["logit"]).all()
