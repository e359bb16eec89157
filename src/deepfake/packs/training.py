"""A training from a pack within a time: the rate has fallen to nothing when the time is over, however fast it went.

It can be killed at any moment and started again. Letters: B pictures.
"""

from __future__ import annotations

import json
import logging
import os
import re
import time
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import torch
from timm.utils import ModelEmaV3
from torch import Tensor
from torch.utils.data import DataLoader, Sampler

from deepfake.datasets.views import before_workers
from deepfake.errors import UserError
from deepfake.files import digest, write_whole
from deepfake.models.checkpoints import load_state, save_state
from deepfake.models.class_tokens import NAME
from deepfake.models.depthwise import keep_memory, use_fast_depthwise
from deepfake.models.devices import choose_device, is_fast_at_bf16, machine_of
from deepfake.models.frames import FrameClassifier
from deepfake.packs.file import Pack
from deepfake.packs.items import Number, PackPairs, PairBatch, collate
from deepfake.packs.pictures import Pictures
from deepfake.packs.settings import PackTraining
from deepfake.packs.snapshots import read_snapshot, save_snapshot, start_weights
from deepfake.packs.validation import Validation
from deepfake.training.losses import losses, map_loss, pair_loss, pair_margins
from deepfake.training.optimisation import at_the_worst_near, make_optimizer, rate_factor

LOG, RESULTS, STATE = "log.jsonl", "results.jsonl", "state.pt"
LOG_SECONDS, STATE_SECONDS = 5.0, 30.0
MAX_GRADIENT_NORM = 5.0
FINE = 100_000  # steps that progress is told in to the schedule
FEW_STEPS = 20  # of a training that has not really begun
LEFT_FOR_THE_END = 1.5  # times a validation
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Place:
    """Where a training runs and where its files go; `workers` make pairs, 0: the training itself does."""

    out: Path
    name: str = "pack"
    device: str = "auto"
    workers: int = 0


class Progress:
    """How far a training is, 0..1: by its time or by its pairs, whichever is further."""

    def __init__(self, seconds: float, pairs: int) -> None:
        self.seconds, self.most_pairs = seconds, pairs
        self.pairs = self.steps = self.marks = 0
        self.earlier = 0.0  # seconds of runs before this one
        self.for_the_end = 0.0
        self.began = time.monotonic()

    @property
    def elapsed(self) -> float:
        """Seconds of training, all runs together."""
        return self.earlier + time.monotonic() - self.began

    @property
    def share(self) -> float:
        """0 at the beginning, 1 when nothing more is to be learnt."""
        by_time = self.elapsed / max(self.seconds - self.for_the_end, 1e-3)
        by_pairs = self.pairs / self.most_pairs if self.most_pairs else 0.0
        return min(max(by_time, by_pairs), 1.0)


class PairNumbers(Sampler[list[Number]]):
    """Batches of pair numbers without end, each with the progress at the time it is asked for."""

    def __init__(self, progress: Progress, per_batch: int) -> None:
        self.progress, self.per_batch = progress, per_batch

    def __iter__(self) -> Iterator[list[Number]]:
        number = self.progress.pairs
        while True:
            yield [(number + i, self.progress.share) for i in range(self.per_batch)]
            number += self.per_batch


class Learner:
    """A network in training, all that is written down and read back of it."""

    def __init__(self, model: FrameClassifier, settings: PackTraining, device: torch.device) -> None:
        self.settings, self.device = settings, device
        self.bf16 = settings.precision == "bf16" or (settings.precision == "auto" and is_fast_at_bf16(device))
        self.model = model.to(device).to(memory_format=torch.channels_last)
        if device.type == "cpu" and self.bf16:
            use_fast_depthwise(self.model)
        self.ema = ModelEmaV3(self.model, decay=settings.ema_decay, use_warmup=True)
        self.optimizer = make_optimizer(self.model, settings)

    def state(self) -> dict[str, Any]:
        """Plain tensors and values."""
        return {
            "model": self.model.state_dict(),
            "ema": self.ema.module.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go back to a state."""
        self.model.load_state_dict(state["model"])
        self.ema.module.load_state_dict(state["ema"])
        self.optimizer.load_state_dict(state["optimizer"])

    def step(self, step: int, share: float, batch: PairBatch) -> Tensor:
        """Learn from one batch; its losses (of all, of the real, of the fake, of the maps), still on the device."""
        factor = rate_factor(round(share * FINE), FINE, self.settings.warmup_ratio)
        for group in self.optimizer.param_groups:
            group["lr"] = group["peak_rate"] * factor
        parts = [
            part.to(self.device, non_blocking=True) for part in (batch.crops_BCHW, batch.labels_B, batch.masks_BHW)
        ]
        self.model.train()
        noted = self._backward(*parts)
        if self.settings.sam_radius:
            with at_the_worst_near(self.model.parameters(), self.settings.sam_radius):
                self._backward(*parts)
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), MAX_GRADIENT_NORM)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.ema.update(self.model, step=step + 1)
        return noted

    def _backward(self, crops_BCHW: Tensor, labels_B: Tensor, masks_BHW: Tensor) -> Tensor:
        settings = self.settings
        with self._precision():
            logits_B, maps_BKHW = cast(tuple[Tensor, Tensor], self.model(crops_BCHW, with_maps=True))
        loss = losses(logits_B, labels_B, settings.label_smoothing)
        maps = map_loss(maps_BKHW, masks_BHW)
        whole = loss.both + settings.boundary_weight * maps
        if settings.pair_weight:
            whole = whole + settings.pair_weight * pair_loss(pair_margins(logits_B, masks_BHW))
        torch.autograd.backward(whole)
        return torch.stack([loss.both, loss.real, loss.fake, maps]).detach()

    @torch.no_grad()
    def score(self, crops_BCHW: Tensor) -> Tensor:
        """Logits of crops by the averaged weights."""
        with self._precision():
            return cast(Tensor, self.ema.module(crops_BCHW.to(self.device)))

    def _precision(self) -> Any:
        return torch.autocast(self.device.type, torch.bfloat16) if self.bf16 else nullcontext()


def start_model(settings: PackTraining, pack: Pack) -> FrameClassifier:
    """The network before its first step."""
    torch.manual_seed(settings.seed)
    before = None if settings.start in ("pack", "random") else read_snapshot(Path(settings.start))[0]
    folded = before is not None and bool(before.settings["folded"])  # statistics once folded do not come back
    model = FrameClassifier(
        settings.backbone, settings.input_px, settings.dropout, settings.view_ratio, maps=True, folded=folded
    )
    if settings.start in ("pack", "random") and NAME.fullmatch(settings.backbone):
        raise UserError(
            f"{settings.backbone} has no weights to start from but those that `python -m lab pack-encoder` writes; "
            "set start to that file"
        )
    if settings.start == "pack":
        data = pack.start.get(settings.backbone)
        if data is None:
            have = ", ".join(sorted(pack.start)) or "none: they lie in its first part, NAME-00.pack"
            raise UserError(f"pack: no weights to start {settings.backbone} from; it has {have}. Or set start=random")
        model.backbone.load_state_dict(start_weights(data), strict=True)
    elif before is not None:
        model.take_over(before)
    return model


def train(pack: Pack, pictures: Pictures, settings: PackTraining, seconds: float, place: Place) -> dict[str, Any]:
    """Train within `seconds`, from where a killed call with equal settings was; return what came of it.

    `place.out` gets LOG and RESULTS, which several trainings share by name, snapshots NAME-PAIRS.safetensors, and
    while it runs STATE.
    """
    key = digest([asdict(settings), pack.digest])
    done = _finished(place, key)
    if done is not None:
        log.info("%s: already trained", place.name)
        return done
    progress = Progress(seconds, settings.pairs)
    device = choose_device(place.device)
    if device.type == "cuda":
        torch.backends.cudnn.benchmark = True
        torch.set_float32_matmul_precision("high")
    else:
        keep_memory()
    learner = Learner(start_model(settings, pack), settings, device)
    state_path = place.out / f"{place.name}-{STATE}"
    state = load_state(state_path, key)
    if state is not None:
        learner.restore(state)
        progress.pairs, progress.steps, progress.marks = (int(state[name]) for name in ("pairs", "steps", "marks"))
        progress.earlier = float(state["elapsed"])
        log.info("%s: going on from pair %d, after %.0f s", place.name, progress.pairs, progress.earlier)
    validation = Validation(pack, pictures, settings)
    items = PackPairs(pack, pictures, settings)
    log.info("%s: learns on %s, %s", place.name, machine_of(device), "bf16" if learner.bf16 else "fp32")
    run = _Run(learner, progress, validation, place, state_path, key)
    return run.to_the_end(items)


class _Run:
    """One call of `train`."""

    def __init__(
        self, learner: Learner, progress: Progress, validation: Validation, place: Place, state_path: Path, key: str
    ) -> None:
        self.learner, self.progress, self.validation, self.place = learner, progress, validation, place
        self.state_path, self.key = state_path, key
        self.scores: dict[str, float] = {}
        self.kept_pairs = -1  # those of the last snapshot
        _forget_later(place, progress.pairs)

    def to_the_end(self, items: PackPairs) -> dict[str, Any]:
        settings, progress = self.learner.settings, self.progress
        if progress.marks == 0:
            self._mark()
        before_workers()
        torch.manual_seed(hash((settings.seed, progress.steps)) % 2**63)
        loader = _loader(items, PairNumbers(progress, settings.pairs_per_batch), self.place.workers, self.learner)
        first_pairs, first_seconds = progress.pairs, progress.elapsed
        waited, recent = 0.0, _Recent()
        saved = noted = asked = time.monotonic()
        # Where the state is that after the last step, another step would make another network.
        for batch in loader if progress.share < 1 else ():
            now = time.monotonic()
            waited += now - asked
            recent.add(self.learner.step(progress.steps, progress.share, batch))
            progress.steps += 1
            progress.pairs += settings.pairs_per_batch
            if now - noted > LOG_SECONDS:
                speed = (progress.pairs - first_pairs) / max(progress.elapsed - first_seconds, 1e-3)
                waiting = waited / max(progress.elapsed - first_seconds, 1e-3)
                self._note({**recent.mean(), "pairs_per_s": round(speed, 2), "waits_for_pairs": round(waiting, 3)})
                noted = now
            if self._is_due():
                self._mark()
                self._save()
                saved = time.monotonic()
            elif now - saved > STATE_SECONDS:
                self._save()
                saved = time.monotonic()
            if progress.share >= 1:
                break
            asked = time.monotonic()
        return self._end(progress.pairs - first_pairs, progress.elapsed - first_seconds, waited)

    def _is_due(self) -> bool:
        return self.progress.share >= self.progress.marks / self.learner.settings.validations

    def _mark(self, is_last: bool = False) -> None:
        """Measure the averaged weights and, where it is time or the last, keep them."""
        settings, progress = self.learner.settings, self.progress
        begin = time.monotonic()
        self.learner.ema.module.eval()
        self.scores = {name: round(value, 4) for name, value in self.validation.scores(self.learner.score).items()}
        self._note({"validation": progress.marks, **self.scores})
        if settings.snapshots and (is_last or progress.marks > settings.validations - settings.snapshots):
            path = self.place.out / f"{self.place.name}-{progress.pairs:07d}.safetensors"
            about = {"name": self.place.name, "key": self.key, **self._where(), **self.scores}
            save_snapshot(path, self.learner.ema.module, about)
            self.kept_pairs = progress.pairs
        # Several may be due at once on a slow machine.
        progress.marks = min(int(progress.share * settings.validations) + 1, settings.validations + 1)
        progress.for_the_end = LEFT_FOR_THE_END * (time.monotonic() - begin)

    def _where(self) -> dict[str, float]:
        progress = self.progress
        return {"pairs": progress.pairs, "elapsed_s": round(progress.elapsed, 1), "progress": round(progress.share, 4)}

    def _note(self, values: dict[str, Any]) -> None:
        bad = [name for name, value in values.items() if name.endswith("loss") and value != value]
        if bad:
            raise UserError(
                f"training {self.place.name!r}: the {bad[0]} is no number after {self.progress.pairs} pairs; lower "
                "learning_rate, or set precision=fp32"
            )
        _append(self.place.out / LOG, {"name": self.place.name, **self._where(), **values})

    def _save(self) -> None:
        progress = self.progress
        counts = {"pairs": progress.pairs, "steps": progress.steps, "marks": progress.marks}
        state = {"settings_digest": self.key, "elapsed": progress.elapsed, **counts, **self.learner.state()}
        save_state(self.state_path, state)

    def _end(self, pairs: int, seconds: float, waited: float) -> dict[str, Any]:
        settings = self.learner.settings
        is_kept = not settings.snapshots or self.kept_pairs == self.progress.pairs
        if self.progress.marks <= settings.validations or not is_kept or not self.scores:
            self._mark(is_last=True)
        if self.progress.steps < FEW_STEPS and not settings.pairs:
            log.warning(
                "%s: learnt from %d pairs only: reading and measuring took most of %.0f s. Give more --minutes",
                self.place.name,
                self.progress.pairs,
                self.progress.elapsed,
            )
        speed, waiting = pairs / max(seconds, 1e-3), waited / max(seconds, 1e-3)
        result = {
            "name": self.place.name,
            "key": self.key,
            "machine": machine_of(self.learner.device),
            **self._where(),
            "pairs_per_s": round(speed, 2),
            "waits_for_pairs": round(waiting, 3),
            **self.scores,
            "settings": asdict(self.learner.settings),
        }
        _append(self.place.out / RESULTS, result)
        self.state_path.unlink(missing_ok=True)
        return result


class _Recent:
    """Losses since they were last asked for, read from the device only then."""

    names = ("loss", "real_loss", "fake_loss", "map_loss")

    def __init__(self) -> None:
        self.values: list[Tensor] = []

    def add(self, values: Tensor) -> None:
        self.values.append(values)

    def mean(self) -> dict[str, float]:
        means = torch.stack(self.values).mean(0).tolist() if self.values else []
        self.values = []
        return {name: round(value, 4) for name, value in zip(self.names, means, strict=False)}


def _loader(items: PackPairs, numbers: PairNumbers, workers: int, learner: Learner) -> DataLoader[Any]:
    more: dict[str, Any] = {"prefetch_factor": 4, "multiprocessing_context": "fork"} if workers else {}
    return DataLoader(
        items,
        batch_sampler=numbers,
        collate_fn=collate,
        num_workers=workers,
        pin_memory=learner.device.type == "cuda",
        **more,
    )


def _append(path: Path, values: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(values) + "\n")


def _lines(path: Path) -> list[dict[str, Any]]:
    found = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        try:
            found.append(json.loads(line))
        except ValueError:
            continue  # cut short by a kill
    return found


def _finished(place: Place, key: str) -> dict[str, Any] | None:
    same = [line for line in _lines(place.out / RESULTS) if line["name"] == place.name and line["key"] == key]
    return same[-1] if same else None


def _forget_later(place: Place, pairs: int) -> None:
    """Drop what an earlier call noted and kept after the state that is gone on from: it is made again."""
    path = place.out / LOG
    kept = [line for line in _lines(path) if line["name"] != place.name or (pairs and line["pairs"] <= pairs)]
    if path.exists():
        write_whole(path, "".join(json.dumps(line) + "\n" for line in kept).encode())
    for old in place.out.glob("*.safetensors"):
        match = re.fullmatch(re.escape(place.name) + r"-(\d+)", old.stem)
        if match and (int(match[1]) > pairs or pairs == 0):
            old.unlink()


def default_workers(device: str) -> int:
    """Processes that make pairs: all processors but one beside a GPU, one beside a training on the processor."""
    n = len(os.sched_getaffinity(0))
    return max(n - 1, 1) if choose_device(device).type == "cuda" else 1
