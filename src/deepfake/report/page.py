"""The validation report as one HTML page: its own script by its hash, nothing from outside, names as text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup

from deepfake import metrics
from deepfake.files import printable
from deepfake.metrics import ReliabilityBin
from deepfake.report import plots
from deepfake.report.templates import page_environment, source_hash

MAX_ROWS = 40  # of a table on the page; the CSV beside it holds them all


def render(
    result: Mapping[str, Any], labels: np.ndarray, p: np.ndarray, strips: Mapping[str, Any], tables: Iterable[str]
) -> str:
    """The page of `build_report`'s plain values; `strips` has the crops of each worst video, `tables` name CSVs."""
    folder = Path(__file__).parent
    script = (folder / "validation.js").read_text()
    environment = page_environment()
    environment.filters.update(visible=printable, number=number, hardest=hardest)
    environment.globals.update(titles=metrics.BY_NAME, threshold=metrics.THRESHOLD, max_rows=MAX_ROWS)
    return environment.get_template("validation.html.jinja").render(
        r=result,
        best=result["models"][0],
        drawings=_drawings(result, labels, p),
        coverage_plot=_coverage_plot(result),
        frames_plot=_frames_plot(result),
        strips=strips,
        tables=sorted(tables),
        story=story(result),
        warnings=warnings(result),
        settings=_flat(result["settings"]),
        style=Markup((folder / "validation.css").read_text()),  # noqa: S704 - our own file
        script=Markup(script),  # noqa: S704 - our own file
        script_hash=source_hash(script),
    )


def hardest(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The rows of a group table that the page shows: of too many, those of lowest accuracy, in their old order."""
    if len(rows) <= MAX_ROWS:
        return list(rows)
    chosen = sorted(range(len(rows)), key=lambda i: (rows[i]["metrics"]["accuracy"]["value"], i))[:MAX_ROWS]
    return [rows[i] for i in sorted(chosen)]


def number(value: float, digits: int = 3) -> str:
    """A number with a true minus, and none before zero."""
    text = f"{value:.{digits}f}"
    return (text.lstrip("-") if float(text) == 0 else text).replace("-", "−")


def percent(share: float) -> str:
    """A share as whole percents."""
    return f"{100 * share:.0f}\u00a0%"


def _flat(values: Mapping[str, Any], above: str = "") -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for key, value in values.items():
        found += _flat(value, f"{above}{key}.") if isinstance(value, dict) else [(above + key, str(value))]
    return found


def _figure(title: str, told: str, svg: str) -> dict[str, str]:
    """A drawing with what it shows in words, for those who do not see it."""
    hidden = svg.replace("<svg", '<svg aria-hidden="true" focusable="false"', 1)
    return {"title": title, "told": told, "svg": Markup(hidden)}  # noqa: S704 - drawn of our own numbers


def _drawings(result: Mapping[str, Any], labels: np.ndarray, p: np.ndarray) -> list[dict[str, str]]:
    found = result["models"][0]["metrics"]
    bins = [ReliabilityBin(**b) for b in result["reliability"]]
    apart = " and ".join(
        f"{name} {found[key]['value']:.2f}"
        for name, key in (("reals", "mean_p_real"), ("fakes", "mean_p_fake"))
        if found[key]["value"] is not None
    )
    drawings = [_figure("Scores by label", f"Mean p_fake: {apart}.", plots.score_histogram(labels, p))]
    if found["eer"]["value"] is not None:
        told = (
            f"Area {found['roc_auc']['value']:.3f}; as many reals as fakes are mistaken at {found['eer']['value']:.3f}."
        )
        drawings.append(_figure("ROC", told, plots.roc_plot(labels, p, found["eer"]["value"])))
        told = f"Area {found['pr_auc']['value']:.3f}; dashed: by chance."
        drawings.append(_figure("Precision and recall", told, plots.pr_plot(labels, p)))
    told = f"Mean distance from the dashed line {found['ece']['value']:.3f}, in {len(bins)} bins."
    drawings.append(_figure("Reliability", told, plots.reliability_plot(bins)))
    return drawings


def _coverage_plot(result: Mapping[str, Any]) -> dict[str, str] | None:
    points = result["risk_coverage"]
    if not points:
        return None
    last = points[-1]
    told = f"With a verdict on {percent(last['coverage'])} of the videos, {percent(last['error_rate'])} are wrong."
    svg = plots.risk_coverage_plot([x["coverage"] for x in points], [x["error_rate"] for x in points])
    return _figure("Risk and coverage", told, svg)


def _frames_plot(result: Mapping[str, Any]) -> dict[str, str] | None:
    lines: dict[str, list[tuple[int, float, float | None, float | None]]] = {}
    for row in result["frames_needed"]:
        auc = row["metrics"]["roc_auc"]
        if auc["value"] is not None:
            lines.setdefault(row["model"], []).append((row["n_frames"], auc["value"], auc["low"], auc["high"]))
    if not lines:
        return None
    ends = "; ".join(
        f"{printable(name)} {points[0][1]:.3f} with {points[0][0]}, {points[-1][1]:.3f} with {points[-1][0]}"
        for name, points in lines.items()
    )
    return _figure("Frames and AUC", f"{ends}.", plots.frames_plot(lines))


def story(result: Mapping[str, Any]) -> list[str]:
    """The headline in plain words."""
    found, told = result["models"][0]["metrics"], []
    recall, alarms, auc = (found[name]["value"] for name in ("recall", "false_alarm_rate", "roc_auc"))
    if recall is not None and alarms is not None:
        shares = f"{100 * recall:.0f} of 100 fakes, and {100 * alarms:.0f} of 100 reals"
        told.append(f"Called fake above {metrics.THRESHOLD:g}: {shares}.")
    if auc is not None:
        told.append(f"Of a fake and a real drawn at random, the fake scores higher {100 * auc:.0f} times in 100.")
    told += [_against_baseline(row) for row in result["baselines"] if row["gain"]["value"] is not None]
    return told + _weakest(result["groups"], auc)


def _weakest(groups: Sequence[Mapping[str, Any]], auc: float | None) -> list[str]:
    """The group of lowest ROC AUC among those whose whole interval lies below the AUC of all videos."""
    rows = [(row["metrics"]["roc_auc"], table["title"], row["value"]) for table in groups for row in table["rows"]]
    sure = [row for row in rows if row[0]["high"] is not None and row[0]["n_groups"] >= metrics.FEW_GROUPS]
    below = [row for row in sure if auc is not None and row[0]["high"] < auc]
    if not below or auc is None:
        return []
    found, title, value = min(below, key=lambda row: float(row[0]["value"]))
    between = f"[{number(found['low'])}, {number(found['high'])}]"
    return [f"Weakest by {title.lower()}: {printable(value)}, ROC AUC {number(found['value'])} {between}."]


def _against_baseline(row: Mapping[str, Any]) -> str:
    gain = row["gain"]
    lost = row["metrics"]["log_loss_clipped"]["value"]
    text = f"{row['title']}: log loss {lost:.3f}; this run's is {abs(gain['value']):.3f} "
    text += "lower" if gain["value"] > 0 else "higher"
    if gain["low"] is None:
        return f"{text}."
    clear = "" if gain["low"] > 0 or gain["high"] < 0 else ", so it may be no better or no worse"
    return f"{text} (gain {signed(gain['low'])} to {signed(gain['high'])}, 95\u00a0%){clear}."


def signed(value: float) -> str:
    """A number with its sign, a true minus."""
    return f"{value:+.3f}".replace("-", "−")


def warnings(result: Mapping[str, Any]) -> list[str]:
    """What a reader must know before believing a number."""
    found, counts = result["models"][0]["metrics"], result["counts"]
    told = []
    if counts["groups"] < metrics.FEW_GROUPS:
        told.append(
            f"Only {counts['groups']} independent groups stand behind the intervals (an original and everything made "
            f"of it is one group). Below {metrics.FEW_GROUPS} they are rough guesses and too narrow."
        )
    loss = found["log_loss_clipped"]
    constant = result["baselines"][1]["metrics"]["log_loss_clipped"]["value"]
    if loss["value"] is not None and loss["value"] >= constant:
        told.append("The log loss is no better than that of a constant score.")
    elif loss["high"] is not None and loss["high"] >= constant:
        told.append("The interval of the log loss reaches that of a constant score: it may be no better than that.")
    if found["log_loss"]["value"] is None and found["log_loss"]["reason"]:
        told.append(f"The log loss without clipping is {found['log_loss']['reason']}.")
    missing, priors = counts["without_score"], counts["fallbacks"]
    if missing:
        told.append(f"{missing} of {counts['labelled']} labelled videos lack an out-of-fold score: in no number here.")
    if priors:
        told.append(f"{priors} of {counts['scored']} videos carry the prior, not a score; they count in every number.")
    return told + _leaks(result["leakage"]["checks"])


def _leaks(checks: Sequence[Mapping[str, Any]]) -> list[str]:
    return [
        f"Leakage: {check['title'].lower()}, {check['n_found']} found."
        for check in checks
        if check["n_found"] and check["name"] != "stems"
    ]
