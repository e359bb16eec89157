"""A snapshot of a training from a pack becomes a network of a run."""

from __future__ import annotations

from pathlib import Path

from deepfake.errors import UserError
from deepfake.files import sha256_of
from deepfake.models.checkpoints import CARD, fold_folder, read_card, save_model
from deepfake.packs.snapshots import read_snapshot
from deepfake.settings import Config
from deepfake.training.loop import SNAPSHOT


def adopt(snapshot: Path, config: Config, step: int | None = None) -> Path:
    """Write the network into the run's folder, or as its snapshot `step`; another one there is an error."""
    model, about = read_snapshot(snapshot)
    folder = fold_folder(config.run_dir, "frames", None)
    folder = folder if step is None else folder / f"{SNAPSHOT}{step:06d}"
    key = sha256_of(snapshot)
    if (folder / CARD).exists() and read_card(folder).settings_digest != key:
        raise UserError(f"{folder}: another network lies there; choose another run or step, or move it away")
    metrics = {name: float(value) for name, value in about.items() if isinstance(value, (int, float))}
    crops = {"margin_ratio": config.extract.margin_ratio, "crop_px": config.extract.crop_px}
    told = {**crops, "pack": str(about.get("name"))}
    save_model(folder, "frames", model, fold=None, settings_digest=key, metrics=metrics, about=told)
    return folder
