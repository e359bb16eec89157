"""The one training loop, for every network: pairs or clips in, averaged weights out.

Every draw depends on the settings and the step alone, and the state is written every few steps, so a
killed training that is started again ends with the weights of an uninterrupted one.
"""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, NoReturn, cast

import torch
from accelerate import Accelerator, PartialState
from accelerate.state import AcceleratorState
from timm.utils import ModelEmaV3
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, interpolate, softplus
from torch.utils.data import DataLoader, Dataset
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from deepfake import mixture
from deepfake.augment import before_workers
from deepfake.bundle import load_detector, pick_member
from deepfake.checkpoints import CARD, finished, fold_folder, load_frames, load_state, read_card, save_model, save_state
from deepfake.config import Config, Frames, Sequences, UserError, digest, section_values
from deepfake.datasets import (
    Batch,
    Collate,
    PairDataset,
    StepBatches,
    Tables,
    collate_pairs,
    content_digest,
    plan_pairs,
)
from deepfake.devices import is_fast_at_bf16, machine_of, mixed_precision
from deepfake.files import sha256_of, write_whole
from deepfake.models import new_head
from deepfake.models.depthwise import keep_memory, quicken
from deepfake.models.frames import FrameClassifier
from deepfake.registry import plugins, start_worker
from deepfake.track_inputs import TrackDataset, TrackFeatures, collate_tracks

STATE, LOG, SNAPSHOT = "state.pt", "log.jsonl", "step"
MAX_GRADIENT_NORM = 5.0
HEAD_BACKBONE_RATIO = 0.1  # of the rate of a head, for what it takes over from the frame network
FACE_COLUMNS = ["video_id", "track", "frame_index", "x0_px", "y0_px", "x1_px", "y1_px", "shard", "offset", "size"]
log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What the loop needs to know; the fields are those of the settings."""

    epochs: int
    items_per_batch: int
    learning_rate: float
    backbone_rate_ratio: float
    weight_decay: float
    warmup_ratio: float
    label_smoothing: float
    ema_decay: float
    precision: str
    loader_workers: int
    checkpoint_steps: int
    seed: int
    map_weight: float = 0.0
    snapshot_steps: int = 0
    frame_weight: float = 0.0
    sam_radius: float = 0.0
    pair_weight: float = 0.0


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


class Losses(NamedTuple):
    """Mean log loss of the real and of the fake rows of a batch."""

    real: Tensor
    fake: Tensor

    @property
    def both(self) -> Tensor:
        """Real and fake weigh the same, whatever their numbers."""
        return (self.real + self.fake) / 2


def losses(logits_B: Tensor, labels_B: Tensor, label_smoothing: float = 0.0) -> Losses:
    """Log loss of each class; smoothing s moves the targets to s and 1 - s."""
    targets_B = labels_B * (1 - 2 * label_smoothing) + label_smoothing
    each_B = binary_cross_entropy_with_logits(logits_B.float(), targets_B, reduction="none")
    return Losses(each_B[labels_B < 0.5].mean(), each_B[labels_B >= 0.5].mean())


def map_loss(maps_BKHW: Tensor, masks_BHW: Tensor) -> Tensor:
    """Log loss of the maps (see `models.frames.MAPS`) against soft masks m; rows with NaN do not count."""
    known_B = masks_BHW.isfinite().all(dim=(1, 2))
    masks_BHW = resize_maps(masks_BHW[known_B], maps_BKHW.shape[-2:])
    wanted_BKHW = torch.stack([4 * masks_BHW * (1 - masks_BHW), masks_BHW], dim=1).clamp(0, 1)
    if not len(wanted_BKHW):
        return maps_BKHW.sum() * 0
    return binary_cross_entropy_with_logits(maps_BKHW[known_B].float(), wanted_BKHW)


def pair_margins(logits_B: Tensor, masks_BHW: Tensor) -> Tensor:
    """Logit of each made fake less that of the picture it was made of, (P,); pairs of two pictures do not count.

    Rows are as `mixture.collate` lays them: the reals, then their fakes in the same order, NaN masks where a
    fake was not made from its real.
    """
    reals_P, fakes_P = logits_B.float().chunk(2)
    return (fakes_P - reals_P)[masks_BHW.chunk(2)[1].isfinite().all(dim=(1, 2))]


def pair_loss(margins_P: Tensor) -> Tensor:
    """Log loss of telling which of two pictures is the fake, from the difference of their logits."""
    return softplus(-margins_P).mean() if len(margins_P) else margins_P.sum()


def frame_loss(logits_BT: Tensor, forged_BT: Tensor) -> Tensor:
    """Log loss of single frames, real and forged ones weighing the same; frames no one knows of (NaN) do not count."""
    known_BT = forged_BT.isfinite()
    logits_N, forged_N = logits_BT[known_BT].float(), forged_BT[known_BT]
    n_forged = forged_N.sum()
    if not 0 < n_forged < len(forged_N):  # frames of one kind would only move the threshold
        return logits_BT.sum() * 0
    shares_N = torch.where(forged_N > 0.5, 0.5 / n_forged, 0.5 / (len(forged_N) - n_forged))
    return (shares_N * binary_cross_entropy_with_logits(logits_N, forged_N, reduction="none")).sum()


def resize_maps(masks_BHW: Tensor, size: torch.Size) -> Tensor:
    """Masks on another grid."""
    if masks_BHW.shape[-2:] == size or not len(masks_BHW):
        return masks_BHW
    return interpolate(masks_BHW[:, None], size=tuple(size), mode="bilinear", antialias=True)[:, 0]


def rate_factor(step: int, n_steps: int, warmup_ratio: float) -> float:
    """Share of the peak learning rate at a step (from 0): a straight rise, then a cosine to nothing."""
    warmup = round(warmup_ratio * n_steps)
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, n_steps - warmup)))


def make_optimizer(model: nn.Module, recipe: Recipe) -> torch.optim.AdamW:
    """AdamW with a lower rate for a backbone and no decay of norms and biases."""
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            groups.setdefault((name.startswith("backbone."), parameter.ndim > 1), []).append(parameter)
    return torch.optim.AdamW(
        [
            {
                "params": parameters,
                "peak_rate": recipe.learning_rate * (recipe.backbone_rate_ratio if in_backbone else 1.0),
                "weight_decay": recipe.weight_decay if decays else 0.0,
            }
            for (in_backbone, decays), parameters in groups.items()
        ],
        lr=recipe.learning_rate,
    )


class Log:
    """A line of JSON and TensorBoard scalars per step; lines after the step a training goes on from are dropped."""

    def __init__(self, folder: Path, start_step: int) -> None:
        self.path = folder / LOG
        old = self.path.read_text().splitlines() if self.path.exists() else []
        write_whole(self.path, "".join(f"{line}\n" for line in old if _step_of(line) < start_step).encode())
        self.stream = self.path.open("a", encoding="utf-8")
        self.board = SummaryWriter(folder / "tensorboard", purge_step=start_step)
        self.last = time.monotonic()

    def write(self, step: int, values: dict[str, float]) -> None:
        """Note a step's values, and the seconds since the last one."""
        now = time.monotonic()
        self.stream.write(json.dumps({"step": step, **values, "seconds": round(now - self.last, 3)}) + "\n")
        self.last = now
        self.stream.flush()
        for name, value in values.items():
            self.board.add_scalar(name, value, step)

    def close(self) -> None:
        """Flush both."""
        self.stream.close()
        self.board.close()


def _step_of(line: str) -> float:
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return math.inf  # a line cut short by a kill


class Loop:
    """A network in training: everything that changes from step to step, so that it can be written and read back."""

    def __init__(self, model: nn.Module, recipe: Recipe, n_steps: int, accelerator: Accelerator) -> None:
        self.recipe, self.n_steps, self.accelerator = recipe, n_steps, accelerator
        model.to(accelerator.device)
        if accelerator.device.type == "cpu" and accelerator.mixed_precision == "bf16":
            quicken(model)
        self.ema = ModelEmaV3(model, decay=recipe.ema_decay, use_warmup=True)
        self.model, self.optimizer = accelerator.prepare(model, make_optimizer(model, recipe))

    def state(self, step: int, settings_digest: str) -> dict[str, Any]:
        """Plain tensors and values from which `step` can be taken next."""
        scaler = self.accelerator.scaler
        return {
            "settings_digest": settings_digest,
            "step": step,
            "model": self.accelerator.unwrap_model(self.model).state_dict(),
            "ema": self.ema.module.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": scaler.state_dict() if scaler is not None else {},
        }

    def restore(self, state: dict[str, Any]) -> int:
        """Go back to a state; return the step to take next."""
        self.accelerator.unwrap_model(self.model).load_state_dict(state["model"])
        self.ema.module.load_state_dict(state["ema"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.accelerator.scaler is not None and state["scaler"]:
            self.accelerator.scaler.load_state_dict(state["scaler"])
        return int(state["step"])

    def step(self, step: int, batch: Batch) -> dict[str, float]:
        """Learn from one batch; return what is worth noting."""
        factor = rate_factor(step, self.n_steps, self.recipe.warmup_ratio)
        for group in self.optimizer.param_groups:
            group["lr"] = group["peak_rate"] * factor
        notes = self._backward(step, batch)
        if self.recipe.sam_radius:
            with at_the_worst_near(self.model.parameters(), self.recipe.sam_radius):
                self._backward(step, batch)
        self.accelerator.clip_grad_norm_(self.model.parameters(), MAX_GRADIENT_NORM)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.ema.update(self.accelerator.unwrap_model(self.model), step=step + 1)
        return notes | {"learning_rate": self.recipe.learning_rate * factor}

    def _backward(self, step: int, batch: Batch) -> dict[str, float]:
        """Take the gradients of a batch; its losses, to be noted."""
        # Dropout draws from the step, not from what happened before it.
        torch.manual_seed(hash((self.recipe.seed, step, self.accelerator.process_index)) % 2**63)
        device = self.accelerator.device
        self.model.train()
        inputs = [part.to(device, non_blocking=True) for part in batch.inputs]
        logits_B, further, notes = self._forward(inputs, batch)
        loss = losses(logits_B, batch.labels_B.to(device, non_blocking=True), self.recipe.label_smoothing)
        value = loss.both.item()
        if not math.isfinite(value):
            _raise_bad_loss(step, logits_B, batch)
        self.accelerator.backward(loss.both + further)
        return {"loss": value, "real_loss": loss.real.item(), "fake_loss": loss.fake.item(), **notes}

    def _forward(self, inputs: list[Tensor], batch: Batch) -> tuple[Tensor, Tensor, dict[str, float]]:
        """Logits of the rows, what else is to be learnt from them as a weighted loss, and what to note of it."""
        device = self.accelerator.device
        if batch.masks_BHW is not None and (self.recipe.map_weight or self.recipe.pair_weight):
            logits_B, maps_BKHW = self.model(*inputs, with_maps=True)
            masks_BHW = batch.masks_BHW.to(device, non_blocking=True)
            loss = map_loss(maps_BKHW, masks_BHW)
            margins_P = pair_margins(logits_B, masks_BHW)
            ranking = pair_loss(margins_P)
            notes = {"map_loss": loss.item()}
            if len(margins_P):
                notes |= {"pair_loss": ranking.item(), "in_order": (margins_P > 0).float().mean().item()}
            return logits_B, self.recipe.map_weight * loss + self.recipe.pair_weight * ranking, notes
        if batch.forged_BT is not None and self.recipe.frame_weight:
            logits_B, logits_BT = self.model(*inputs, with_frames=True)
            loss = frame_loss(logits_BT, batch.forged_BT.to(device, non_blocking=True))
            return logits_B, self.recipe.frame_weight * loss, {"frame_loss": loss.item()}
        return self.model(*inputs), torch.zeros((), device=device), {}


@contextmanager
def at_the_worst_near(parameters: Iterable[nn.Parameter], radius: float) -> Iterator[None]:
    """Weights moved by `radius` along their gradients, which are forgotten; afterwards they are back.

    The gradient taken inside leads to where the loss is low all around ("SAM", Foret et al., ICLR 2021).
    """
    learning = [parameter for parameter in parameters if parameter.grad is not None]
    gradients = [cast(Tensor, parameter.grad) for parameter in learning]
    norm = torch.linalg.vector_norm(torch.stack([gradient.float().norm() for gradient in gradients]))
    # Half precision overflows now and then; its scaler leaves such a step out.
    factor = torch.where(norm.isfinite() & (norm > 0), radius / norm, torch.zeros_like(norm))
    before = [parameter.detach().clone() for parameter in learning]
    with torch.no_grad():
        for parameter, gradient in zip(learning, gradients, strict=True):
            parameter.add_(torch.nan_to_num(gradient * factor))
            parameter.grad = None
    try:
        yield
    finally:
        with torch.no_grad():
            for parameter, weights in zip(learning, before, strict=True):
                parameter.copy_(weights)


def _raise_bad_loss(step: int, logits_B: Tensor, batch: Batch) -> NoReturn:
    bad = [name for name, good in zip(batch.names, logits_B.isfinite().tolist(), strict=True) if not good]
    where = f"first for {bad[0]}" if bad else "with finite logits"
    raise UserError(
        f"training: the loss is no number at step {step}, {where}. Lower the learning_rate, use precision fp32 or "
        "bf16, or look at those crops"
    )


def _accelerator(precision: str) -> Accelerator:
    # Accelerate keeps the first precision of a process for ever; stages 04 and 05 may share one.
    AcceleratorState._reset_state(reset_partial_state=False)
    device = PartialState().device
    found = mixed_precision(precision, device)
    if found == "bf16" and not is_fast_at_bf16(device):
        log.warning("precision bf16: no instructions for it on %s, so it takes many times as long", machine_of(device))
    return Accelerator(mixed_precision=found)


KeepSnapshot = Callable[[int, nn.Module], None]


def fit(
    model: nn.Module,
    dataset: Dataset[Any],
    collate: Collate,
    recipe: Recipe,
    folder: Path,
    settings_digest: str,
    keep_snapshot: KeepSnapshot | None = None,
) -> tuple[nn.Module, dict[str, float]]:
    """Train a network, from where an earlier call with equal settings was stopped; return averaged weights and metrics.

    `folder` gets `state.pt`, `log.jsonl` and `tensorboard/`; `keep_snapshot` gets the number of steps
    done and the averaged weights every `recipe.snapshot_steps` steps.
    """
    accelerator = _accelerator(recipe.precision)
    log.info("%s: learns on %s, precision %s", folder.name, machine_of(accelerator.device), accelerator.mixed_precision)
    if accelerator.device.type == "cpu":
        keep_memory()
    n_items = len(cast(Sized, dataset))
    rank, world = accelerator.process_index, accelerator.num_processes
    batches = StepBatches(n_items, recipe.items_per_batch, recipe.epochs, recipe.seed, 0, rank, world)
    loop = Loop(model, recipe, batches.n_steps, accelerator)
    state = load_state(folder / STATE, settings_digest)
    batches.start_step = loop.restore(state) if state else 0
    if state:
        log.info("%s: going on from step %d of %d", folder.name, batches.start_step, batches.n_steps)
    if recipe.loader_workers:
        before_workers()
    loader: DataLoader[Any] = DataLoader(
        dataset,
        batch_sampler=batches,
        collate_fn=collate,
        num_workers=recipe.loader_workers,
        pin_memory=accelerator.device.type == "cuda",
        worker_init_fn=partial(start_worker, plugins()),
    )
    metrics = {"n_steps": float(batches.n_steps), "n_items": float(n_items)}
    notes = Log(folder, batches.start_step) if accelerator.is_main_process else None
    try:
        last = _steps(loop, loader, batches, folder / STATE, settings_digest, notes, keep_snapshot)
    finally:
        if notes is not None:
            notes.close()
    accelerator.wait_for_everyone()
    return loop.ema.module, {**metrics, **last}


def _steps(
    loop: Loop,
    loader: DataLoader[Any],
    batches: StepBatches,
    state_path: Path,
    settings_digest: str,
    notes: Log | None,
    keep_snapshot: KeepSnapshot | None,
) -> dict[str, float]:
    recent: list[float] = []
    bar = tqdm(
        _numbered(loader, batches.start_step),
        total=batches.n_steps,
        initial=batches.start_step,
        desc=state_path.parent.name,
        unit="step",
        disable=None if notes else True,
    )
    for step, batch in bar:
        values = loop.step(step, batch)
        recent = [*recent[-9:], values["loss"]]
        bar.set_postfix(loss=f"{sum(recent) / len(recent):.3f}", refresh=False)
        if notes is None:
            continue
        notes.write(step, {"epoch": step // batches.steps_per_epoch, **values})
        # The snapshot first: a kill between the two writes it again.
        if keep_snapshot and loop.recipe.snapshot_steps and (step + 1) % loop.recipe.snapshot_steps == 0:
            keep_snapshot(step + 1, loop.ema.module)
        if (step + 1) % loop.recipe.checkpoint_steps == 0 or step + 1 == batches.n_steps:
            save_state(state_path, loop.state(step + 1, settings_digest))
    return {"last_loss": recent[-1]} if recent else {}


def _numbered(loader: DataLoader[Any], start_step: int) -> Iterator[tuple[int, Batch]]:
    yield from enumerate(loader, start_step)


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
    found = [read_card(run_network(config.run_dir.parent, frames.start_run)).weights_sha256] if frames.start_run else []
    if frames.start_weights is not None and (weights := config.path(frames.start_weights)).is_file():
        found.append(sha256_of(weights))
    lists = (frames.selfblend.photos_csv, frames.selfblend.groups_csv) if frames.selfblend else ()
    paths = [config.path(path) for path in lists if path is not None]
    return [*found, *(sha256_of(path) for path in paths if path.is_file())]


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
    sources = mixture.gather(learn, faces, config)
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
        raise UserError("frames.fold_batchnorm: statistics that are still to move cannot be folded; freeze them too")
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
        model.take_over(pick_member(load_detector(weights), frames.start_member, weights).frames)
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
            f"Train it first: src/train_detector.py --run {run}"
        )
    return folder


@torch.no_grad()
def _held_out(config: Config, tables: Tables, videos: Any, model: nn.Module) -> dict[str, float]:
    try:
        plan = plan_pairs(videos, tables.faces_of(list(videos["video_id"])))
    except UserError:
        return {}  # a fold of one class tells nothing here; stage 08 measures all folds together
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
