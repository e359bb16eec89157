"""The validation report: tables of a run in, one HTML page and its numbers as plain values out.

`build_report` reads no files but the crops it is given a reader for. Every number of the page is in the
dictionary; the page is `validation.html.jinja` beside this module. A new table by group is a line in `_group_tables`.
"""

from __future__ import annotations

import base64
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import jinja2
import numpy as np
import pandas as pd
from markupsafe import Markup

from deepfake import calibration, evaluation, metrics
from deepfake.config import Config, UserError
from deepfake.ensemble import ENSEMBLE
from deepfake.report import plots
from deepfake.shards import encode_crop

STRIP_FRAMES = 8
STRIP_PX = 112
STRIP_QUALITY = 85
MAX_ROWS = 40  # of a table on the page; the JSON holds them all
FACE_SIZES_PX = (64, 128, 256)
BAND_ERROR_RATES = (0.01, 0.05, 0.1, 0.2)
NO_VALUE = "not given"
WORST_COLUMNS = (
    *("video_id", "label", "p_fake", "fallback", "part", "manipulation", "identity", "group", "fold"),
    *("n_faces", "n_tracks", "duration_s", "codec"),
)


@dataclass(frozen=True)
class ReportInputs:
    """What the report is made from: tables as `deepfake.tables` has them, facts, and a reader of crops.

    `read_crop(shard, offset, size)` returns HWC uint8 RGB. `frame_scores` and `test_scores` may be None.
    """

    config: Config
    videos: pd.DataFrame
    extractions: pd.DataFrame
    faces: pd.DataFrame
    folds: pd.DataFrame
    failures: pd.DataFrame
    scores: pd.DataFrame
    read_crop: Callable[[str, int, int], np.ndarray]
    frame_scores: pd.DataFrame | None = None
    test_scores: pd.DataFrame | None = None
    facts: Mapping[str, str] | None = None


def build_report(inputs: ReportInputs) -> tuple[str, dict[str, Any]]:
    """The page as HTML and everything on it but pictures as plain values."""
    scored = scored_videos(inputs)
    settings, clip_p = inputs.config.validation, inputs.config.ensemble.clip_p
    labels, p = scored["label"].to_numpy(), scored["p_fake"].to_numpy()
    bins = metrics.reliability(labels, p, settings.ece_bins)
    worst = _worst(scored, settings.worst_videos)
    result: dict[str, Any] = {
        "run": inputs.config.run,
        "dataset": inputs.config.dataset,
        "facts": dict(inputs.facts or {}),
        "settings": inputs.config.model_dump(mode="json"),
        "counts": _counts(inputs, scored),
        "clip_p": clip_p,
        "n_resamples": settings.bootstrap,
        "few_groups": metrics.FEW_GROUPS,
        "baselines": _baselines(labels, clip_p),
        "models": _models(inputs, scored),
        "reliability": [asdict(b) for b in bins],
        "groups": _group_tables(inputs, scored),
        "bands": _bands(scored[scored["fallback"].isna()]),
        "worst": worst,
        "fallbacks": _fallbacks(scored),
        "test": _test_counts(inputs.test_scores),
        "failures": _rows(inputs.failures[["stage", "video_id", "reason"]]),
    }
    drawings = _drawings(labels, p, bins, result["models"][0]["metrics"])
    strips = {row["video_id"]: _strip(inputs, row["video_id"]) for row in worst}
    return _render(result, drawings, strips), result


def scored_videos(inputs: ReportInputs) -> pd.DataFrame:
    """Labelled videos with the ensemble's out-of-fold p_fake and everything the tables group by."""
    models = sorted(inputs.scores["model"].unique())
    if ENSEMBLE not in models:
        raise UserError(f"video scores hold the models {models}, wanted {ENSEMBLE!r} among them; run 07_ensemble again")
    scored = inputs.scores[inputs.scores["model"] == ENSEMBLE].drop(columns="model")
    columns = ["video_id", "part", "label", "identity", "manipulation", "duration_s", "codec"]
    scored = scored.merge(inputs.videos[columns], on="video_id").merge(inputs.folds, on="video_id", how="left")
    scored = scored[scored["label"].notna()].copy()
    if scored.empty:
        raise UserError("no video has both a label and an out-of-fold score; nothing can be validated")
    scored["label"] = scored["label"].astype(int)
    scored["group"] = scored["group"].fillna(scored["video_id"])
    scored = scored.merge(_face_facts(inputs.faces), on="video_id", how="left")
    scored["faces_at_once"] = scored["faces_at_once"].fillna(0).astype(int)
    return scored.sort_values("video_id").reset_index(drop=True)


def _face_facts(faces: pd.DataFrame) -> pd.DataFrame:
    """Per video: the most faces in one frame, and the median longer side of a face's box."""
    side = np.maximum(faces["x1_px"] - faces["x0_px"], faces["y1_px"] - faces["y0_px"])
    at_once = faces.groupby(["video_id", "frame_index"]).size().groupby("video_id").max()
    return pd.DataFrame({"faces_at_once": at_once, "face_px": side.groupby(faces["video_id"]).median()}).reset_index()


def _counts(inputs: ReportInputs, scored: pd.DataFrame) -> dict[str, int]:
    videos = inputs.videos
    labelled = videos[videos["label"].notna() & (videos["split"] == "train")]
    return {
        "videos": len(videos),
        "labelled": len(labelled),
        "scored": len(scored),
        "without_score": int((~labelled["video_id"].isin(scored["video_id"])).sum()),
        "real": int((scored["label"] == 0).sum()),
        "fake": int((scored["label"] == 1).sum()),
        "groups": int(scored["group"].nunique()),
        "folds": int(scored["fold"].nunique()),
        "faces": len(inputs.faces),
        "without_face": int((inputs.extractions["status"] == "no_face").sum()),
        "fallbacks": int(scored["fallback"].notna().sum()),
        "failures": len(inputs.failures),
    }


def _baselines(labels: np.ndarray, clip_p: float) -> list[dict[str, Any]]:
    share = float(labels.mean())
    rows = []
    for name, p in (("always 0.5", 0.5), (f"always {share:.3f}, the share of fakes", share)):
        constant = np.full(len(labels), p)
        values = {
            "log_loss": metrics.log_loss(labels, constant),
            "log_loss_clipped": metrics.log_loss(labels, constant, clip_p),
            "brier": metrics.brier(labels, constant),
        }
        if 0 < share < 1:
            values["balanced_log_loss"] = metrics.balanced_log_loss(labels, constant, clip_p)
        rows.append({"name": name, "p_fake": p, "metrics": values})
    return rows


def _models(inputs: ReportInputs, scored: pd.DataFrame) -> list[dict[str, Any]]:
    """The ensemble, then its members in order of name, each on the videos it scored."""
    known = scored[["video_id", "label", "group"]]
    rows = []
    names = sorted(inputs.scores["model"].unique(), key=lambda name: (name != ENSEMBLE, name))
    for name in names:
        own = inputs.scores[inputs.scores["model"] == name].merge(known, on="video_id").sort_values("video_id")
        found = metrics.measure(
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
                "metrics": {key: measure.to_dict() for key, measure in found.items()},
            }
        )
    return rows


def _group_tables(inputs: ReportInputs, scored: pd.DataFrame) -> list[dict[str, Any]]:
    texts = {name: scored[name].fillna(NO_VALUE).astype(str).tolist() for name in ("part", "manipulation", "identity")}
    fold = ["none" if math.isnan(value) else str(int(value)) for value in scored["fold"].astype(float)]
    reals_are_one = [
        text if label or text != NO_VALUE else "real"
        for text, label in zip(texts["manipulation"], scored["label"], strict=True)
    ]
    choices = (
        ("Part", "folder of the data set", texts["part"], False),
        ("Manipulation", "the fakes of each kind against all reals", reals_are_one, True),
        ("Faces at once", "most faces in one sampled frame", _few_or_many(scored["faces_at_once"]), False),
        ("Face size", "median longer side of the boxes, full-frame pixels", _sizes(scored["face_px"]), False),
        ("Identity", "person, where the labels name one", texts["identity"], False),
        ("Fold", "held out together", fold, False),
    )
    tables = []
    for title, meaning, values, against_all_reals in choices:
        rows = evaluation.measure_groups(
            scored["label"].to_numpy(),
            scored["p_fake"].to_numpy(),
            scored["group"].tolist(),
            values,
            inputs.config.validation,
            inputs.config.ensemble.clip_p,
            against_all_reals,
        )
        is_empty = {row["value"] for row in rows} <= {NO_VALUE}
        tables.append({"title": title, "meaning": meaning, "rows": [] if is_empty else rows})
    return tables


def _few_or_many(counts: pd.Series) -> list[str]:
    return [str(n) if n < 4 else "4 or more" for n in counts]


def _sizes(sides_px: pd.Series) -> list[str]:
    edges = (0, *FACE_SIZES_PX, math.inf)
    names = [
        f"{low} px and more" if high == math.inf else f"{low} to {high} px" for low, high in itertools.pairwise(edges)
    ]
    return [
        "no face" if math.isnan(side) else names[int(np.searchsorted(edges, side, "right")) - 1] for side in sides_px
    ]


def _bands(with_score: pd.DataFrame) -> list[dict[str, Any]]:
    """Bands of the videos with a score of their own; the others are inconclusive anyway."""
    labels, p = with_score["label"].to_numpy(), with_score["p_fake"].to_numpy()
    rows = []
    for rate in BAND_ERROR_RATES:
        low, high = calibration.inconclusive_band(p, labels, rate)
        share = float(((p >= low) & (p <= high)).mean()) if len(p) else 1.0
        rows.append({"error_rate": rate, "low": low, "high": high, "inconclusive": share})
    return rows


def _worst(scored: pd.DataFrame, n: int) -> list[dict[str, Any]]:
    error = (scored["p_fake"] - scored["label"]).abs()
    chosen = scored.assign(error=error).sort_values(["error", "video_id"], ascending=[False, True]).head(n)
    return _rows(chosen[list(WORST_COLUMNS)])


def _fallbacks(scored: pd.DataFrame) -> list[dict[str, Any]]:
    return _rows(scored.loc[scored["fallback"].notna(), ["video_id", "label", "p_fake", "fallback"]])


def _test_counts(scores: pd.DataFrame | None) -> dict[str, Any] | None:
    if scores is None:
        return None
    own = scores[scores["model"] == ENSEMBLE]
    counts = own["fallback"].dropna().str.partition(":")[0].value_counts()
    return {
        "videos": len(own),
        "called_fake": int((own["p_fake"] > metrics.THRESHOLD).sum()),
        "fallbacks": {str(reason): int(n) for reason, n in sorted(counts.items())},
    }


def _rows(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows as plain values; what is missing is None."""
    return [{str(key): _plain(value) for key, value in row.items()} for row in frame.to_dict("records")]


def _plain(value: Any) -> Any:
    if value is None or (isinstance(value, float) and math.isnan(value)) or value is pd.NA:
        return None
    return value.item() if isinstance(value, np.generic) else value


def _drawings(
    labels: np.ndarray, p: np.ndarray, bins: Sequence[metrics.ReliabilityBin], found: Mapping[str, Mapping[str, Any]]
) -> list[dict[str, str]]:
    drawings = [
        {"title": "Scores by label", "svg": Markup(plots.score_histogram(labels, p))},  # noqa: S704 - our own numbers
        {"title": "Reliability", "svg": Markup(plots.reliability_plot(bins))},  # noqa: S704 - our own numbers
    ]
    if found["eer"]["value"] is not None:
        roc = plots.roc_plot(labels, p, found["eer"]["value"])
        drawings.insert(1, {"title": "ROC", "svg": Markup(roc)})  # noqa: S704 - our own numbers
    return drawings


def _strip(inputs: ReportInputs, video_id: str) -> dict[str, Any]:
    """Up to eight crops of the track that looks most fake, as data URLs with their times and scores."""
    faces = inputs.faces[inputs.faces["video_id"] == video_id]
    if faces.empty:
        return {"frames": [], "note": "no face was found"}
    faces = faces.merge(_frame_logits(inputs.frame_scores, video_id), on=["track", "frame_index"], how="left")
    track = _shown_track(faces)
    chosen = faces[faces["track"] == track].sort_values("frame_index").reset_index(drop=True)
    picks = np.unique(np.linspace(0, len(chosen) - 1, min(STRIP_FRAMES, len(chosen))).round().astype(int))
    frames = []
    try:
        for row in chosen.loc[picks].to_dict("records"):
            crop = inputs.read_crop(row["shard"], int(row["offset"]), int(row["size"]))
            logit = float(row["logit"])
            p = None if math.isnan(logit) else 1 / (1 + math.exp(-max(-500.0, logit)))
            frames.append({"url": _data_url(crop), "time_s": float(row["time_s"]), "p_fake": p})
    except (UserError, OSError) as error:
        return {"frames": [], "note": f"the crops cannot be read: {error}"}
    return {"frames": frames, "note": f"track {track} of {faces['track'].nunique()}, {len(chosen)} crops"}


def _frame_logits(frame_scores: pd.DataFrame | None, video_id: str) -> pd.DataFrame:
    if frame_scores is None:
        return pd.DataFrame({"track": [], "frame_index": [], "logit": []}).astype({"track": int, "frame_index": int})
    own = frame_scores[frame_scores["video_id"] == video_id]
    return own.groupby(["track", "frame_index"], as_index=False)["logit"].mean()


def _shown_track(faces: pd.DataFrame) -> int:
    """The track of highest mean logit; without logits, the one with most crops; ties go to the lower number."""
    facts = faces.groupby("track").agg(logit=("logit", "mean"), n=("logit", "size")).sort_index()
    column = facts["logit"].fillna(-math.inf) if facts["logit"].notna().any() else facts["n"]
    return int(column.idxmax())


def _data_url(crop_HWC: np.ndarray) -> str:
    small = cv2.resize(crop_HWC, (STRIP_PX, STRIP_PX), interpolation=cv2.INTER_AREA)
    return "data:image/jpeg;base64," + base64.b64encode(encode_crop(small, "jpeg", STRIP_QUALITY)).decode()


def _visible(text: Any) -> str:
    """A name on one line: what does not print is shown by its escape."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(text))


def _flat(values: Mapping[str, Any], above: str = "") -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for key, value in values.items():
        found += _flat(value, f"{above}{key}.") if isinstance(value, dict) else [(above + key, str(value))]
    return found


def _render(result: Mapping[str, Any], drawings: Sequence[Mapping[str, str]], strips: Mapping[str, Any]) -> str:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["visible"] = _visible
    environment.globals.update(titles=metrics.BY_NAME, threshold=metrics.THRESHOLD, max_rows=MAX_ROWS)
    template = environment.get_template("validation.html.jinja")
    return template.render(
        r=result,
        best=result["models"][0],
        drawings=drawings,
        strips=strips,
        warnings=_warnings(result),
        settings=_flat(result["settings"]),
    )


def _warnings(result: Mapping[str, Any]) -> list[str]:
    """What a reader must know before believing a number."""
    found, counts = result["models"][0]["metrics"], result["counts"]
    told = []
    if counts["groups"] < metrics.FEW_GROUPS:
        told.append(
            f"Only {counts['groups']} independent groups stand behind the intervals (an original and everything made "
            f"of it is one group). Below {metrics.FEW_GROUPS} they are rough guesses and too narrow."
        )
    loss, constant = found["log_loss_clipped"], result["baselines"][1]["metrics"]["log_loss_clipped"]
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
    return told
