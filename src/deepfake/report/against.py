"""Two runs on the same videos: what got better, what worse, and which videos moved."""

from __future__ import annotations

from typing import Any

import pandas as pd

from deepfake.errors import UserError
from deepfake.evaluation import bootstrap, metrics
from deepfake.report.inputs import ensemble_scores
from deepfake.report.plain import plain_rows
from deepfake.settings import Config

SHOWN = ("log_loss_clipped", "balanced_log_loss", "roc_auc", "pr_auc", "brier", "recall", "false_alarm_rate")


def compare_runs(scored: pd.DataFrame, other_scores: pd.DataFrame | None, config: Config) -> dict[str, Any] | None:
    """Compare with the run `validation.against`, paired by video_id; None where no other run is asked for."""
    if other_scores is None:
        return None
    name = str(config.validation.against)
    other = ensemble_scores(other_scores, f"video scores of run {name!r}")[["video_id", "p_fake"]]
    both = scored.merge(other.rename(columns={"p_fake": "other_p_fake"}), on="video_id")
    if both.empty:
        raise UserError(
            f"run {name!r} and run {config.run!r} have no labelled video in common; compare runs of one data set"
        )
    labels, groups = both["label"].to_numpy(), both["group"].tolist()
    p, other_p = both["p_fake"].to_numpy(), both["other_p_fake"].to_numpy()
    limits = config.validation, config.ensemble.clip_p
    here, there = (bootstrap.measure(labels, scores, groups, *limits) for scores in (p, other_p))
    difference = bootstrap.measure_difference(labels, p, other_p, groups, *limits)
    rows = [
        {
            "metric": metric,
            "this": here[metric].to_dict(),
            "other": there[metric].to_dict(),
            "difference": difference[metric].to_dict(),
            "verdict": verdict(metric, difference[metric]),
        }
        for metric in SHOWN
    ]
    return {
        "run": name,
        "n_common": len(both),
        "n_only_here": len(scored) - len(both),
        "n_only_there": int((~other["video_id"].isin(set(both["video_id"]))).sum()),
        "metrics": rows,
        "changes": _changes(both),
    }


def verdict(metric: str, difference: metrics.Measure) -> str:
    """better, worse or no clear difference: by whether the interval leaves out 0."""
    if difference.value is None:
        return "not measured"
    if difference.low is None or difference.high is None:
        return "the same" if difference.value == 0 else "not clear"
    if difference.low <= 0 <= difference.high:
        return "not clear"
    is_higher = difference.low > 0
    return "better" if is_higher == (metrics.BY_NAME[metric].better == "high") else "worse"


def _changes(both: pd.DataFrame) -> list[dict[str, Any]]:
    """All common videos, the one that moved most first; `moved` above 0: towards its label."""
    towards = (both["p_fake"] - both["other_p_fake"]).where(both["label"] == 1, both["other_p_fake"] - both["p_fake"])
    shown = both.assign(moved=towards, size=towards.abs())
    shown = shown.sort_values(["size", "video_id"], ascending=[False, True])
    return plain_rows(shown[["video_id", "label", "p_fake", "other_p_fake", "moved", "manipulation", "part"]])
