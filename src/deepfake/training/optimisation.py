"""How weights move: the rate over a training, AdamW by parts of a network, sharpness-aware steps."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Protocol, cast

import torch
from torch import Tensor, nn


def rate_factor(step: int, n_steps: int, warmup_ratio: float) -> float:
    """Share of the peak learning rate at a step (from 0): a straight rise, then a cosine to nothing."""
    warmup = round(warmup_ratio * n_steps)
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, n_steps - warmup)))


class Rates(Protocol):
    """The settings an optimiser is made of; `learning_rate` is the peak."""

    @property
    def learning_rate(self) -> float:
        """The peak."""
        ...

    @property
    def backbone_rate_ratio(self) -> float:
        """Rate of the backbone over that of the head."""
        ...

    @property
    def weight_decay(self) -> float:
        """Of weights, not of norms and biases."""
        ...


def make_optimizer(model: nn.Module, rates: Rates) -> torch.optim.AdamW:
    """AdamW with a lower rate for a backbone and no decay of norms and biases."""
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            groups.setdefault((name.startswith("backbone."), parameter.ndim > 1), []).append(parameter)
    return torch.optim.AdamW(
        [
            {
                "params": parameters,
                "peak_rate": rates.learning_rate * (rates.backbone_rate_ratio if in_backbone else 1.0),
                "weight_decay": rates.weight_decay if decays else 0.0,
            }
            for (in_backbone, decays), parameters in groups.items()
        ],
        lr=rates.learning_rate,
    )


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
