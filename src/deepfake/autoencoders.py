"""Small autoencoders that learn to paint the real pictures themselves: twins that differ only by a decoder's hand.

A face that is synthesised whole has come out of a decoder. Each form here has its own up-sampling and bottleneck, and
learns by pixels, by features of an ImageNet network and against a critic (PatchGAN, Isola et al., CVPR 2017; hinge
loss), so that it leaves texture and not only blur. Reconstructions as fakes: Zhang et al., Detecting and simulating
artifacts in GAN fake images, WIFS 2019. Letters: B pictures, C channels, H rows, W columns.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn
from torch.nn.functional import l1_loss, relu

from deepfake.config import UserError, digest
from deepfake.degrade import to_levels
from deepfake.files import current_commit, sha256_of, write_whole
from deepfake.mixture import Pictures
from deepfake.models.autoencoders import Autoencoder, PatchCritic, Upsampling
from deepfake.models.frames import FrameClassifier

PATCH_PX, BATCH = 96, 8
RATE, BETAS = 1e-3, (0.5, 0.99)
ZOOM = (0.5, 1.0)  # pictures are made so much smaller before a patch is cut
FEATURE_LEVELS = (0, 1, 2)  # a half, a quarter and an eighth of the size
FEATURE_WEIGHT = 1.0
CRITIC_FROM = 0.25  # of the steps; before, there is only blur to judge
MOST_GRADIENT = 5.0
TRUE_SIGMA_PX = 4.0  # what is coarser than this blur leaves of a painted picture is put right again


@dataclass(frozen=True)
class Form:
    """One kind of autoencoder; `critic_weight` is how much it cares to deceive."""

    name: str
    upsampling: Upsampling
    levels: int
    bottleneck: int
    critic_weight: float


FORMS = (
    Form("nearest", "nearest", 3, 12, 0.1),
    Form("transposed", "transposed", 3, 8, 0.1),
    Form("shuffle", "shuffle", 3, 8, 0.05),
    Form("bilinear", "bilinear", 4, 24, 0.2),
)


def to_signed(pictures: np.ndarray) -> Tensor:
    """uint8 RGB (B, H, W, C) as float32 (B, C, H, W) in -1..1."""
    values = torch.from_numpy(np.ascontiguousarray(pictures.transpose(0, 3, 1, 2))).float()
    return values / 127.5 - 1


def draw_patches(pictures: Pictures, rng: np.random.Generator) -> np.ndarray:
    """BATCH squares of PATCH_PX (uint8 RGB), cut out of drawn pictures that were drawn smaller or as they are."""
    patches = []
    for i in rng.integers(len(pictures), size=BATCH):
        picture = pictures.face(int(i)).picture
        shorter = min(picture.shape[:2])
        ratio = max(rng.uniform(*ZOOM), PATCH_PX / shorter)
        size = (max(round(picture.shape[1] * ratio), PATCH_PX), max(round(picture.shape[0] * ratio), PATCH_PX))
        small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
        top, left = (int(rng.integers(side - PATCH_PX + 1)) for side in small.shape[:2])
        patch = small[top : top + PATCH_PX, left : left + PATCH_PX]
        patches.append(patch[:, ::-1] if rng.random() < 0.5 else patch)
    return np.stack(patches)


class _Likeness(nn.Module):
    """How differently an ImageNet network sees two batches: mean difference over mean size, at three sizes."""

    def __init__(self) -> None:
        super().__init__()
        self.network = FrameClassifier("tf_efficientnet_lite0", PATCH_PX, folded=True)
        self.network.load_start("registry")
        self.network.eval().requires_grad_(False)

    def _features(self, pictures_BCHW: Tensor) -> list[Tensor]:
        seen = ((pictures_BCHW + 1) * 127.5).contiguous(memory_format=torch.channels_last)
        mean, std = self.network.get_buffer("mean_C")[:, None, None], self.network.get_buffer("std_C")[:, None, None]
        levels: list[Tensor] = self.network.backbone.forward_intermediates(
            (seen - mean) / std, indices=list(FEATURE_LEVELS), intermediates_only=True
        )
        return levels

    def forward(self, painted_BCHW: Tensor, real_BCHW: Tensor) -> Tensor:
        """A scalar, 0 where both are the same."""
        with torch.no_grad():
            wanted = self._features(real_BCHW)
        pairs = zip(self._features(painted_BCHW), wanted, strict=True)
        return torch.stack([l1_loss(found, real) / real.abs().mean() for found, real in pairs]).mean()


@dataclass
class Progress:
    """Losses of one step: pixels (mean absolute difference, levels of 0..255), features, critic (hinge)."""

    step: int
    pixels: float
    features: float
    critic: float


def learn(form: Form, pictures: Pictures, n_steps: int, seed: int) -> Iterator[tuple[Progress, Autoencoder]]:
    """Teach an autoencoder to give pictures back; yields it after every step. Draws depend on seed and step alone."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network, critic = Autoencoder(form.upsampling, form.levels, form.bottleneck), PatchCritic()
    likeness = _Likeness()
    painter = torch.optim.Adam(network.parameters(), RATE, BETAS)
    judge = torch.optim.Adam(critic.parameters(), RATE / 2, BETAS)
    for step in range(n_steps):
        for optimizer, peak in ((painter, RATE), (judge, RATE / 2)):
            optimizer.param_groups[0]["lr"] = peak * (0.02 + 0.49 * (1 + math.cos(math.pi * step / n_steps)))
        real = to_signed(draw_patches(pictures, np.random.default_rng((seed, step))))
        painted = network(real)
        pixels, features = l1_loss(painted, real), likeness(painted, real)
        loss = pixels + FEATURE_WEIGHT * features
        doubt = torch.zeros(())
        if step >= CRITIC_FROM * n_steps:
            doubt = relu(1 - critic(real)).mean() + relu(1 + critic(painted.detach())).mean()
            _descend(judge, doubt, critic)
            loss = loss - form.critic_weight * critic(painted).mean()
        _descend(painter, loss, network)
        if not torch.isfinite(loss):
            raise RuntimeError(f"autoencoder {form.name}: its loss at step {step} is {loss.item()}")
        yield Progress(step, 127.5 * pixels.item(), features.item(), doubt.item()), network


def _descend(optimizer: torch.optim.Optimizer, loss: Tensor, network: nn.Module) -> None:
    optimizer.zero_grad(set_to_none=True)
    torch.autograd.backward(loss)
    nn.utils.clip_grad_norm_(network.parameters(), MOST_GRADIENT)
    optimizer.step()


def network_path(folder: Path, form: Form) -> Path:
    """Where a form's weights lie."""
    return folder / f"{form.name}.safetensors"


def settings_of(form: Form, n_pictures: int, n_steps: int, seed: int) -> dict[str, object]:
    """All that makes an autoencoder what it is."""
    return {**asdict(form), "pictures": n_pictures, "steps": n_steps, "seed": seed}


def train_form(
    form: Form, pictures: Pictures, folder: Path, n_steps: int, seed: int, tell: Callable[[Progress], None]
) -> Path:
    """Train one form unless it lies there with the same settings; returns its file. `tell` gets every step."""
    path, settings = network_path(folder, form), settings_of(form, len(pictures), n_steps, seed)
    if path.is_file() and _header(path).get("settings") == digest(settings):
        return path
    network = None
    for progress, network in learn(form, pictures, n_steps, seed):  # noqa: B007 - the last one is kept
        tell(progress)
    assert network is not None
    header = {
        "settings": digest(settings), "form": json.dumps(settings, sort_keys=True),
        "built": json.dumps(network.settings, sort_keys=True), "commit": current_commit(),
    }  # fmt: skip
    write_whole(path, save({key: value.contiguous() for key, value in network.state_dict().items()}, header))
    return path


def _header(path: Path) -> dict[str, str]:
    try:
        with safe_open(path, framework="pt") as opened:
            return opened.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise UserError(f"autoencoder {str(path)!r}: not readable ({error}); delete it and train again") from None


def load_autoencoder(path: Path) -> Autoencoder:
    """A trained autoencoder, ready to paint; UserError naming the file that is none."""
    if not path.is_file():
        raise UserError(f"autoencoder {str(path)!r} does not exist; run src/train_autoencoders.py first")
    try:
        network = Autoencoder(**json.loads(_header(path)["built"]))
        with safe_open(path, framework="pt") as opened:
            network.load_state_dict({key: opened.get_tensor(key) for key in opened.keys()}, strict=True)  # noqa: SIM118
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise UserError(f"autoencoder {str(path)!r}: not one of ours ({error}); train it again") from None
    return network.eval().requires_grad_(False)


@cache
def _loaded(path: Path) -> Autoencoder:
    torch.set_num_threads(1)  # a process for every core
    return load_autoencoder(path)


@dataclass(frozen=True)
class TrainedPainter:
    """A trained autoencoder as `rebuilding` wants its painters."""

    name: str
    path: Path
    multiple_px: int
    share: float = 1.0
    shrink: tuple[float, float] = (1.0, 1.6)

    def identity(self) -> str:
        """The digest of its weights; UserError where there are none."""
        load_autoencoder(self.path)
        return sha256_of(self.path)

    def paint(self, picture_HWC: np.ndarray) -> np.ndarray:
        """The picture (uint8 RGB, sides multiples of `multiple_px`) as the autoencoder gives it back.

        Colours and coarse shapes, which a small autoencoder gets wrong, are the picture's own: the texture is not.
        """
        with torch.inference_mode():
            painted = _loaded(self.path)(to_signed(picture_HWC[None]))[0]
        levels = (painted.permute(1, 2, 0).numpy() + 1) * 127.5
        wrong = cv2.GaussianBlur(picture_HWC - levels, (0, 0), TRUE_SIGMA_PX)
        return to_levels(levels + wrong)


def painters(folder: Path) -> tuple[TrainedPainter, ...]:
    """The trained forms of a folder, in their order."""
    return tuple(TrainedPainter(form.name, network_path(folder, form), 2**form.levels) for form in FORMS)
