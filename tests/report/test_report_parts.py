"""Parts of the validation report by hand-worked numbers: groups, abstaining, frames needed, leakage, two runs."""

import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from deepfake import stages
from deepfake.catalog.people import numbered
from deepfake.commands import stage_command
from deepfake.ensemble import pooling
from deepfake.ensemble.members import Evidence
from deepfake.errors import UserError
from deepfake.evaluation.metadata_classifier import metadata_classifier
from deepfake.evaluation.metrics import Measure
from deepfake.report.abstaining import bands, risk_coverage
from deepfake.report.against import compare_runs, verdict
from deepfake.report.frames_needed import _Frames, frames_against_accuracy
from deepfake.report.groups import MAX_GROUPS, NO_VALUE, binned, group_tables
from deepfake.report.inputs import brightness
from deepfake.report.leakage import _checks
from deepfake.report.plain import as_csv
from deepfake.report.validation import build_report
from deepfake.report.validation_page import MAX_ROWS, hardest, number, story
from deepfake.settings import Ensemble
from deepfake.settings_file import parse_config
from invented_people import people_rows
from invented_report import inputs, report  # noqa: F401 - fixtures

CONFIG = parse_config({"validation": {"bootstrap": 50, "against": "old"}})


def scored(n: int = 40, seed: int = 0) -> pd.DataFrame:
    """Half real and half fake, in pairs of one group, four folds; fakes score higher."""
    generator = np.random.default_rng(seed)
    number = np.arange(n)
    label = number % 2
    frame = pd.DataFrame({"video_id": [f"a/{i:03d}.mp4" for i in number], "label": label})
    frame["p_fake"] = np.clip(0.35 + 0.3 * label + generator.normal(0, 0.15, n), 0.01, 0.99)
    frame["group"] = [f"g{i // 2}" for i in number]
    frame["fold"] = (number // 2) % 4
    frame["fallback"] = pd.Series([None] * n, dtype=object)
    frame["manipulation"] = np.where(label, "swap", None)
    return frame.assign(part="a", original=None, identity=None, codec="h264", duration_s=10.0, brightness=np.nan)


def test_a_value_on_an_edge_belongs_to_the_bin_above_it() -> None:
    values = pd.Series([0.0, 63.9, 64.0, 256.0, np.nan])
    named = ["0 to 64 px", "0 to 64 px", "64 to 256 px", "256 px and more", NO_VALUE]
    assert binned(values, (64, 256), " px") == named


def test_of_very_many_groups_the_largest_are_measured_and_the_rest_is_counted() -> None:
    many = scored(4 * MAX_GROUPS).assign(face_px=100.0, faces_at_once=1)
    many["identity"] = ["big" if i < 6 else f"p{i // 2}" for i in range(len(many))]
    table = next(t for t in group_tables(many, CONFIG) if t["name"] == "identity")
    assert len(table["rows"]) == MAX_GROUPS and table["left_out"] == 2 * MAX_GROUPS - 2 - MAX_GROUPS
    assert table["rows"][0]["value"] == "big" and table["rows"][0]["n_real"] == 3


def test_a_source_is_a_real_video_and_what_was_made_of_it() -> None:
    frame = scored(6).assign(face_px=100.0, faces_at_once=1)
    frame["original"] = [None, "a/000.mp4", None, "a/000.mp4", None, "gone.mp4"]
    table = next(t for t in group_tables(frame, CONFIG) if t["name"] == "source")
    assert [(r["value"], r["n_real"], r["n_fake"]) for r in table["rows"]] == [
        ("a/000.mp4", 1, 2),
        ("gone.mp4", 0, 1),
        (NO_VALUE, 2, 0),
    ]


def test_the_surest_videos_get_a_verdict_first_and_equal_ones_together() -> None:
    frame = scored(4).assign(label=[1, 0, 1, 0], p_fake=[0.9, 0.1, 0.4, 0.6])
    points = risk_coverage(frame)
    assert [(p["coverage"], p["error_rate"]) for p in points] == [(0.5, 0.0), (1.0, 0.5)]
    assert [round(p["least_distance"], 6) for p in points] == [0.4, 0.1]


def test_videos_without_a_score_never_get_a_verdict() -> None:
    frame = scored(4).assign(label=[1, 0, 1, 0], p_fake=[0.9, 0.1, 0.8, 0.6], fallback=[None, None, None, "no_face"])
    assert risk_coverage(frame)[-1]["coverage"] == 0.75
    assert risk_coverage(frame.assign(fallback="no_face")) == []
    assert bands(frame.assign(fallback="no_face"))[0]["inconclusive"] == 1.0


def test_a_band_is_judged_on_folds_it_was_not_fitted_on() -> None:
    frame = scored(200)
    frame["p_fake"] = np.where(frame["label"] == 1, 0.8, 0.2)
    loose = bands(frame)[-1]
    assert loose["error_rate"] == 0.2
    assert (loose["held_out_inconclusive"], loose["held_out_false_alarms"], loose["held_out_misses"]) == (0.0, 0.0, 0.0)
    one_fold = bands(frame.assign(fold=0))[-1]
    assert one_fold["held_out_inconclusive"] is None and one_fold["inconclusive"] == loose["inconclusive"]


def frame_rows(n_frames: int, logits: dict[tuple[str, int], float]) -> pd.DataFrame:
    rows = [
        {"model": "frames", "video_id": video, "track": track, "frame_index": 3 * k, "logit": logit + 0.01 * k}
        for (video, track), logit in logits.items()
        for k in range(n_frames)
    ]
    return pd.DataFrame(rows)


def faces_of(rows: pd.DataFrame, side_px: float = 100.0) -> pd.DataFrame:
    keys = rows[["video_id", "track", "frame_index"]]
    return keys.assign(shot=0, x0_px=0.0, x1_px=side_px, y0_px=0.0, y1_px=side_px, sharpness=50.0)


def test_all_frames_give_the_logits_that_stage_07_gives() -> None:
    settings = Ensemble()
    rows = frame_rows(9, {("a", 0): -1.0, ("a", 1): 2.0, ("b", 0): 0.5})
    faces = faces_of(rows, 32.0)
    wanted = pooling.pool(pooling.track_logits(rows, settings), faces, settings)
    tracks = _Frames(rows, faces, settings)
    assert tracks.video_ids == ["a", "b"] and tracks.n_frames.tolist() == [9, 9]
    pooled = tracks.pooled(9)
    assert pooled.video_ids == wanted.video_ids and np.array_equal(pooled.trust_K, wanted.trust_K)
    assert pooled.logits_KM == pytest.approx(wanted.logits_KM)


@pytest.mark.parametrize(("wanted", "kept"), [(1, [4]), (2, [2, 6]), (4, [1, 3, 5, 7]), (9, list(range(9)))])
def test_fewer_frames_are_spread_evenly(wanted: int, kept: list[int]) -> None:
    settings = Ensemble(top_weight=0.0, prior_frames=0.0)
    rows = frame_rows(9, {("a", 0): 0.0})
    pooled = _Frames(rows, faces_of(rows), settings).pooled(wanted)
    assert pooled.logits_KM[:, 0] == pytest.approx([0.01 * np.mean(kept)])
    assert pooled.n_frames_K.tolist() == [len(kept)]


def test_frames_of_two_people_in_one_picture_count_once() -> None:
    rows = frame_rows(4, {("a", 0): -1.0, ("a", 1): 1.0})
    tracks = _Frames(rows, faces_of(rows), Ensemble(prior_frames=0.0, min_track_frames=1))
    assert tracks.n_frames.tolist() == [4]
    together = np.log((np.exp(-0.98) + np.exp(1.02)) / 2)
    assert pooling.video_logits(tracks.pooled(1), pooling.Line((1.0,)))[0] == pytest.approx([together])


def test_more_frames_tell_noisy_videos_apart_better() -> None:
    frame, generator = scored(120), np.random.default_rng(1)
    rows = frame_rows(
        16, {(v, 0): 0.8 * (2 * lab - 1) for v, lab in zip(frame["video_id"], frame["label"], strict=True)}
    )
    rows["logit"] += generator.normal(0, 2.5, len(rows))
    curve = frames_against_accuracy(rows, faces_of(rows), frame, CONFIG)
    assert [row["n_frames"] for row in curve] == [1, 2, 4, 8, 16]
    assert curve[-1]["metrics"]["roc_auc"]["value"] > curve[0]["metrics"]["roc_auc"]["value"] + 0.1
    assert frames_against_accuracy(None, faces_of(rows), frame, CONFIG) == []


def files(frame: pd.DataFrame, size_bytes: np.ndarray) -> pd.DataFrame:
    return pd.DataFrame(
        {"video_id": frame["video_id"], "label": frame["label"], "size_bytes": size_bytes, "duration_s": 10.0}
        | {"n_frames": 300, "fps": 30.0, "width_px": 1920, "height_px": 1080, "rotation": 0, "is_vfr": False}
        | {"codec": "h264"}
    )


def test_files_of_fakes_that_are_smaller_give_them_away() -> None:
    frame, generator = scored(120), np.random.default_rng(0)
    sizes = generator.integers(900_000, 1_100_000, 120) - 400_000 * frame["label"].to_numpy()
    classified = metadata_classifier(files(frame, sizes), frame, CONFIG)
    assert classified["auc"]["value"] > 0.95 and classified["sentence"].startswith("The files give fakes away")
    assert {row["column"] for row in classified["columns"]} == {"size", "bits_per_s", "bits_per_pixel"}
    assert all(row["auc"] < 0.05 for row in classified["columns"])


def test_files_alike_but_for_chance_give_nothing_away() -> None:
    frame, generator = scored(400), np.random.default_rng(0)
    classified = metadata_classifier(files(frame, generator.integers(900_000, 1_100_000, 400)), frame, CONFIG)
    assert classified["sentence"].startswith("Nothing found")


def test_files_all_alike_and_too_few_groups_are_reported() -> None:
    frame = scored(40)
    same = metadata_classifier(files(frame, np.full(40, 10**6)), frame, CONFIG)
    assert same["auc"] is None and "alike" in same["reason"]
    few = frame.assign(group=["g0" if fold < 2 else "g1" for fold in frame["fold"]])
    sizes = np.where(frame["label"] == 1, 2_000_000, 1_000_000) + np.arange(40)
    assert metadata_classifier(files(few, sizes), few, CONFIG)["sentence"].startswith("Too few independent groups")


def test_people_copies_and_like_frames_that_cross_folds_are_found(inputs) -> None:
    videos = inputs.videos.copy()
    first, second = "part_0/real00.mp4", "part_1/real01.mp4"  # folds 0 and 1
    videos.loc[videos["video_id"].isin([first, second]), ["identity", "sha256"]] = ["ann", "f" * 64]
    videos.loc[videos["video_id"] == second, "split"] = "test"
    looks = inputs.extractions.copy()
    word = "0f" * 32
    looks["frame_hashes"] = [[word] if v in (first, second) else [] for v in looks["video_id"]]
    leak = build_report(replace(inputs, videos=videos, extractions=looks)).result["leakage"]
    counts = {check["name"]: check["n_found"] for check in leak["checks"]}
    assert counts == {"people": 1, "sources": 0, "copies": 1, "near_duplicates": 1, "test_copies": 1, "stems": 0}
    pair = leak["checks"][0]["pairs"][0]
    assert pair == {"video_id": first, "other_id": second, "where": "folds 0 and 1"}


def test_faces_that_cross_folds_are_found_where_somebody_has_compared_them(inputs) -> None:
    first, second, fake = "part_0/real00.mp4", "part_1/real01.mp4", "part_1/swap01.mp4"
    # The face of the swap is another person's, and its original is in the table.
    rows = [(first, 0, 0.0), (second, 0, 8.0), ("part_0/real02.mp4", 0, 90.0), ("part_0/real02.mp4", 1, None)]
    known = set(inputs.videos["video_id"])
    assert {video_id for video_id, _, _ in rows} | {fake} <= known
    found = numbered(people_rows(*rows, (fake, 0, 91.0)), 0.45)
    inputs = replace(inputs, faces=found[["video_id", "track"]])
    checks = {one["name"]: one for one in _checks(replace(inputs, people=found))}
    faces, test_faces = checks["faces"], checks["test_faces"]
    assert faces["pairs"] == [{"video_id": first, "other_id": second, "where": "folds 0 and 1"}]
    assert test_faces["n_found"] == 0
    videos = inputs.videos.copy()
    videos.loc[videos["video_id"] == second, "split"] = "test"
    checks = {one["name"]: one for one in _checks(replace(inputs, videos=videos, people=found))}
    assert checks["test_faces"]["n_found"] == 1 and "faces" not in {one["name"] for one in _checks(inputs)}
    other = replace(inputs, people=found, faces=found[["video_id", "track"]].head(2))
    assert "faces" not in {one["name"] for one in _checks(other)}, "of tracks of an earlier stage 02"


def test_excerpts_that_cross_folds_are_found_where_somebody_has_looked_for_copies(inputs) -> None:
    first, second, its_fake = "part_0/real00.mp4", "part_1/real01.mp4", "part_0/swap00.mp4"  # folds 0, 1 and 0
    near = {"from_s": 0.0, "to_s": 2.0, "other_from_s": 1.0, "other_to_s": 3.0}
    near |= {"speed": 1.0, "is_mirrored": False, "n_frames": 8, "bits": 9.0}
    pairs = [(first, second), (second, first), (first, its_fake), (first, "gone.mp4")]
    copies = pd.DataFrame([{"video_id": a, "other_id": b, **near} for a, b in pairs])
    assert "excerpts" not in {one["name"] for one in _checks(inputs)}
    checks = {one["name"]: one for one in _checks(replace(inputs, copies=copies))}
    assert checks["excerpts"]["pairs"] == [{"video_id": first, "other_id": second, "where": "folds 0 and 1"}]
    assert checks["test_excerpts"]["n_found"] == 0
    videos = inputs.videos.copy()
    videos.loc[videos["video_id"] == second, "split"] = "test"
    checks = {one["name"]: one for one in _checks(replace(inputs, videos=videos, copies=copies))}
    assert checks["test_excerpts"]["pairs"] == [{"video_id": first, "other_id": second, "where": "train and test"}]


def old_scores(frame: pd.DataFrame, p_fake: np.ndarray) -> pd.DataFrame:
    return pd.DataFrame({"model": "ensemble", "video_id": frame["video_id"], "p_fake": p_fake})


def test_two_runs_are_compared_video_by_video() -> None:
    frame = scored(200)
    worse = np.where(frame["label"] == 1, frame["p_fake"] - 0.2, frame["p_fake"] + 0.1).clip(0.01, 0.99)
    compared = compare_runs(frame, old_scores(frame, worse)[:-1], CONFIG)
    assert compared is not None and compared["run"] == "old"
    assert (compared["n_common"], compared["n_only_here"], compared["n_only_there"]) == (199, 1, 0)
    said = {row["metric"]: row["verdict"] for row in compared["metrics"]}
    assert said["log_loss_clipped"] == said["roc_auc"] == said["brier"] == "better"
    moves = [row["moved"] for row in compared["changes"]]
    assert max(moves) == pytest.approx(0.2) and moves == sorted(moves, key=abs, reverse=True)


def test_a_run_against_itself_is_the_same_and_one_without_common_videos_is_refused() -> None:
    frame = scored(40)
    compared = compare_runs(frame, old_scores(frame, frame["p_fake"].to_numpy()), CONFIG)
    assert compared is not None and {row["verdict"] for row in compared["metrics"]} == {"the same"}
    with pytest.raises(UserError, match="no labelled video in common"):
        compare_runs(frame, old_scores(frame.assign(video_id="x"), frame["p_fake"].to_numpy())[:1], CONFIG)
    assert compare_runs(frame, None, CONFIG) is None


@pytest.mark.parametrize(
    ("metric", "low", "high", "word"),
    [
        ("roc_auc", 0.01, 0.1, "better"),
        ("roc_auc", -0.1, -0.01, "worse"),
        ("log_loss_clipped", -0.1, -0.01, "better"),
        ("log_loss_clipped", -0.1, 0.01, "not clear"),
    ],
)
def test_a_verdict_needs_an_interval_that_leaves_out_nothing(metric: str, low: float, high: float, word: str) -> None:
    assert verdict(metric, Measure((low + high) / 2, None, low, high, 50)) == word
    assert verdict(metric, Measure(None, "no fake")) == "not measured"


def test_the_flag_against_is_the_setting_and_makes_the_stage_anew(
    tmp_path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "c.yaml").write_text(f"run: new\ndata_dir: {tmp_path}\n")
    asked = []

    def note(path: object, overrides: list[str], run: object) -> None:
        asked.append(overrides)
        raise UserError("far enough")

    monkeypatch.setattr(stage_command, "load_config", note)
    monkeypatch.setattr(sys, "argv", ["x", "--config", "c", "--set", "a.b=1", "--against", "1e4"])
    with pytest.raises(SystemExit, match="2"):
        stage_command.run_stage("08_validate", "", lambda config, args: {}, {"--against": "validation.against"})
    assert asked == [["a.b=1", 'validation.against="1e4"']]


def test_the_other_runs_scores_are_an_input_of_the_stage(tmp_path) -> None:
    config = parse_config({"run": "new", "data_dir": str(tmp_path), "validation": {"against": "old"}})
    stage = stages.STAGES["08_validate"]
    assert tmp_path / "runs/old/oof_video_scores.parquet" in stage.input_paths(config)
    for path in stage.input_paths(config)[:-1]:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    with pytest.raises(UserError, match=r"07_ensemble\.py with --run old"):
        stages.check_inputs(stage, config)
    alone = parse_config({"run": "new", "data_dir": str(tmp_path)})
    assert stages.check_inputs(stage, alone) is None


def test_the_stage_names_the_tables_that_the_report_writes(report) -> None:
    assert sorted(f"{name}.csv" for name in stages.REPORT_TABLES) == sorted(report.tables)


def test_a_csv_table_has_a_row_a_video_and_empty_cells_for_what_is_unknown(report) -> None:
    assert report.tables["videos.csv"].count(b".mp4") == 2 * report.result["counts"]["scored"]
    assert as_csv(["a", "b"], [{"a": 0.123456789, "b": None}, {"b": "x,y"}]) == b'a,b\n0.123457,\n,"x,y"\n'
    assert report.tables["changes.csv"].count(b"\n") == 1


@pytest.mark.parametrize(("value", "text"), [(-0.0001, "0.000"), (-0.5, "−0.500"), (0.12345, "0.123")])
def test_a_number_has_a_true_minus_and_none_before_zero(value: float, text: str) -> None:
    assert number(value) == text


def test_the_headline_says_in_words_what_a_constant_would_have_done(report) -> None:
    sentences = story(report.result)
    gain = report.result["baselines"][0]["gain"]
    assert gain["value"] > 0 and f"this run's is {gain['value']:.3f} lower" in sentences[2]
    assert sentences[2].startswith("Always 0.5: log loss 0.693")
    assert "no better or no worse" not in sentences[2]


def test_members_are_weighed_alone_and_together(inputs) -> None:
    generator = np.random.default_rng(0)
    labels, folds = np.tile([0, 1], 30), np.repeat([0, 1, 2], 20)
    logits = generator.normal(2.0 * labels[:, None] - 1, 1.0, (60, 2))
    evidence = Evidence(
        pooling.Tracks.one_each(logits, ["frames", "sequences"]), labels, folds, [str(i // 2) for i in range(60)]
    )
    rebuilt = build_report(replace(inputs, evidence=evidence))
    sets = rebuilt.result["member_sets"]
    assert [row["what"] for row in sets] == ["frames", "sequences", "frames + sequences", "ensemble"]
    assert 'id="member-sets"' in rebuilt.html and "ms a video" not in rebuilt.html
    assert "What a member costs a video is not known" in rebuilt.html
    assert rebuilt.tables["member_sets.csv"].startswith(b"what,members,cost_ms,roc_auc,")
    costs = {"frames": {"frames": 40.0}, "sequences": {"frames": 40.0, "head": 2.0}}
    priced = replace(evidence, costs_ms=costs, machine="CPU <2>")
    dear = build_report(replace(inputs, evidence=priced))
    assert [row["cost_ms"] for row in dear.result["member_sets"]] == [40.0, 42.0, 42.0, None]
    assert "ms a video" in dear.html and "while they scored on CPU &lt;2&gt;: reading and preparing" in dear.html
    assert dear.result["costs"] == {"machine": "CPU <2>", "n_networks": inputs.config.folds.n_folds}


def test_a_compared_run_has_a_section_with_the_videos_that_changed(inputs) -> None:
    other = inputs.scores.assign(p_fake=lambda f: (f["p_fake"] + 0.01).clip(0, 1))
    config = inputs.config.model_copy(
        update={"validation": inputs.config.validation.model_copy(update={"against": "older"})}
    )
    rebuilt = build_report(replace(inputs, config=config, other_scores=other))
    assert 'id="against"' in rebuilt.html and "Against older" in rebuilt.html
    assert rebuilt.tables["changes.csv"].count(b"\n") > rebuilt.result["counts"]["scored"]


def test_test_videos_that_all_have_a_score_carry_no_prior(inputs) -> None:
    rebuilt = build_report(replace(inputs, test_scores=inputs.test_scores.assign(fallback=None)))
    assert rebuilt.result["test"]["fallbacks"] == {} and "and none carries the prior" in rebuilt.html


def test_the_weakest_group_is_reported_only_where_enough_stands_behind_it(report) -> None:
    def row(value: str, auc: float, high: float, n_groups: int) -> dict[str, object]:
        return {"value": value, "metrics": {"roc_auc": {"value": auc, "low": 0.4, "high": high, "n_groups": n_groups}}}

    all_auc = report.result["models"][0]["metrics"]["roc_auc"]["value"]
    rows = [row("sw\nap", 0.5, all_auc - 0.1, 40), row("few", 0.4, all_auc - 0.1, 5), row("wide", 0.3, all_auc, 40)]
    sentences = story({**report.result, "groups": [{"title": "Manipulation", "rows": rows}]})
    assert sentences[-1].startswith("Weakest by manipulation: sw\\nap, ROC AUC 0.500 [0.400, ")
    assert not any(line.startswith("Weakest") for line in story({**report.result, "groups": []}))


def test_brightness_is_the_median_luma_of_a_few_crops_and_unknown_where_none_can_be_read() -> None:
    faces = faces_of(frame_rows(9, {("a", 0): 0.0, ("b", 0): 0.0})).assign(shard="s", size=1)
    faces["offset"] = np.where(faces["video_id"] == "a", faces["frame_index"], -1)

    def read(shard: str, offset: int, size: int) -> np.ndarray:
        if offset < 0:
            raise UserError("gone")
        return np.full((8, 8, 3), {3: 10, 12: 200, 21: 90}[offset], np.uint8)  # frames 1, 4 and 7 of 0 to 8

    assert brightness(read, faces) == {"a": 90.0}
    assert brightness(read, faces[:0]) == {}


def test_of_too_many_groups_the_page_shows_those_it_gets_wrong_most() -> None:
    rows = [{"value": str(i), "metrics": {"accuracy": {"value": 0.5 if i % 2 else 0.9}}} for i in range(2 * MAX_ROWS)]
    shown = [int(row["value"]) for row in hardest(rows)]
    assert shown == list(range(1, 2 * MAX_ROWS, 2))
    assert hardest(rows[:3]) == rows[:3]
