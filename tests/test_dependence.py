"""Whether the scores of real videos depend on where they come from: hand-made crowds with a known answer."""

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest

from clip_factory import Coding, write
from deepfake import evaluation
from deepfake.config import UserError
from deepfake.dependence import measure_dependence, with_facts

SCRIPT = Path(__file__).parents[1] / "src" / "evaluate_scores.py"


def matched(rows: Sequence[tuple[float, int, Mapping[str, str]]]) -> evaluation.Matched:
    videos = [evaluation.Labelled(f"v{i}.mp4", label, columns) for i, (_, label, columns) in enumerate(rows)]
    return evaluation.Matched(videos, np.array([p for p, _, _ in rows]), [], [])


def reals(n: int, p_of: Sequence[float], columns: Sequence[Mapping[str, str]]) -> evaluation.Matched:
    assert len(p_of) == len(columns) == n
    return matched(
        [(p, 0, {"identity": f"person{i}", **c}) for i, (p, c) in enumerate(zip(p_of, columns, strict=True))]
    )


def test_sources_that_always_score_apart_explain_all_of_the_variance() -> None:
    found = measure_dependence(
        reals(12, [0.2] * 6 + [0.8] * 6, [{"source": "a"}] * 6 + [{"source": "b"}] * 6), 0, ["source"], 0, 0.01
    )["source"]
    assert found["strength"] == pytest.approx(1)
    assert found["by_chance"] == pytest.approx(1 / 11, abs=0.03)  # of 12 rows in two groups
    assert found["p_value"] < 0.01  # 2 of the 924 ways to choose six of twelve
    assert found["parts"] == [
        {"value": "a", "n_videos": 6, "mean_p": pytest.approx(0.2), "share_above_half": 0.0},
        {"value": "b", "n_videos": 6, "mean_p": pytest.approx(0.8), "share_above_half": 1.0},
    ]


def test_sources_that_score_alike_are_within_chance() -> None:
    rng = np.random.default_rng(1)
    columns = [{"source": "abc"[i % 3]} for i in range(60)]
    found = measure_dependence(reals(60, list(rng.uniform(0.2, 0.8, 60)), columns), 0, ["source"], 0, 0.01)["source"]
    assert found["strength"] < 0.1
    assert found["p_value"] > 0.05


def test_numbers_are_ranked_and_told_in_thirds() -> None:
    columns = [{"bits": str(2.0**i)} for i in range(9)]
    found = measure_dependence(reals(9, [0.9 - 0.1 * i for i in range(9)], columns), 0, ["bits"], 0, 0.01)["bits"]
    assert found["kind"] == "number"
    assert found["strength"] == pytest.approx(-1)
    assert found["p_value"] < 0.002  # 2 of 9! orders rank all nine
    assert [(part["value"], part["n_videos"]) for part in found["parts"]] == [
        ("1 to 4", 3),
        ("8 to 32", 3),
        ("64 to 256", 3),
    ]
    assert [part["mean_p"] for part in found["parts"]] == pytest.approx([0.8, 0.5, 0.2])


def test_many_clips_of_one_person_count_once() -> None:
    few = [(0.3, 0, {"identity": "x", "source": "a"})] * 50 + [
        (p, 0, {"identity": f"y{i}", "source": "ab"[i % 2]}) for i, p in enumerate((0.4, 0.5, 0.6, 0.7))
    ]
    found = measure_dependence(matched(few), 0, ["source"], 0, 0.01)["source"]
    assert (found["n_videos"], found["n_units"]) == (54, 5)
    assert found["p_value"] > 0.1


def test_only_the_asked_label_counts_and_empty_cells_are_told() -> None:
    rows = [(0.9, 1, {"source": "a"}), (0.1, 0, {"source": "a"}), (0.2, 0, {"source": ""}), (0.3, 0, {"source": "b"})]
    found = measure_dependence(matched(rows), 0, ["source"], 0, 0.01)["source"]
    assert (found["n_videos"], found["n_empty"]) == (2, 1)
    assert found["strength"] is None  # a value for each video: nothing to compare within


@pytest.mark.parametrize("rows", [[], [0.5], [0.5, 0.5, 0.5]])
def test_no_video_one_or_equal_scores_give_no_figure(rows: list[float]) -> None:
    made = matched([(0.9, 1, {"source": "a", "bits": "1"}), *((p, 0, {"source": "a", "bits": "2"}) for p in rows)])
    for found in measure_dependence(made, 0, ["source", "bits"], 0, 0.01).values():
        assert found["n_videos"] == len(rows)
        assert (found["strength"], found["by_chance"], found["p_value"]) == (None, None, None)


def test_the_files_tell_their_own_size_and_a_missing_one_is_left_empty(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(tmp_path / "v0.mp4", Coding(n_frames=6))
    (tmp_path / "v1.mp4").write_bytes(b"no video")
    made = matched([(0.1, 0, {"identity": "a"}), (0.2, 0, {"identity": "b"}), (0.9, 1, {"identity": "c"})])
    found = with_facts(made, tmp_path)
    first, second, third = (video.columns for video in found.videos)
    assert first["identity"] == "a"
    assert first["codec"] == "h264"
    assert int(first["n_frames"]) == 6
    assert float(first["bits_per_pixel"]) > 0
    assert second["codec"] == third["codec"] == ""
    assert "2 of 3 videos are not there or cannot be read" in caplog.text


def test_a_folder_with_none_of_the_videos_is_the_user_s_mistake(tmp_path: Path) -> None:
    write(tmp_path / "another.mp4", Coding(n_frames=2))
    with pytest.raises(UserError, match=r"--videos .*: .* the folder has 'another\.mp4', labels have 'v0\.mp4'"):
        with_facts(matched([(0.1, 0, {})]), tmp_path)


def test_the_command_prints_and_writes_both_labels(tmp_path: Path) -> None:
    scores = ["filename,p_fake", *(f"v{i}.mp4,{0.1 + 0.01 * i:.2f}" for i in range(20))]
    labels = ["file,label,source,width", *(f"v{i}.mp4,{i % 2},{'ab'[i // 10]},{640 + i}" for i in range(20))]
    for name, lines in (("scores", scores), ("labels", labels)):
        (tmp_path / f"{name}.csv").write_text("\n".join(lines))
    files = ["--scores", tmp_path / "scores.csv", "--labels", tmp_path / "labels.csv"]
    told = subprocess.run(
        [sys.executable, SCRIPT, *files, "--dependence", "source,width", "--json", tmp_path / "out.json"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "What the scores of the real videos depend on" in told.stdout
    assert "What the scores of the fake videos depend on" in told.stdout
    written = json.loads((tmp_path / "out.json").read_text())["dependence"]
    assert written["real"]["width"]["strength"] == pytest.approx(1)
    assert written["fake"]["source"]["n_videos"] == 10
    wrong = subprocess.run([sys.executable, SCRIPT, *files, "--dependence", "sauce"], capture_output=True, text=True)
    assert wrong.returncode == 2
    assert "--dependence sauce: the labels have no such column; did you mean 'source'?" in wrong.stderr
