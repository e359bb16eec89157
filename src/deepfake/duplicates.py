"""Near-duplicates among perceptual hashes: all pairs by Hamming distance."""

from __future__ import annotations

import numba
import numpy as np


def as_words(hashes: list[str]) -> np.ndarray:
    """Hashes as (n, 4) uint64."""
    raw = b"".join(bytes.fromhex(h) for h in hashes)
    return np.frombuffer(raw, dtype=">u8").astype(np.uint64).reshape(-1, 4)


@numba.njit(cache=True)
def _bits(word: np.uint64) -> int:
    word = word - ((word >> np.uint64(1)) & np.uint64(0x5555555555555555))
    word = (word & np.uint64(0x3333333333333333)) + ((word >> np.uint64(2)) & np.uint64(0x3333333333333333))
    word = (word + (word >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return int((word * np.uint64(0x0101010101010101)) >> np.uint64(56))


@numba.njit(cache=True)
def _near(words: np.ndarray, owners: np.ndarray, max_bits: int) -> list[tuple[int, int]]:
    pairs = [(0, 0) for _ in range(0)]
    for i in range(len(words)):
        for j in range(i + 1, len(words)):
            if owners[i] == owners[j]:
                continue
            distance = 0
            for k in range(4):
                distance += _bits(words[i, k] ^ words[j, k])
                if distance > max_bits:
                    break
            if distance <= max_bits:
                pairs.append((owners[i], owners[j]))
    return pairs


def near_pairs(words: np.ndarray, owners: np.ndarray, max_bits: int) -> list[tuple[int, int]]:
    """Sorted pairs of owners that have hashes with at most `max_bits` different bits; `words` (n, 4), `owners` (n,)."""
    if len(words) < 2:
        return []
    return sorted({(min(a, b), max(a, b)) for a, b in _near(words, owners.astype(np.int64), max_bits)})
