"""The one training loop, for every network: pairs or clips in, averaged weights out.

Every draw depends on the settings and the step alone, and the state is written every few steps, so a
killed training that is started again ends with the weights of an uninterrupted one.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from torch import nn
from torch.utils.data import Dataset

from deepfake.datasets.pairs import (
    Collate,
    PairDataset,
    Tables,
    collate_pairs,
    content_digest,
    plan_pairs,
)
from deepfake.datasets.track_clips import TrackDataset, TrackFeatures, collate_tracks
from deepfake.errors import UserError
from deepfake.files import digest, sha256_of
from deepfake.forging import mixture
from deepfake.forging import sources as forging_sources
from deepfake.models.build import new_head
from deepfake.models.checkpoints import (
    CARD,
    finished,
    fold_folder,
    load_frames,
    read_card,
    save_model,
)
from deepfake.models.frames import FrameClassifier
from deepfake.models.members import load_members, pick_member
from deepfake.settings import Config, Frames, Sequences, section_values
from deepfake.training.loop import LOG, SNAPSHOT, STATE, Recipe, fit
from deepfake.training.losses import losses

HEAD_BACKBONE_RATIO = 0.1  # of the rate of a head, for what it takes over from the frame network
FACE_COLUMNS = ["video_id", "track", "frame_index", "x0_px", "y0_px", "x1_px", "y1_px", "shard", "offset", "size"]
log = logging.getLogger(__name__)


def frames_recipe(frames: Frames) -> Recipe:
    """The loop's settings for the image classifier."""
    selfblend = frames.selfblend
    return Recipe(
        epochs=frames.epochs,
        items_per_batch=frames.pairs_per_batch,
        learning_rate=frames.learning_rate,
        backbone_rate_ratio=frames.backbone_rate_ratio,
        weight_decay=frames.weight_decay,
        warmup_ratio=frames.warmup_ratio,
        label_smoothing=frames.label_smoothing,
        ema_decay=frames.ema_decay,
        precision=frames.precision,
        loader_workers=frames.loader_workers,
        checkpoint_steps=frames.checkpoint_steps,
        seed=frames.seed,
        map_weight=selfblend.boundary_weight if selfblend else 0.0,
        snapshot_steps=frames.snapshot_steps,
        sam_radius=frames.sam_radius,
        pair_weight=selfblend.pair_weight if selfblend else 0.0,
    )


def sequences_recipe(sequences: Sequences) -> Recipe:
    """The loop's settings for networks over tracks; an item is a real and a fake clip."""
    return Recipe(
        epochs=sequences.epochs,
        items_per_batch=max(1, sequences.tracks_per_batch // 2),
        learning_rate=sequences.learning_rate,
        backbone_rate_ratio=HEAD_BACKBONE_RATIO,
        weight_decay=sequences.weight_decay,
        warmup_ratio=sequences.warmup_ratio,
        label_smoothing=sequences.label_smoothing,
        ema_decay=sequences.ema_decay,
        precision=sequences.precision,
        loader_workers=0,
        checkpoint_steps=sequences.checkpoint_steps,
        seed=sequences.seed,
        frame_weight=sequences.frame_weight,
    )


def forget_folds(config: Config, kind: str) -> None:
    """Make all folds of a family start from the beginning: no finished model, no state to go on from."""
    if PartialState().is_main_process:
        for path in (config.run_dir / kind).rglob("*.*"):
            if path.name in (CARD, STATE, LOG):
                path.unlink()
    PartialState().wait_for_everyone()


def _save(
    folder: Path,
    kind: str,
    model: nn.Module,
    fold: int | None,
    settings_digest: str,
    metrics: dict[str, float],
    about: dict[str, Any],
) -> Path:
    if PartialState().is_main_process:
        save_model(folder, kind, model, fold=fold, settings_digest=settings_digest, metrics=metrics, about=about)
    PartialState().wait_for_everyone()
    return folder / CARD


def train_frames_fold(config: Config, tables: Tables, fold: int | None) -> Path:
    """Train the image classifier on all folds but one (None: on all); return the card's path, at once if finished."""
    frames = config.frames
    folder = fold_folder(config.run_dir, "frames", fold)
    videos = tables.labelled()
    learn = videos[videos["fold"] != fold] if fold is not None else videos
    faces = tables.faces_of(list(learn["video_id"]))
    data = content_digest(learn[["video_id", "label", "original"]], faces[FACE_COLUMNS])
    settings = {name: value for name, value in section_values(config, "frames").items() if name != "validation_pairs"}
    settings_digest = digest({"settings": settings, "fold": fold, "data": data, "start": _origins(config)})
    _forget_snapshots(folder, settings_digest)
    if finished(folder, settings_digest):
        log.info("frames %s: already trained", folder.name)
        return folder / CARD
    dataset, collate, notes = _learn_from(config, learn, faces)
    log.info("frames %s: %s", folder.name, notes.pop("about"))
    model = start_frames(frames, config)
    about = {"margin_ratio": config.extract.margin_ratio, "crop_px": config.extract.crop_px}

    def keep(step: int, averaged: nn.Module) -> None:
        # Only the main process comes here: nothing may wait for the others.
        save_model(
            folder / f"{SNAPSHOT}{step:06d}",
            "frames",
            averaged,
            fold=fold,
            settings_digest=settings_digest,
            metrics={"n_steps": step},
            about=about,
        )

    averaged, metrics = fit(model, dataset, collate, frames_recipe(frames), folder, settings_digest, keep)
    metrics |= notes
    if fold is not None and frames.validation_pairs:
        metrics |= _held_out(config, tables, videos[videos["fold"] == fold], averaged)
    return _save(folder, "frames", averaged, fold, settings_digest, metrics, about)


def _origins(config: Config) -> list[str]:
    """Digests of what a training starts from beside the tables: another run's weights, lists of photos and clips."""
    frames = config.frames
    hashes = (
        [read_card(run_network(config.run_dir.parent, frames.start_run)).weights_sha256] if frames.start_run else []
    )
    if frames.start_weights is not None and (weights := config.path(frames.start_weights)).is_file():
        hashes.append(sha256_of(weights))
    lists = (frames.selfblend.photos_csv, frames.selfblend.groups_csv) if frames.selfblend else ()
    paths = [config.path(path) for path in lists if path is not None]
    return [*hashes, *(sha256_of(path) for path in paths if path.is_file())]


def _forget_snapshots(folder: Path, settings_digest: str) -> None:
    """Take away snapshots of an earlier training with other settings: they would be taken for this one's."""
    if PartialState().is_main_process:
        for path in sorted(folder.glob(f"{SNAPSHOT}*/{CARD}")):
            if read_card(path).settings_digest != settings_digest:
                path.unlink()


def _learn_from(config: Config, learn: Any, faces: Any) -> tuple[Dataset[Any], Collate, dict[str, Any]]:
    """What to show, how to batch it, and what to note about it."""
    frames = config.frames
    if frames.selfblend is None:
        plan = plan_pairs(learn, faces)
        dataset = PairDataset(plan, config.work_dir, frames, frames.seed)
        return (
            dataset,
            collate_pairs,
            {
                "about": plan.describe(),
                "n_random_pairs": float(plan.n_lone_reals + plan.n_lone_fakes),
            },
        )
    selfblend = frames.selfblend
    sources = forging_sources.gather(learn, faces, config)
    items = mixture.Mixture(
        sources, selfblend, frames.input_px, frames.view_ratio, selfblend.items_per_epoch, frames.seed
    )
    return items, mixture.collate, {"about": sources.describe()}


def start_frames(frames: Frames, config: Config | None = None) -> FrameClassifier:
    """The image classifier before its first step; `config` says where the network to go on from lies, if any."""
    if frames.start_from == "random" and frames.frozen_stages:
        raise UserError("frames.frozen_stages: random weights must not be frozen; set it to 0 with start_from=random")
    torch.manual_seed(frames.seed)
    maps = bool(frames.selfblend and frames.selfblend.boundary_weight)
    if frames.fold_batchnorm and not frames.freeze_batchnorm:
        raise UserError(
            "frames.fold_batchnorm: BatchNorm statistics that are still updated cannot be folded; freeze them too"
        )
    model = FrameClassifier(
        frames.backbone, frames.input_px, frames.dropout, frames.view_ratio, maps, frames.fold_batchnorm
    )
    model.load_start(frames.start_from)
    if frames.start_member is not None and frames.start_weights is None:
        raise UserError(
            f"frames.start_member: found {frames.start_member!r} without frames.start_weights; set the file it is in"
        )
    if frames.start_run is not None:
        if config is None:
            raise ValueError(f"frames.start_run={frames.start_run}: wanted the settings that say where runs lie")
        if frames.start_weights is not None:
            raise UserError(
                "frames.start_run and frames.start_weights are both set; a network goes on from one of them"
            )
        model.take_over(load_frames(run_network(config.run_dir.parent, frames.start_run)))
    elif frames.start_weights is not None:
        weights = frames.start_weights if config is None else config.path(frames.start_weights)
        start = pick_member(load_members(weights), frames.start_member, weights).frames
        assert isinstance(start, FrameClassifier), "load_members builds them"
        model.take_over(start)
    model.freeze(frames.frozen_stages, frames.freeze_batchnorm)
    return model


def run_network(runs_dir: Path, name: str) -> Path:
    """The folder of a run's network that learnt from all videos: NAME, or NAME/STEP for one of its snapshots."""
    run, _, step = name.partition("/")
    folder = fold_folder(runs_dir / run, "frames", None)
    if step:
        folder /= f"{SNAPSHOT}{int(step) if step.isdecimal() else -1:06d}"
    if not (folder / CARD).is_file():
        have = sorted(path.parent.name for path in (runs_dir / run).glob(f"frames/all/*/{CARD}"))
        raise UserError(
            f"run {name!r}: {folder} holds no finished network; snapshots there: {', '.join(have) or 'none'}. "
            f"Train it first: deepfake train --run {run}"
        )
    return folder


@torch.no_grad()
def _held_out(config: Config, tables: Tables, videos: Any, model: nn.Module) -> dict[str, float]:
    try:
        plan = plan_pairs(videos, tables.faces_of(list(videos["video_id"])))
    except UserError:
        return {}  # a fold of one class measures nothing here; stage 08 measures all folds together
    frames = config.frames.model_copy(update={"frames_per_track": 1})
    dataset = PairDataset(plan, config.work_dir, frames, frames.seed, learns=False)
    n_pairs = min(frames.validation_pairs, len(dataset))
    chosen = [(0, round(i * (len(dataset) - 1) / max(1, n_pairs - 1))) for i in range(n_pairs)]
    device = next(model.parameters()).device
    model.eval()
    logits, labels = [], []
    for start in range(0, n_pairs, frames.pairs_per_batch):
        batch = collate_pairs([dataset[index] for index in chosen[start : start + frames.pairs_per_batch]])
        logits.append(model(batch.inputs[0].to(device)).float().cpu())
        labels.append(batch.labels_B)
    logits_N, labels_N = torch.cat(logits), torch.cat(labels)
    right = ((logits_N > 0) == (labels_N > 0.5)).float().mean().item()
    return {"held_out_loss": losses(logits_N, labels_N).both.item(), "held_out_accuracy": right}


def train_head_fold(config: Config, head: str, tracks: list[TrackFeatures], fold: int | None) -> Path:
    """Train a network over tracks beside the fold's frame model; return the card's path, at once if it is there.

    `tracks` are those of the videos the fold learns from; the frame model's checkpoint lies in the run's folder.
    """
    sequences = config.sequences
    folder = fold_folder(config.run_dir, head, fold)
    frames_sha256 = read_card(fold_folder(config.run_dir, "frames", fold)).weights_sha256
    data = [(t.video_id, t.track, t.label, len(t), float(t.logits_T.sum())) for t in tracks]
    settings = {name: value for name, value in section_values(config, "sequences").items() if name != "heads"}
    settings_digest = digest(
        {
            "head": head,
            "settings": settings,
            "fold": fold,
            "frames": frames_sha256,
            "data": data,
        }
    )
    if finished(folder, settings_digest):
        log.info("%s %s: already trained", head, folder.name)
        return folder / CARD
    torch.manual_seed(sequences.seed)
    n_features = tracks[0].features_TD.shape[1] if tracks else 1
    model = new_head(head, n_features, sequences, lambda: load_frames(fold_folder(config.run_dir, "frames", fold)))
    dataset = TrackDataset(tracks, sequences.clip_frames, sequences.seed, model.inputs, sequences.time_changes)
    averaged, metrics = fit(model, dataset, collate_tracks, sequences_recipe(sequences), folder, settings_digest)
    return _save(folder, head, averaged, fold, settings_digest, metrics, {"frames_weights_sha256": frames_sha256})
