"""Perceptual hashes: the same scene within a few bits, another one far away, flat pictures silent."""

import cv2
import numpy as np
import pytest

from deepfake.catalog.search import as_words, near_pairs
from deepfake.faces.hashes import perceptual_hash


def landscape(seed: int, width_px: int = 64, height_px: int = 36) -> np.ndarray:
    """Blobs of all sizes, the larger the stronger, as in photographs."""
    rng = np.random.default_rng(seed)
    layers = [
        cv2.resize(rng.normal(0, 60 / 2**i, (3 * 2**i, 5 * 2**i)), (width_px, height_px), interpolation=cv2.INTER_CUBIC)
        for i in range(5)
    ]
    return np.clip(128 + np.sum(layers, 0), 0, 255).astype(np.uint8)


def bits_between(one: np.ndarray, two: np.ndarray) -> int:
    return (int(perceptual_hash(one), 16) ^ int(perceptual_hash(two), 16)).bit_count()


def test_a_hash_is_256_bits_in_hexadecimal() -> None:
    text = perceptual_hash(landscape(0))
    assert len(text) == 64 and 64 <= int(text, 16).bit_count() <= 192


def test_the_same_picture_has_the_same_hash() -> None:
    assert bits_between(landscape(1), landscape(1)) == 0


@pytest.mark.parametrize("seed", range(5))
def test_brightness_contrast_size_and_recompression_change_few_bits(seed: int) -> None:
    picture = landscape(seed, 640, 360)
    brighter = np.clip(picture.astype(int) + 15, 0, 255).astype(np.uint8)
    flatter = (picture * 0.8).astype(np.uint8)
    jpeg = cv2.imdecode(cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 40])[1], cv2.IMREAD_GRAYSCALE)
    for other in (brighter, flatter, jpeg, cv2.resize(picture, (160, 90), interpolation=cv2.INTER_AREA)):
        assert bits_between(picture, other) <= 24


def test_another_picture_differs_in_about_half_the_bits() -> None:
    distances = [bits_between(landscape(i), landscape(j)) for i in range(8) for j in range(i)]
    assert min(distances) > 60


@pytest.mark.parametrize("grey", [0, 1, 16, 128, 137, 235, 255])
def test_a_flat_picture_says_nothing(grey: int) -> None:
    assert int(perceptual_hash(np.full((36, 64), grey, np.uint8)), 16) == 0


def test_a_picture_of_one_pixel_has_a_hash() -> None:
    assert len(perceptual_hash(np.full((1, 1), 7, np.uint8))) == 64


def random_hashes(n: int) -> list[str]:
    """Some near each other: each third is the one before with a few bits turned."""
    rng = np.random.default_rng(4)
    values = [int.from_bytes(rng.bytes(32), "big") for _ in range(n)]
    for i in range(2, n, 3):
        values[i] = values[i - 1]
        for bit in rng.choice(256, int(rng.integers(0, 40)), replace=False):
            values[i] ^= 1 << int(bit)
    return [f"{value:064x}" for value in values]


@pytest.mark.parametrize("max_bits", [0, 10, 24, 128])
def test_near_pairs_agree_with_counting_all_bits(max_bits: int) -> None:
    hashes = random_hashes(60)
    owners = np.arange(60) // 2
    bits = np.array([[int(c) for c in f"{int(h, 16):0256b}"] for h in hashes])
    near = (bits[:, None] != bits[None]).sum(2) <= max_bits
    wanted = {
        (int(min(owners[i], owners[j])), int(max(owners[i], owners[j])))
        for i, j in np.argwhere(near)
        if owners[i] != owners[j]
    }
    assert near_pairs(as_words(hashes), owners, max_bits) == sorted(wanted)


def test_hashes_of_one_owner_are_no_pair() -> None:
    assert near_pairs(as_words(["ab" * 32, "ab" * 32]), np.array([3, 3]), 0) == []


def test_no_or_one_hash_makes_no_pair() -> None:
    assert near_pairs(as_words([]), np.zeros(0, np.int64), 24) == []
    assert near_pairs(as_words(["00" * 32]), np.array([0]), 24) == []
