"""What learning, scoring and the compiled loops cost; each function returns seconds."""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import torch
from torch.utils.data import Dataset
from tqdm import tqdm

from deepfake.catalog.search import as_words, near_pairs
from deepfake.datasets.pairs import Index, collate_pairs
from deepfake.evaluation.bootstrap import measure
from deepfake.faces.geometry import CANONICAL_POINTS
from deepfake.forging.damage import Degradation
from deepfake.forging.families import Face, Material, forge
from deepfake.models.depthwise import use_fast_depthwise
from deepfake.models.frames import FrameClassifier
from deepfake.scoring.frame_scorer import FrameScorer
from deepfake.settings import Frames, Predict, Selfblend, Validation
from deepfake.training import loop, train
from lab.bench.extraction import StepClock

PAIRS, INPUT_PX, SCORED_CROPS, RESAMPLES = 8, 224, 32, 1000
IMAGES_A_STEP = 2 * PAIRS
BACKBONE = "tf_efficientnet_lite0"
NEAR_BITS = 24
FORGED_PX, FACES = 256, 8


class _NoisePairs(Dataset[tuple[torch.Tensor, torch.Tensor, str]]):
    """Pairs of noise pictures: what they show does not change what a step costs."""

    def __init__(self, n_pairs: int) -> None:
        self.n_pairs = n_pairs

    def __len__(self) -> int:
        return self.n_pairs

    def __getitem__(self, index: Index) -> tuple[torch.Tensor, torch.Tensor, str]:
        drawn = np.random.default_rng(index).integers(0, 256, (2, 3, INPUT_PX, INPUT_PX), dtype=np.uint8)
        return torch.from_numpy(drawn[0]), torch.from_numpy(drawn[1]), f"noise {index[1]}"


def training_step_s(n_steps: int) -> float:
    """Seconds of a training step of the image classifier as it is set by default."""
    frames = Frames(backbone=BACKBONE, input_px=INPUT_PX, epochs=1, pairs_per_batch=PAIRS)
    tqdm.set_lock(threading.RLock())  # the bar's own lock is a semaphore that outlives a stopped worker
    clock = StepClock()
    with tempfile.TemporaryDirectory() as folder, clock.watching([(loop.Loop, "step", "step")]):
        data, recipe = _NoisePairs(PAIRS * n_steps), train.frames_recipe(frames)
        loop.fit(train.start_frames(frames), data, collate_pairs, recipe, Path(folder), "benchmark")
    return clock.seconds["step"] / n_steps


def gradients_s(rounds: int) -> dict[str, float]:
    """Seconds of a forward and backward pass in bf16, depthwise convolutions by torch and ours, in turns; the best."""
    crops = torch.randint(0, 256, (IMAGES_A_STEP, 3, INPUT_PX, INPUT_PX), dtype=torch.uint8)
    models = {"torch": FrameClassifier(BACKBONE, INPUT_PX), "ours": FrameClassifier(BACKBONE, INPUT_PX)}
    for model in models.values():
        model.freeze(2, True)
        model.train()
    use_fast_depthwise(models["ours"])

    def gradients(model: FrameClassifier) -> None:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            logits = model(crops)
        logits.float().sum().backward()

    return _by_turns({name: partial(gradients, model) for name, model in models.items()}, rounds)


def _by_turns(works: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Seconds of each work, the best of `rounds` turns after one to warm up."""
    times: dict[str, list[float]] = {name: [] for name in works}
    for number in range(rounds + 1):
        for name, work in works.items():
            start = time.perf_counter()
            work()
            if number:
                times[name].append(time.perf_counter() - start)
    return {name: min(seconds) for name, seconds in times.items()}


def _soft_face(seed: int) -> Face:
    """A picture of soft spots and grain with points where a face in a crop has them."""
    rng = np.random.default_rng(seed)
    spots = cv2.resize(rng.uniform(30, 220, (12, 12, 3)), (FORGED_PX, FORGED_PX), interpolation=cv2.INTER_CUBIC)
    picture = np.clip(spots + rng.normal(0, 4, spots.shape), 0, 255).astype(np.uint8)
    points = (CANONICAL_POINTS + rng.normal(0, 0.05, (5, 2))) * 0.22 * FORGED_PX
    return Face(picture, points + np.array([0.5, 0.4]) * FORGED_PX)


def blend_pair_s(n_pairs: int) -> dict[str, float]:
    """Seconds of one core to make a pair by the default shares of families, alone and with the damage of both."""
    cv2.setNumThreads(1)
    faces, shares = [_soft_face(seed) for seed in range(FACES)], Selfblend().families
    seconds = dict.fromkeys(("forging", "forging and damage"), 0.0)
    for number in range(-FACES, n_pairs):  # the first are to warm up
        rng = np.random.default_rng(number % 2**32)
        face, other = faces[number % FACES], faces[(number + 1) % FACES]
        start = time.process_time()  # per core, whatever else runs
        forged = forge(face, shares, Material(lambda other=other: other), rng)  # type: ignore[misc]
        made = time.process_time()
        damage = Degradation.draw(rng)
        damage([face.picture]), damage([forged.picture])
        if number >= 0:
            seconds["forging"] += (made - start) / n_pairs
            seconds["forging and damage"] += (time.process_time() - start) / n_pairs
    return seconds


def scoring_s(rounds: int) -> dict[str, float]:
    """Seconds to score a batch of crops, by precision, in turns; the best round counts."""
    crops = list(np.random.default_rng(0).integers(0, 256, (SCORED_CROPS, INPUT_PX, INPUT_PX, 3), dtype=np.uint8))
    scorers = {
        precision: FrameScorer(FrameClassifier(BACKBONE, INPUT_PX), Predict(precision=precision, device="cpu"))
        for precision in ("fp32", "bf16")
    }
    works = {precision: partial(scorer.crops, crops) for precision, scorer in scorers.items()}
    return _by_turns(works, rounds)


def hash_pairs_s(n_hashes: int) -> float:
    """Seconds to compare all pairs of random 256-bit hashes, compiled before."""
    rng = np.random.default_rng(0)
    words = as_words([rng.bytes(32).hex() for _ in range(n_hashes)])
    owners = np.arange(n_hashes)
    near_pairs(words[:2], owners[:2], NEAR_BITS)
    start = time.perf_counter()
    near_pairs(words, owners, NEAR_BITS)
    return time.perf_counter() - start


def bootstrap_s(n_videos: int) -> float:
    """Seconds for every metric with its interval, groups of ten videos, compiled before."""
    rng = np.random.default_rng(0)
    labels = np.arange(n_videos) % 2
    p_fake = np.clip(rng.normal(0.3 + 0.4 * labels, 0.2), 0, 1)
    groups = np.array([f"{number // 10}" for number in range(n_videos)])
    measure(labels, p_fake, groups, Validation(bootstrap=10), 0.01)
    start = time.perf_counter()
    measure(labels, p_fake, groups, Validation(bootstrap=RESAMPLES), 0.01)
    return time.perf_counter() - start
