"""One network out of several: the mean of their weights, at the cost of one.

Networks that were tuned from the same start lie in one valley of the loss, and their mean is often better
than any of them on data none has seen ("model soups", Wortsman et al., ICML 2022). Of networks that were
started apart the mean is worth nothing: measure what comes out.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from deepfake.errors import UserError
from deepfake.files import digest
from deepfake.models.checkpoints import CARD, Card, load_model, read_card, save_model


def average_networks(parts: Sequence[tuple[str, Path]], out: Path) -> Path:
    """Write the mean of the networks' weights into the folder `out`; the card's path.

    `parts` are names and folders of networks of one kind and of the same layers; the card names them with
    the digests of their weights. The mean sees crops as the first of them does. Raises UserError where fewer
    than two are given, one is given twice, or they differ.
    """
    if len(parts) < 2:
        raise UserError(f"average of {len(parts)} network: wanted two or more; give --run once for each")
    cards = [read_card(folder) for _, folder in parts]
    for (name, _), card in zip(parts[1:], cards[1:], strict=True):
        _agree(parts[0][0], cards[0], name, card)
    digests = [card.weights_sha256 for card in cards]
    for i, sha256 in enumerate(digests):
        if sha256 in digests[:i]:
            raise UserError(f"network {parts[i][0]!r}: the same weights as {parts[digests.index(sha256)][0]!r}")
    models = [load_model(folder, cards[0].kind) for _, folder in parts]
    states = [model.state_dict() for model in models]
    model = models[0]
    model.load_state_dict({key: _mean([state[key] for state in states], key) for key in states[0]})
    about = {
        **cards[0].about,
        "mean_of": {name: card.weights_sha256 for (name, _), card in zip(parts, cards, strict=True)},
    }
    made_of = digest([sorted(digests), cards[0].settings])
    return save_model(out, cards[0].kind, model, fold=None, settings_digest=made_of, metrics={}, about=about)


def _agree(first: str, wanted: Card, name: str, card: Card) -> None:
    for what, value, right in (
        ("kind", card.kind, wanted.kind),
        ("settings", _layers(card), _layers(wanted)),
        ("crops", _crops(card), _crops(wanted)),
    ):
        if value != right:
            raise UserError(
                f"network {name!r}: {what} {value}, while {first!r} has {right}; only equal ones have a mean"
            )


def _layers(card: Card) -> dict[str, Any]:
    """The settings that weights depend on; a convolution can be shown larger pictures, or another part of them.

    None is what a setting was before it existed, in older cards.
    """
    sizes = ("input_px", "view_ratio", "dropout")
    return {name: value for name, value in card.settings.items() if name not in sizes and value is not None}


def _crops(card: Card) -> dict[str, Any]:
    """What of a crop the networks know; crop_px may differ, for they see it at their own size, as may the training."""
    return {name: value for name, value in card.about.items() if name not in ("mean_of", "crop_px", "pack")}


def _mean(values: Sequence[Tensor], key: str) -> Tensor:
    if key.endswith("num_batches_tracked"):  # nothing is worked out from it; running statistics have a mean themselves
        return torch.stack(list(values)).max()
    if values[0].is_floating_point():
        return torch.stack([value.double() for value in values]).mean(0).to(values[0].dtype)
    if any(not torch.equal(value, values[0]) for value in values[1:]):
        raise UserError(f"weight {key!r}: a count that differs between the networks has no mean")
    return values[0]


def is_taken(folder: Path, may_replace: bool) -> bool:
    """Whether something lies in the folder that must stay: a training, or, unless it may be replaced, an average."""
    if not (folder / CARD).is_file():
        return folder.is_dir() and any(folder.iterdir())
    return not (may_replace and "mean_of" in read_card(folder).about)
