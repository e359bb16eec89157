"""Which library runs a detector's networks; chosen without importing any that is not used."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from pydantic import Field

from deepfake.values import Value

GPU_PLACES = ("/dev/nvidiactl", "/dev/nvidia0", "/dev/dxg", "/dev/kfd", "/dev/nvhost-ctrl-gpu", "/dev/nvmap")


class Engine(Value):
    """What ran the networks."""

    name: Literal["ONNX Runtime", "PyTorch"]
    version: str
    device: str = Field(description="CPU, or the name of the GPU.")
    precision: Literal["fp32", "bf16"] = Field(
        description="fp32: the same scores on every machine, to 0.001; bf16, with --fast alone, moves single ones more."
    )

    @property
    def words(self) -> str:
        """The same in one line."""
        return f"{self.name} {self.version} on {self.device}, {self.precision}"


def has_torch() -> bool:
    """Whether PyTorch and timm, of which our networks are made, can be imported; that alone costs nothing."""
    return all(_can_be_imported(name) for name in ("torch", "timm"))


def _can_be_imported(name: str) -> bool:
    return sys.modules[name] is not None if name in sys.modules else find_spec(name) is not None


def may_have_gpu(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether there may be a GPU that PyTorch knows as CUDA; no where surely not, without a look at PyTorch."""
    if environment.get("CUDA_VISIBLE_DEVICES", "all").strip() in ("", "-1"):
        return False
    windows = Path(environment.get("SYSTEMROOT", "C:/Windows"), "System32/nvcuda.dll")
    return any(Path(place).exists() for place in (*GPU_PLACES, windows))
