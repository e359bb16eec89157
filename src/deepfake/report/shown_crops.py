"""The crops that stand in a video's page, kept beside its scores: a page that is written again needs no network."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deepfake.detector.check import Check
from deepfake.faces.extracted import Extraction
from deepfake.files import digest
from deepfake.kept import keep, kept
from deepfake.report.check_page import PICTURE_PX, PICTURE_QUALITY, Crop, shown

if TYPE_CHECKING:
    from deepfake.detector.header import Networks

FORMAT = 1  # raise it when the same scores give other pictures: chosen, cut or drawn otherwise


def shown_crops(check: Check, extraction: Extraction, networks: Networks, cache_dir: Path) -> list[Crop]:
    """The crops with the highest scores and their heat maps; made once for the same crops, weights and scores."""
    if not check.tracks:
        return []
    place = _place(check, extraction, cache_dir)
    known = _as_crops(kept(place), check)
    if known is not None:
        return known
    from deepfake.evidence.crops import salient_crops

    made = [shown(crop) for crop in salient_crops(check, extraction, networks.detector, cache_dir)]
    keep(place, [_plain(crop) for crop in made])
    return made


def _place(check: Check, extraction: Extraction, cache_dir: Path) -> Path:
    """Where they are kept: by all that decides which crops are shown and what networks see in them."""
    tracks = [track.model_dump(mode="json") for _, track in check.tracks]
    key = digest([FORMAT, PICTURE_PX, PICTURE_QUALITY, check.detector.weights_sha256, extraction.shard, tracks])[:32]
    return cache_dir / "pictures" / key[:2] / f"{key}.json"


def _plain(crop: Crop) -> Mapping[str, Any]:
    return {**vars(crop), "frame": crop.frame.frame}


def _as_crops(rows: Any, check: Check) -> list[Crop] | None:
    """The crops that `_plain` was made from; None where there is nothing, or what does not belong to the check."""
    frames = {(track.track, frame.frame): frame for _, track in check.tracks for frame in track.frames}
    try:
        return [Crop(**{**row, "frame": frames[row["track"], row["frame"]]}) for row in rows]
    except (KeyError, TypeError):
        return None
