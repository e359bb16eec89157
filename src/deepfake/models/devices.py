"""What networks run on: the device of a setting, its name, and the precision it is fast at."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from deepfake.errors import UserError


def choose_device(device: str) -> torch.device:
    """The device by the setting's word; auto: CUDA where there is one."""
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise UserError(f"predict.device={device}: PyTorch {torch.__version__} finds no CUDA here; use auto or cpu")
    if device == "mps" and not torch.backends.mps.is_available():
        raise UserError("predict.device=mps: there is no Apple GPU here; use auto or cpu")
    return torch.device(device)


def machine_of(device: torch.device) -> str:
    """What networks run on, in words."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device.type.upper()}, {torch.get_num_threads()} threads" if device.type == "cpu" else device.type.upper()


def is_fast_at_bf16(device: torch.device) -> bool:
    """Whether bfloat16 is worth its loss of digits on this device."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device)[0] >= 8
    if device.type != "cpu":
        return False
    # Older releases than the pinned one, as on Kaggle, cannot be asked.
    has: Mapping[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(has.get("amx_bf16") or has.get("avx512_bf16"))


def mixed_precision(precision: str, device: torch.device) -> str:
    """Accelerate's word (no, bf16, fp16) for a setting.

    A processor without instructions for bf16 took twelve times as long with it as in fp32, so auto looks first.
    """
    if precision == "auto":
        return "bf16" if is_fast_at_bf16(device) else "no"
    return "no" if precision == "fp32" else precision
