"""The report's tables as CSV files: the page shows their beginnings, these hold them whole."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from deepfake.evaluation import metrics
from deepfake.report.leakage import pair_rows
from deepfake.report.plain import as_csv, flat_measures, plain_rows
from deepfake.report.worst import COLUMNS

GROUP_METRICS = ("roc_auc", "eer", "balanced_log_loss", "recall", "false_alarm_rate", "mean_p_real", "mean_p_fake")
MEMBER_METRICS = ("log_loss", "log_loss_clipped", "balanced_log_loss", "roc_auc", "eer", "brier", "ece")
SUFFIXES = ("", "_low", "_high")
SET_METRICS = ("roc_auc", "roc_auc_gain", "log_loss", "log_loss_gain")
CHANGE_COLUMNS = ("video_id", "label", "p_fake", "other_p_fake", "moved", "manipulation", "part")


def csv_tables(result: Mapping[str, Any], scored: pd.DataFrame) -> dict[str, bytes]:
    """File names and their bytes; the names are always the same, a table without rows is a header."""
    frames = ["model", "n_frames", "mean_frames", "n_videos", *_suffixed(("roc_auc", "log_loss_clipped"))]
    against = result["against"] or {"changes": []}
    band_columns = list(result["bands"][0])
    return {
        "videos.csv": as_csv(COLUMNS, plain_rows(scored[list(COLUMNS)])),
        "metrics.csv": as_csv(["model", "metric", "value", "low", "high", "n_groups"], _metric_rows(result)),
        "groups.csv": as_csv(["table", "value", "n_real", "n_fake", *_suffixed(GROUP_METRICS)], _group_rows(result)),
        "bands.csv": as_csv(band_columns, result["bands"]),
        "risk_coverage.csv": as_csv(["coverage", "error_rate", "least_distance"], result["risk_coverage"]),
        "frames.csv": as_csv(frames, (row | flat_measures(row["metrics"]) for row in result["frames_needed"])),
        "members.csv": as_csv(
            ["name", "n_videos", "n_fallbacks", *_suffixed(MEMBER_METRICS)],
            (row | flat_measures(row["metrics"]) for row in result["models"]),
        ),
        "member_sets.csv": as_csv(["what", "members", "cost_ms", *_suffixed(SET_METRICS)], _set_rows(result)),
        "leakage.csv": as_csv(["check", "video_id", "other_id", "where"], pair_rows(result["leakage"]["checks"])),
        "metadata.csv": as_csv(["column", "meaning", "auc"], result["leakage"]["metadata"]["columns"]),
        "changes.csv": as_csv(CHANGE_COLUMNS, against["changes"]),
        "failures.csv": as_csv(["stage", "video_id", "reason"], result["failures"]),
    }


def _suffixed(names: Sequence[str]) -> list[str]:
    return [f"{name}{suffix}" for name in names for suffix in SUFFIXES]


def _set_rows(result: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for row in result["member_sets"]:
        measures = flat_measures({name: row[name] for name in SET_METRICS})
        yield {"what": row["what"], "members": " ".join(row["members"]), "cost_ms": row["cost_ms"], **measures}


def _metric_rows(result: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    named = [(model["name"], model["metrics"]) for model in result["models"]]
    named += [(f"always {row['p_fake']:.6g}", row["metrics"]) for row in result["baselines"]]
    for model, measures in named:
        for metric in metrics.METRICS:
            yield {"model": model, "metric": metric.name, **measures[metric.name]}


def _group_rows(result: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for table in result["groups"]:
        for row in table["rows"]:
            yield {"table": table["name"], **row, **flat_measures({n: row["metrics"][n] for n in GROUP_METRICS})}
