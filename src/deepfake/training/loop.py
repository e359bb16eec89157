"""The one training loop, for every network: pairs or clips in, averaged weights out.

Every draw depends on the settings and the step alone, and the state is written every few steps, so a
killed training that is started again ends with the weights of an uninterrupted one.
"""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Callable, Iterator, Sized
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NoReturn, cast

import torch
from accelerate import Accelerator, PartialState
from accelerate.state import AcceleratorState
from timm.utils import ModelEmaV3
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from deepfake.datasets.pairs import Batch, Collate, StepBatches
from deepfake.datasets.views import before_workers
from deepfake.errors import UserError
from deepfake.files import write_whole
from deepfake.models.checkpoints import load_state, save_state
from deepfake.models.depthwise import keep_memory, use_fast_depthwise
from deepfake.models.devices import is_fast_at_bf16, machine_of, mixed_precision
from deepfake.registry import plugins, start_worker
from deepfake.training.losses import frame_loss, losses, map_loss, pair_loss, pair_margins
from deepfake.training.optimisation import at_the_worst_near, make_optimizer, rate_factor

log = logging.getLogger(__name__)


STATE, LOG, SNAPSHOT = "state.pt", "log.jsonl", "step"


MAX_GRADIENT_NORM = 5.0


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
            use_fast_depthwise(model)
        self.ema = ModelEmaV3(model, decay=recipe.ema_decay, use_warmup=True)
        self.model, self.optimizer = accelerator.prepare(model, make_optimizer(model, recipe))
        self.last: dict[str, float] = {}  # metrics of the last step that was taken, by this process or an earlier one

    def state(self, step: int, settings_digest: str) -> dict[str, Any]:
        """Plain tensors and values from which `step` can be taken next."""
        scaler = self.accelerator.scaler
        return {
            "settings_digest": settings_digest,
            "step": step,
            "last": self.last,
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
        self.last = dict(state.get("last", {}))  # states of earlier versions have none
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
        self.last = {"last_loss": notes["loss"]}
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


def _raise_bad_loss(step: int, logits_B: Tensor, batch: Batch) -> NoReturn:
    bad = [name for name, good in zip(batch.names, logits_B.isfinite().tolist(), strict=True) if not good]
    where = f"first for {bad[0]}" if bad else "with finite logits"
    raise UserError(
        f"training: the loss is no number at step {step}, {where}. Lower the learning_rate, use precision fp32 or "
        "bf16, or view those crops"
    )


def _accelerator(precision: str) -> Accelerator:
    # Accelerate keeps the first precision of a process for ever; stages 04 and 05 may share one.
    AcceleratorState._reset_state(reset_partial_state=False)
    device = PartialState().device
    chosen = mixed_precision(precision, device)
    if chosen == "bf16" and not is_fast_at_bf16(device):
        log.warning("precision bf16: no instructions for it on %s, so it takes many times as long", machine_of(device))
    return Accelerator(mixed_precision=chosen)


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
        _steps(loop, loader, batches, folder / STATE, settings_digest, notes, keep_snapshot)
    finally:
        if notes is not None:
            notes.close()
    accelerator.wait_for_everyone()
    return loop.ema.module, {**metrics, **loop.last}


def _steps(
    loop: Loop,
    loader: DataLoader[Any],
    batches: StepBatches,
    state_path: Path,
    settings_digest: str,
    notes: Log | None,
    keep_snapshot: KeepSnapshot | None,
) -> None:
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


def _numbered(loader: DataLoader[Any], start_step: int) -> Iterator[tuple[int, Batch]]:
    yield from enumerate(loader, start_step)
