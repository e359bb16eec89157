"""The validation report: tables of a run in; one HTML page, its numbers as plain values, and CSV tables out.

`build_report` reads no files but the crops it is given a reader for. Every number of the page is in the dictionary.
Its parts are the modules beside this one; the page is `validation.html.jinja`, with its style and script.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from deepfake.ensemble.stack import ENSEMBLE
from deepfake.evaluation import bootstrap, metrics
from deepfake.evaluation.member_sets import compare
from deepfake.files import write_whole
from deepfake.report import validation_page
from deepfake.report.abstaining import bands, risk_coverage
from deepfake.report.against import compare_runs
from deepfake.report.csv_tables import csv_tables
from deepfake.report.frames_needed import frames_against_accuracy
from deepfake.report.groups import group_tables
from deepfake.report.inputs import ReportInputs, count, scored_videos
from deepfake.report.leakage import leakage
from deepfake.report.plain import plain_rows
from deepfake.report.worst import check_command, strip, worst_videos
from deepfake.settings import Config

__all__ = ["Report", "ReportInputs", "build_report"]


@dataclass(frozen=True)
class Report:
    """The page, everything on it but pictures as plain values, and CSV files by name."""

    html: str
    result: Mapping[str, Any]
    tables: Mapping[str, bytes]

    def write(self, folder: Path) -> None:
        """Write report.html, report.json and tables/*.csv, each whole or not at all; the page last."""
        for name, data in self.tables.items():
            write_whole(folder / "tables" / name, data)
        text = json.dumps(self.result, indent=1, allow_nan=False)
        write_whole(folder / "report.json", text.encode())
        write_whole(folder / "report.html", self.html.encode())

    def summary(self) -> dict[str, Any]:
        """Counts and the main numbers for the stage's last line."""
        measures = self.result["models"][0]["metrics"]
        shown = {name: measures[name]["value"] for name in ("log_loss_clipped", "roc_auc", "false_alarm_rate")}
        rounded = {name: value if value is None else round(value, 4) for name, value in shown.items()}
        return {"videos": self.result["counts"]["scored"], **rounded}


def build_report(inputs: ReportInputs) -> Report:
    """Measure everything and lay it out."""
    scored = scored_videos(inputs)
    config = inputs.config
    labels, p = scored["label"].to_numpy(), scored["p_fake"].to_numpy()
    worst = worst_videos(scored, config)
    result: dict[str, Any] = {
        "run": config.run,
        "dataset": config.dataset,
        "facts": dict(inputs.facts or {}),
        "settings": config.model_dump(mode="json"),
        "counts": count(inputs, scored),
        "clip_p": config.ensemble.clip_p,
        "n_resamples": config.validation.bootstrap,
        "few_groups": metrics.FEW_GROUPS,
        "baselines": _baselines(scored, config),
        "models": _models(inputs, scored),
        "member_sets": _member_sets(inputs),
        "costs": _costs(inputs),
        "reliability": [asdict(b) for b in metrics.reliability(labels, p, config.validation.ece_bins)],
        "groups": group_tables(scored, config),
        "bands": bands(scored),
        "risk_coverage": risk_coverage(scored),
        "frames_needed": frames_against_accuracy(inputs.frame_scores, inputs.faces, scored, config),
        "against": compare_runs(scored, inputs.other_scores, config),
        "leakage": leakage(inputs, scored),
        "worst": worst,
        "check_command": check_command(config, [row["video_id"] for rows in worst.values() for row in rows]),
        "fallbacks": plain_rows(scored.loc[scored["fallback"].notna(), ["video_id", "label", "p_fake", "fallback"]]),
        "test": _test_counts(inputs.test_scores),
        "failures": plain_rows(inputs.failures[["stage", "video_id", "reason"]]),
    }
    strips = {row["video_id"]: strip(inputs, row["video_id"]) for rows in worst.values() for row in rows}
    tables = csv_tables(result, scored)
    return Report(validation_page.render(result, labels, p, strips, tables), result, tables)


def _baselines(scored: pd.DataFrame, config: Config) -> list[dict[str, Any]]:
    """Saying the same of every video: 0.5, and the share of fakes; `gain` is how much lower the ensemble's loss is."""
    labels, p, groups = scored["label"].to_numpy(), scored["p_fake"].to_numpy(), scored["group"].tolist()
    limits = config.validation, config.ensemble.clip_p
    share = float(labels.mean())
    rows = []
    for name, title, value in (
        ("constant", "Always 0.5", 0.5),
        ("prior", f"Always {share:.3f}, the share of fakes", share),
    ):
        same = np.full(len(labels), value)
        measured = bootstrap.measure(labels, same, groups, *limits)
        gain = bootstrap.measure_difference(labels, same, p, groups, *limits)["log_loss_clipped"]
        measures = {key: measure.to_dict() for key, measure in measured.items()}
        rows.append({"name": name, "title": title, "p_fake": value, "metrics": measures, "gain": gain.to_dict()})
    return rows


def _models(inputs: ReportInputs, scored: pd.DataFrame) -> list[dict[str, Any]]:
    """The ensemble, then its members in order of name, each on the videos it scored."""
    known = scored[["video_id", "label", "group"]]
    rows = []
    names = sorted(inputs.scores["model"].unique(), key=lambda name: (name != ENSEMBLE, name))
    for name in names:
        own = inputs.scores[inputs.scores["model"] == name].merge(known, on="video_id").sort_values("video_id")
        measured = bootstrap.measure(
            own["label"].to_numpy(),
            own["p_fake"].to_numpy(),
            own["group"].tolist(),
            inputs.config.validation,
            inputs.config.ensemble.clip_p,
        )
        rows.append(
            {
                "name": str(name),
                "n_videos": len(own),
                "n_fallbacks": int(own["fallback"].notna().sum()),
                "metrics": {key: measure.to_dict() for key, measure in measured.items()},
            }
        )
    return rows


def _member_sets(inputs: ReportInputs) -> list[dict[str, Any]]:
    """Members alone, in pairs, together and each left out; nothing to compare where there is one member."""
    evidence = inputs.evidence
    if evidence is None or len(evidence.members) < 2 or len(np.unique(evidence.folds)) < 2:
        return []
    known = _known_scores(inputs.scores, list(evidence.tracks.video_ids))
    return [row.to_dict() for row in compare(evidence, inputs.config.ensemble, inputs.config.validation, known)]


def _known_scores(scores: pd.DataFrame, video_ids: list[str]) -> dict[str, np.ndarray]:
    """Out-of-fold p_fake by model, in the order of `video_ids`, of each that scored all these videos."""
    by_model = {str(model): rows.set_index("video_id")["p_fake"] for model, rows in scores.groupby("model")}
    whole = {model: p for model, p in by_model.items() if set(video_ids) <= set(p.index)}
    return {model: p.loc[video_ids].to_numpy(np.float64) for model, p in whole.items()}


def _costs(inputs: ReportInputs) -> dict[str, Any]:
    """What the milliseconds of the member sets were measured on, and how many networks each member has."""
    return {"machine": inputs.evidence.machine if inputs.evidence else "", "n_networks": inputs.config.folds.n_folds}


def _test_counts(scores: pd.DataFrame | None) -> dict[str, Any] | None:
    if scores is None:
        return None
    own = scores[scores["model"] == ENSEMBLE]
    counts = Counter(reason.partition(":")[0] for reason in own["fallback"].dropna())
    return {
        "videos": len(own),
        "called_fake": int((own["p_fake"] > metrics.THRESHOLD).sum()),
        "fallbacks": dict(sorted(counts.items())),
    }
