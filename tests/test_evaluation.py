"""Any score CSV against any label CSV: names, mistakes in the files, groups, what is printed."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from deepfake import evaluation
from deepfake.config import UserError, Validation

SETTINGS = Validation(bootstrap=50)
SCRIPT = Path(__file__).parents[1] / "src" / "evaluate_scores.py"


def written(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def matched(tmp_path: Path, scores: str, labels: str) -> evaluation.Matched:
    return evaluation.match(
        evaluation.read_scores(written(tmp_path / "scores.csv", scores)),
        evaluation.read_labels(written(tmp_path / "labels.csv", labels)),
    )


def crowd(n: int = 60) -> tuple[str, str]:
    """Reals and two kinds of fakes of one another's people; a swap scores high, a lip-sync like a real."""
    generator = np.random.default_rng(0)
    scores, labels = ["filename,label"], ["file,label,family,identity"]
    for i in range(n):
        family = ("real", "swap", "lipsync")[i % 3]
        p = generator.uniform(0.6, 1) if family == "swap" else generator.uniform(0, 0.7)
        scores.append(f"v{i}.mp4,{p:.4f}")
        labels.append(f"dev/v{i}.mp4,{'REAL' if family == 'real' else 'FAKE'},{family},person{i // 6}")
    return "\n".join(scores), "\n".join(labels)


def test_a_bare_name_finds_the_path_that_ends_with_it(tmp_path: Path) -> None:
    found = matched(tmp_path, "filename,label\na.mp4,0.9\nb.mp4,0.1\n", "file,label\ndev/b.mp4,REAL\ndev/a.mp4,FAKE\n")
    assert [(v.name, v.label) for v in found.videos] == [("dev/b.mp4", 0), ("dev/a.mp4", 1)]
    assert found.p.tolist() == [0.1, 0.9]


def test_a_longer_path_finds_its_own_namesake(tmp_path: Path) -> None:
    found = matched(
        tmp_path, "file,p_fake\nclips/dev/a.mp4,0.9\nclips/test/a.mp4,0.1\n", "file,label\ntest/a.mp4,0\ndev/a.mp4,1\n"
    )
    assert found.p.tolist() == [0.1, 0.9]


def test_other_folders_do_not_matter_where_base_names_are_unique(tmp_path: Path) -> None:
    found = matched(tmp_path, "file,p_fake\n/home/me/a.mp4,0.9\n", "file,label\ndev/a.mp4,1\n")
    assert found.p.tolist() == [0.9]


@pytest.mark.parametrize(
    ("scores", "labels"),
    [
        ("file,p_fake\na.mp4,0.9\n", "file,label\ndev/a.mp4,1\ntest/a.mp4,0\n"),
        ("file,p_fake\nx/a.mp4,0.9\ny/a.mp4,0.9\n", "file,label\na.mp4,1\n"),
        ("file,p_fake\ndev/a.mp4,0.5\na.mp4,0.9\n", "file,label\ndev/a.mp4,1\ntest/a.mp4,0\n"),
    ],
)
def test_an_ambiguous_name_is_an_error_with_examples(tmp_path: Path, scores: str, labels: str) -> None:
    with pytest.raises(UserError, match=r"'a.mp4' is ambiguous: scores have .*a.mp4.*labels have .*a.mp4"):
        matched(tmp_path, scores, labels)


def test_a_namesake_in_another_folder_is_not_taken_for_the_video(tmp_path: Path) -> None:
    scores = "file,p_fake\ndev/a.mp4,0.5\nextra/a.mp4,0.9\n"
    found = matched(tmp_path, scores, "file,label\ndev/a.mp4,1\ntest/a.mp4,0\n")
    assert (found.unscored, found.unlabelled) == (["test/a.mp4"], ["extra/a.mp4"])


def test_videos_without_a_partner_are_named(tmp_path: Path) -> None:
    found = matched(tmp_path, "filename,label\na.mp4,0.9\nc.mp4,0.1\n", "file,label\na.mp4,FAKE\nb.mp4,REAL\n")
    assert (found.unscored, found.unlabelled) == (["b.mp4"], ["c.mp4"])
    text = evaluation.text_report(evaluation.evaluate(found, [], SETTINGS, 0.01))
    assert "1 videos have a label but no score: 'b.mp4'" in text


def test_nothing_that_matches_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no score matches a label: scores have 'a.mp4', labels have 'b.mp4'"):
        matched(tmp_path, "filename,label\na.mp4,0.9\n", "file,label\nb.mp4,REAL\n")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("filename,label\na.mp4,1.2\n", r"line 2: 'a.mp4' has score 1.2; wanted a number in 0..1"),
        ("filename,label\na.mp4,nan\n", r"line 2: 'a.mp4' has score nan"),
        ("filename,label\na.mp4,\n", r"line 2: 'a.mp4' has score ''"),
        ("filename,label\na.mp4,FAKE\n", r"line 2: 'a.mp4' has score 'FAKE'"),
        ("filename,label\na.mp4,0\n./a.mp4,1\n", r"line 3: 'a.mp4' stands there twice"),
        ("filename,label\n,0\n", r"line 2: no file name"),
        ("filename,label\na.mp4,0,1\n", r"line 2: 3 cells, wanted 2"),
        ("name,score\na.mp4,0\n", r"found columns name, score; wanted p_fake or label"),
        ("filename,label\n", r"no videos"),
        ("", r"is empty"),
        ('filename,label\n"a.mp4,0\n', r"not valid CSV"),
        ("file,file,label\na,a,1\n", r"'file' stands there twice"),
    ],
)
def test_a_mistake_in_the_scores_is_named_with_its_line(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        evaluation.read_scores(written(tmp_path / "scores.csv", text))


def test_a_label_that_is_no_label_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"line 2: 'a.mp4' has label 'maybe'; wanted REAL, FAKE, 0 or 1"):
        evaluation.read_labels(written(tmp_path / "labels.csv", "file,label\na.mp4,maybe\n"))


def test_a_byte_order_mark_quotes_and_line_breaks_in_names_are_read(tmp_path: Path) -> None:
    path = tmp_path / "scores.csv"
    path.write_bytes('﻿filename,label\r\n"a ""b""\n<i>.mp4",0.5\r\n\r\nü.mp4,1\r\n'.encode())
    assert evaluation.read_scores(path) == {'a "b"\n<i>.mp4': 0.5, "ü.mp4": 1.0}


def test_the_fakes_of_a_group_stand_against_all_reals(tmp_path: Path) -> None:
    found = matched(tmp_path, *crowd())
    result = evaluation.evaluate(found, ["family"], SETTINGS, 0.01)
    rows = {row["value"]: row for row in result["groups"]["family"]}
    family = np.array([video.columns["family"] for video in found.videos])
    for name in ("swap", "lipsync"):
        taken = (family == name) | (found.labels == 0)
        wanted = roc_auc_score(found.labels[taken], found.p[taken])
        assert rows[name]["metrics"]["roc_auc"]["value"] == pytest.approx(wanted)
        assert rows[name]["metrics"]["false_alarm_rate"]["value"] is None
    assert rows["real"]["metrics"]["roc_auc"]["value"] is None
    assert rows["real"]["metrics"]["false_alarm_rate"]["value"] == pytest.approx(
        (found.p[family == "real"] > 0.5).mean()
    )
    assert (rows["real"]["n_real"], rows["real"]["n_fake"]) == (20, 0)


def test_intervals_are_resampled_by_identity_where_there_is_one(tmp_path: Path) -> None:
    scores, labels = crowd()
    result = evaluation.evaluate(matched(tmp_path, scores, labels), [], SETTINGS, 0.01)
    assert (result["resampled_by"], result["n_resampled"]) == ("identity", 10)
    plain = labels.replace("identity", "note")
    result = evaluation.evaluate(matched(tmp_path, scores, plain), [], SETTINGS, 0.01)
    assert (result["resampled_by"], result["n_resampled"]) == ("video", 60)


def test_reals_of_the_same_group_can_be_asked_for() -> None:
    labels, p = np.array([0, 0, 1, 1] * 2), np.array([0.8, 0.9, 0.92, 0.95, 0.1, 0.15, 0.2, 0.3])
    groups, parts = list("abcdefgh"), list("xxxxyyyy")
    rows = evaluation.measure_groups(labels, p, groups, parts, SETTINGS, 0.01, against_all_reals=False)
    assert [row["metrics"]["roc_auc"]["value"] for row in rows] == [1, 1]
    rows = evaluation.measure_groups(labels, p, groups, parts, SETTINGS, 0.01)
    assert [row["metrics"]["roc_auc"]["value"] for row in rows] == [1, 0.5]


def test_a_single_fake_is_not_ranked_as_if_it_were_a_kind() -> None:
    labels, p = np.array([0, 0, 0, 1]), np.array([0.1, 0.2, 0.3, 0.9])
    row = evaluation.measure_groups(labels, p, list("abcd"), ["-", "-", "-", "swap"], SETTINGS, 0.01)[1]
    assert row["metrics"]["roc_auc"]["value"] is None
    assert row["metrics"]["roc_auc"]["reason"] == "only 1 fake"
    assert row["metrics"]["recall"]["value"] == 1


def test_groups_with_numbers_are_in_the_order_people_count(tmp_path: Path) -> None:
    labels, p = np.array([0, 1, 0]), np.array([0.1, 0.9, 0.2])
    rows = evaluation.measure_groups(labels, p, list("abc"), ["part_10", "part_9", "none"], SETTINGS, 0.01)
    assert [row["value"] for row in rows] == ["none", "part_9", "part_10"]


def test_an_unknown_group_column_is_an_error_that_suggests_one(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="did you mean 'family'"):
        evaluation.evaluate(matched(tmp_path, *crowd()), ["famly"], SETTINGS, 0.01)


def test_few_groups_are_marked_and_missing_numbers_are_dashes() -> None:
    measure = {"value": 0.5, "reason": None, "low": 0.25, "high": 0.75, "n_groups": 3}
    assert evaluation.show(measure) == "0.500 [0.250, 0.750]~"
    assert evaluation.show(measure | {"n_groups": 20}) == "0.500 [0.250, 0.750]"
    assert evaluation.show(measure | {"value": None, "reason": "no videos"}) == "-"


def test_control_characters_in_a_group_do_not_reach_the_terminal(tmp_path: Path) -> None:
    labels = 'file,label,kind\na.mp4,1,"\x1b[31mred\nline"\nb.mp4,0,real\n'
    found = matched(tmp_path, "file,p_fake\na.mp4,0.9\nb.mp4,0.1\n", labels)
    text = evaluation.text_report(evaluation.evaluate(found, ["kind"], SETTINGS, 0.01))
    assert "\x1b" not in text and "[31mred line" in text


def test_the_command_prints_tables_writes_json_and_explains_mistakes(tmp_path: Path) -> None:
    scores, labels = crowd()
    written(tmp_path / "scores.csv", scores)
    written(tmp_path / "labels.csv", labels)
    command = [sys.executable, str(SCRIPT), "--scores", "scores.csv", "--labels", "labels.csv"]
    asked = [*command, "--group", "family", "--json", "out.json"]
    done = subprocess.run(asked, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "ROC AUC" in done.stdout and "By family" in done.stdout
    assert json.loads((tmp_path / "out.json").read_text())["n_fake"] == 40
    wrong = subprocess.run([*command, "--group", "x"], cwd=tmp_path, capture_output=True, text=True)
    assert wrong.returncode == 2 and "Traceback" not in wrong.stderr and "no such column" in wrong.stderr
