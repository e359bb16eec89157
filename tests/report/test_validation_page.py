"""The validation report on invented tables: numbers, honesty about what is missing, and hostile names."""

import base64
import hashlib
import json
import re
import shlex
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import log_loss, roc_auc_score

from deepfake.errors import UserError
from deepfake.report import plots
from deepfake.report.inputs import ReportInputs, scored_videos
from deepfake.report.validation import build_report
from deepfake.report.worst import strip, worst_videos
from invented_report import N_ORIGINALS, NASTY, inputs, report  # noqa: F401 - fixtures


def ensemble(inputs: ReportInputs) -> pd.DataFrame:
    own = inputs.scores[inputs.scores["model"] == "ensemble"]
    return own.merge(inputs.videos[["video_id", "label", "manipulation"]], on="video_id")


def test_the_numbers_are_those_of_the_ensemble(inputs, report) -> None:
    own, shown = ensemble(inputs), report.result["models"][0]
    assert shown["name"] == "ensemble"
    assert shown["metrics"]["roc_auc"]["value"] == pytest.approx(roc_auc_score(own["label"], own["p_fake"]))
    assert shown["metrics"]["log_loss"]["value"] == pytest.approx(log_loss(own["label"], own["p_fake"]))
    assert [model["name"] for model in report.result["models"]] == ["ensemble", "frames", "sequences"]


def test_intervals_rest_on_groups_and_few_of_them_are_warned_about(report) -> None:
    html, result = report.html, report.result
    assert result["models"][0]["metrics"]["roc_auc"]["n_groups"] == N_ORIGINALS
    assert "Only 12 independent groups stand behind the intervals" in html


def test_the_baselines_are_a_coin_and_the_share_of_fakes(report) -> None:
    coin, share = report.result["baselines"]
    assert coin["metrics"]["log_loss"]["value"] == pytest.approx(np.log(2))
    assert share["p_fake"] == pytest.approx(2 / 3)
    assert share["metrics"]["log_loss"]["value"] == pytest.approx(-(2 / 3 * np.log(2 / 3) + 1 / 3 * np.log(1 / 3)))


def test_a_manipulation_stands_against_all_reals(inputs, report) -> None:
    own = ensemble(inputs)
    table = next(t for t in report.result["groups"] if t["title"] == "Manipulation")
    row = next(r for r in table["rows"] if r["value"] == "swap")
    taken = own[own["manipulation"].eq("swap") | own["label"].eq(0)]
    assert row["metrics"]["roc_auc"]["value"] == pytest.approx(roc_auc_score(taken["label"], taken["p_fake"]))
    assert [r["value"] for r in table["rows"]] == ["mouth <b>", "real", "swap"]


def test_a_group_with_one_label_says_so_instead_of_a_number(report) -> None:
    html, result = report.html, report.result
    table = next(t for t in result["groups"] if t["title"] == "Face size")
    lonely = next(r for r in table["rows"] if r["value"] == "no face")
    assert (lonely["n_real"], lonely["n_fake"]) == (1, 0)
    assert lonely["metrics"]["roc_auc"]["value"] is None
    assert ">no fake</span>" in html


def test_labels_that_name_no_person_give_no_table_of_persons(report) -> None:
    html, result = report.html, report.result
    assert next(t for t in result["groups"] if t["title"] == "Identity")["rows"] == []
    assert "<b>Identity</b>: the labels do not say." in html


def test_face_counts_come_from_frames_not_from_tracks(report) -> None:
    table = next(t for t in report.result["groups"] if t["title"] == "Faces at once")
    assert [(r["value"], r["n_real"], r["n_fake"]) for r in table["rows"]] == [("0", 1, 0), ("2", 11, 24)]


def test_hostile_names_are_text_and_never_markup(report) -> None:
    html = report.html
    assert html.count("<script") == 1 and "<b>" not in re.sub(r"<b>[A-Za-z0-9_. ]+</b>", "", html)
    assert "&lt;script&gt;alert(&#34;1&#34;)&lt;/script&gt;\\n&#39;&amp;\\u202e&#34;.mp4" in html
    assert "decoded 0 of 300 &lt;frames&gt;" in html


class Page(HTMLParser):
    """Counts tags, notes what is left open, what is pointed to and what is named."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.addresses: list[str] = []
        self.ids: list[str] = []
        self.tags: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href", "xlink:href")]
        self.ids += [value or "" for name, value in attrs if name == "id"]
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_is_whole_and_needs_nothing_from_outside(report) -> None:
    page = Page(report.html)
    assert page.open == []
    assert "link" not in page.tags and "iframe" not in page.tags
    beside = {"report.json", *(f"tables/{name}" for name in report.tables)}
    assert all(a.startswith(("data:image/jpeg;base64,", "#")) or a in beside for a in page.addresses)


def test_ids_are_given_once_and_every_inner_link_leads_somewhere(report) -> None:
    page = Page(report.html)
    assert len(page.ids) == len(set(page.ids))
    assert {a[1:] for a in page.addresses if a.startswith("#")} <= set(page.ids)
    assert {"headline", "groups", "members", "leakage", "worst", "false-alarms", "misses"} <= set(page.ids)


def test_only_the_pages_own_script_may_run(report) -> None:
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', report.html)
    script = re.search(r"<script>(.*?)</script>", report.html, re.DOTALL)
    assert policy and script
    digest = base64.b64encode(hashlib.sha256(script[1].encode()).digest()).decode()
    assert f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'" in policy[1]
    assert not re.search(r"\son[a-z]+=", re.sub(r"<script>.*?</script>", "", report.html, flags=re.DOTALL))


def test_every_table_has_a_caption_and_headings_with_a_scope(report) -> None:
    tables = re.findall(r"<table.*?</table>", report.html, re.DOTALL)
    assert len(tables) > 12
    for table in tables:
        assert "<caption" in table
        assert not re.search(r"<th(?![^>]* scope=)[ >]", table)
        rows = re.findall(r"<tr.*?</tr>", table, re.DOTALL)
        assert len({len(re.findall(r"<t[hd][ >]", row)) for row in rows}) == 1


def test_plots_follow_the_pages_colours(report) -> None:
    drawn = "".join(re.findall(r"<svg.*?</svg>", report.html, re.DOTALL))
    assert drawn.count("var(--fake, #c4502f)") > 3
    assert set(re.findall(r": (#[0-9a-f]{6})", drawn)) == set()


def test_the_worst_video_comes_first_with_crops_of_its_most_fake_track(inputs, report) -> None:
    alarms, misses = report.result["worst"]["false_alarms"], report.result["worst"]["misses"]
    assert alarms[0]["video_id"] == NASTY and alarms[0]["is_wrong"]
    assert {row["label"] for row in alarms} == {0} and {row["label"] for row in misses} == {1}
    assert [row["p_fake"] for row in misses] == sorted(row["p_fake"] for row in misses)
    assert len(alarms) == len(misses) == 6
    worst = strip(inputs, NASTY)
    assert worst["note"] == "track 1 of 2, 5 crops"
    assert [frame["time_s"] for frame in worst["frames"]] == [0, 1, 2, 3, 4]
    assert worst["frames"][0]["p_fake"] == pytest.approx(1 / (1 + np.exp(-1)))
    assert worst["frames"][0]["url"] in report.html


def test_a_worst_video_links_to_its_page_or_names_the_command_that_makes_it(inputs, tmp_path) -> None:
    config = inputs.config.model_copy(update={"submissions_dir": tmp_path})
    scored = scored_videos(inputs).assign(sha256="0123456789abcdef")
    pages = tmp_path / "invented/checks"
    without = worst_videos(scored, config)["false_alarms"][0]
    assert without["page"] is None
    assert shlex.split(without["command"])[-3:] == [
        str(pages / "check-01234567.html"),
        "--",
        f"data/raw/demo/{NASTY}",
    ]
    pages.mkdir(parents=True)
    (pages / "my <clip>-01234567-2.html").write_text("its page")
    (pages / "other-76543210.html").write_text("another's page")
    assert worst_videos(scored, config)["false_alarms"][0]["page"] == "checks/my%20%3Cclip%3E-01234567-2.html"
    assert worst_videos(scored_videos(inputs), config)["misses"][0]["page"] is None


def test_fallbacks_and_failures_are_counted_and_listed(report) -> None:
    html, result = report.html, report.result
    assert result["fallbacks"] == [{"video_id": "part_1/real05.mp4", "label": 0, "p_fake": 0.66, "fallback": "no_face"}]
    assert result["counts"]["failures"] == 1 and result["failures"][0]["stage"] == "02_extract_faces"
    assert result["test"]["fallbacks"] == {"no_face": 1}
    assert "1 of 36 validated videos carry the prior" in html


def test_the_numbers_are_plain_json_and_the_page_is_the_same_each_time(inputs, report) -> None:
    result = report.result
    assert json.loads(json.dumps(result, allow_nan=False)) == result
    assert build_report(inputs) == report


def test_missing_crops_are_reported_and_cost_only_the_pictures(inputs) -> None:
    def fail(shard: str, offset: int, size: int) -> np.ndarray:
        raise UserError("shard gone")

    html = build_report(replace(inputs, read_crop=fail, frame_scores=None, test_scores=None, facts=None)).html
    assert "the crops cannot be read: shard gone" in html and "<img" not in html


def test_an_unlabelled_video_is_left_out_and_an_unscored_one_is_counted(inputs) -> None:
    videos = inputs.videos.copy()
    videos.loc[videos["video_id"] == "part_0/real00.mp4", "label"] = None
    left = inputs.scores[inputs.scores["video_id"] != "part_0/swap00.mp4"]
    result = build_report(replace(inputs, videos=videos, scores=left)).result
    assert (result["counts"]["scored"], result["counts"]["without_score"]) == (34, 1)


def test_reals_alone_give_a_report_with_reasons(inputs) -> None:
    videos = inputs.videos[inputs.videos["label"] == 0]
    report = build_report(replace(inputs, videos=videos))
    assert report.result["models"][0]["metrics"]["roc_auc"]["value"] is None
    assert report.result["leakage"]["metadata"]["sentence"].startswith("Not measured")
    assert "no fake" in report.html and 'class="bar"' not in report.html
    assert "ROC</b>" not in report.html and "Reliability</b>" in report.html


def test_scores_without_an_ensemble_or_without_labels_are_an_error(inputs) -> None:
    with pytest.raises(UserError, match="wanted 'ensemble' among them"):
        build_report(replace(inputs, scores=inputs.scores[inputs.scores["model"] == "frames"]))
    with pytest.raises(UserError, match="nothing can be validated"):
        build_report(replace(inputs, videos=inputs.videos.assign(label=None)))


def test_a_plot_is_one_svg_that_repeats_itself() -> None:
    labels, p = np.array([0, 1, 0, 1]), np.array([0.1, 0.9, 0.6, 0.4])
    text = plots.roc_plot(labels, p, 0.5)
    assert text.startswith("<svg") and text.endswith("</svg>") and text == plots.roc_plot(labels, p, 0.5)
