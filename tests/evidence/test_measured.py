"""Signs of checks against labels, and files that are no checks with evidence."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from deepfake.commands import evaluate
from deepfake.detector.check import Check
from deepfake.errors import UserError
from deepfake.evaluation.labelled import Labelled
from deepfake.evidence.measured import measure_signs, rate_of, read_evidence, text_of
from deepfake.settings import Validation
from evidence_groups import bare_check, sign


def check_with(name: str, **strengths: float) -> Check:
    signs = tuple(sign(f"sound.{kind}", strength=strength) for kind, strength in strengths.items())
    return bare_check(name).model_copy(update={"evidence": signs})


def written(folder: Path, *checks: Check) -> Path:
    for number, check in enumerate(checks):
        (folder / f"{number}.json").write_text(check.to_json())
    return folder


LABELLED = [Labelled(f"{name}.mp4", label, {}) for name, label in (("a", 0), ("b", 0), ("c", 1), ("d", 1))]


def test_each_kind_of_sign_is_counted_among_reals_and_forgeries_and_its_strength_ranked(tmp_path: Path) -> None:
    folder = written(
        tmp_path,
        check_with("v/a.mp4", late=0.2),
        check_with("v/b.mp4"),
        check_with("v/c.mp4", late=0.9, none=0.0),
        check_with("v/d.mp4", late=0.3),
        check_with("v/unknown.mp4", late=1.0),
    )
    result = measure_signs(read_evidence([folder]), LABELLED, Validation(bootstrap=200))
    late, none = result["signs"]
    assert (late["kind"], late["real"]["n_with"], late["forged"]["n_with"]) == ("sound.late", 1, 2)
    assert late["auc"]["value"] == 1.0, "forged .9 and .3 above real .2 and nothing"
    assert none["auc"]["value"] == 0.5 and none["forged"]["n_with"] == 1, "a sign without strength ranks nothing"
    assert result["unlabelled"] == ["v/unknown.mp4"]
    assert "1 of 2: 0.50" in text_of(result) and "1 checks have no label" in text_of(result)


def test_a_rate_has_the_interval_of_clopper_and_pearson() -> None:
    import numpy as np

    none = rate_of(np.zeros(10, bool))
    assert (none.n_with, none.low) == (0, 0.0) and none.high == pytest.approx(1 - 0.025**0.1)
    every = rate_of(np.ones(10, bool))
    assert every.high == 1.0 and every.low == pytest.approx(0.025**0.1)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "not JSON"),
        ('{"a": 1}', "JSON of another kind"),
        ('{"schema_version": 3}', "version 3, wanted 4"),
        ('{"schema_version": 4}', "no whole check (file"),
    ],
)
def test_a_file_that_is_no_check_is_named_with_the_reason(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "odd.json").write_text(text)
    with pytest.raises(UserError, match="deepfake check --evidence") as caught:
        read_evidence([tmp_path])
    assert words in str(caught.value) and "odd.json" in str(caught.value)


def test_a_check_without_evidence_two_that_differ_and_an_empty_folder_are_errors(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no JSON file there"):
        read_evidence([tmp_path])
    plain = tmp_path / "plain.json"
    plain.write_text(bare_check("a.mp4").to_json())
    with pytest.raises(UserError, match=r"'a\.mp4' was checked without evidence"):
        read_evidence([plain])
    several = tmp_path / "several.json"
    several.write_text(json.dumps([check_with("a.mp4").plain(), check_with("a.mp4", late=0.5).plain()]))
    with pytest.raises(UserError, match="checked before with other evidence"):
        read_evidence([several])


def test_the_command_prints_the_table_and_takes_scores_or_evidence_and_not_both(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = written(tmp_path, *(check_with(f"{name}.mp4", late=0.5) for name in "abcd"))
    labels = tmp_path / "labels.csv"
    labels.write_text("file,label\n" + "\n".join(f"{name}.mp4,{'REAL' if name < 'c' else 'FAKE'}" for name in "abcd"))
    given = ["--evidence", str(folder), "--labels", str(labels)]
    evaluate.run(evaluate.arguments().parse_args([*given, "--json", str(tmp_path / "o.json")]))
    assert "sound.late" in capsys.readouterr().out
    assert json.loads((tmp_path / "o.json").read_text())["n_real"] == 2
    with pytest.raises(SystemExit) as caught:
        evaluate.arguments().parse_args([*given, "--scores", str(labels)])
    assert caught.value.code == 2
