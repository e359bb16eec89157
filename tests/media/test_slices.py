"""Quantisers in the headers of H.264 packets, beside what an encoder was told to use."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import clip_factory
from deepfake.media.coded import read_coded
from deepfake.media.slices import H264Headers, units

QP = 30


def coded_with(path: Path, **options: str) -> Path:
    settings = {"crf": "-1", "qp": str(QP), "preset": "veryfast", **options}
    return clip_factory.write(path, clip_factory.Coding(options=tuple(settings.items()), n_frames=30))


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"profile": "baseline", "bf": "0"},
        {"x264-params": "weightp=2:ref=4:bframes=3:b-pyramid=normal:cabac=0"},
        {"x264-params": "interlaced=1"},
        {"x264-params": "aud=1:slices=3"},
    ],
)
@pytest.mark.parametrize("suffix", [".mp4", ".ts"])
def test_the_quantiser_is_the_one_that_the_encoder_was_told(
    options: dict[str, str], suffix: str, tmp_path: Path
) -> None:
    coded = read_coded(coded_with(tmp_path / f"clip{suffix}", **options))
    told = {"I": QP - 3, "P": QP, "B": QP + 2}  # x264's ipratio 1.4 and pbratio 1.3, in steps of 6 a doubling
    for kind, quantiser in zip(coded.kinds_N, coded.quantisers_N, strict=True):
        assert quantiser == pytest.approx(told[str(kind)], abs=1)
    assert np.isfinite(coded.quantisers_N).all() and len(coded.kinds_N) == 30


def test_thousands_of_damaged_headers_raise_nothing(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    headers = H264Headers(0)
    for _ in range(3000):
        body = bytes(rng.integers(0, 256, 40, dtype=np.uint8))
        kind = bytes([0x60 | int(rng.choice([1, 5, 7, 8]))])
        found = headers.read(memoryview(b"\0\0\1" + kind + body + b"\0\0\1\x65" + body))
        assert found is None or 0 <= found.quantiser <= 51


@pytest.mark.parametrize("length", [0, 3, 2**31])
def test_lengths_that_cannot_be_end_the_packet(length: int) -> None:
    packet = memoryview(length.to_bytes(4, "big") + b"\x65\1\2")
    assert len(list(units(packet, 4))) <= 1


def test_parameters_that_come_again_unchanged_are_no_change(tmp_path: Path) -> None:
    path = coded_with(tmp_path / "clip.ts", g="5")
    assert read_coded(path).changes == ()
