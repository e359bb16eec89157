"""Where networks run, and in which precision they learn there."""

import logging

import pytest
import torch

from deepfake.errors import UserError
from deepfake.models import devices
from deepfake.models.devices import choose_device, mixed_precision
from deepfake.settings import Frames
from deepfake.training import loop

CPU = torch.device("cpu")


def test_a_device_that_is_not_there_is_reported() -> None:
    assert choose_device("cpu").type == "cpu"
    if not torch.cuda.is_available():
        with pytest.raises(UserError, match="finds no CUDA here; use auto or cpu"):
            choose_device("cuda:1")


@pytest.mark.parametrize(("fast", "chosen"), [(True, "bf16"), (False, "no")])
def test_auto_takes_bf16_only_where_the_processor_is_fast_at_it(
    fast: bool, chosen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devices, "is_fast_at_bf16", lambda _: fast)
    assert mixed_precision("auto", CPU) == chosen
    assert [mixed_precision(word, CPU) for word in ("fp32", "bf16", "fp16")] == ["no", "bf16", "fp16"]


def test_a_processor_that_would_be_slow_in_bf16_is_logged(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(loop, "is_fast_at_bf16", lambda _: False)
    with caplog.at_level(logging.WARNING):
        assert loop._accelerator("bf16").mixed_precision == "bf16"
        assert "bf16: no instructions for it on CPU" in caplog.text
        caplog.clear()
        loop._accelerator("fp32")
        assert not caplog.text


@pytest.mark.parametrize("word", [False, "no", "fp32"])  # YAML reads a bare no as False
def test_no_mixed_precision_may_be_said_in_three_ways(word: object) -> None:
    assert Frames.model_validate({"precision": word}).precision == "fp32"
