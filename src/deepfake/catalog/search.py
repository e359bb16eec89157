"""Picture hashes compared: which are near, which videos hold many of a clip's, and which seconds lie side by side.

All of it is counting bits that differ, without an index over the hashes: 32 of them against a million take about
0.1 s. Letters: N hashes of an index, V videos, P points in time of a clip, K variants of the hash of one (mirrored,
zoomed), W words of 64 bits in a hash.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numba
import numpy as np
from numba.core import types
from numba.extending import intrinsic

from deepfake.faces.descriptors import BITS, words_of


def as_words(hashes: Sequence[str]) -> np.ndarray:
    """Hashes of 64 hex digits as (N, 4) uint64."""
    return words_of(b"".join(bytes.fromhex(text) for text in hashes))


def _count_ones(_: Any, word: Any) -> Any:
    """How many bits of a word are set: the processor's own instruction."""

    def code(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        return builder.ctpop(args[0])

    assert isinstance(word, types.Integer), "a word of 64 bits"
    return types.uint64(types.uint64), code


_ones: Any = intrinsic(_count_ones)


@numba.njit(cache=True, nogil=True)
def _distance(a_W: np.ndarray, b_W: np.ndarray) -> int:
    return int(_ones(a_W[0] ^ b_W[0]) + _ones(a_W[1] ^ b_W[1]) + _ones(a_W[2] ^ b_W[2]) + _ones(a_W[3] ^ b_W[3]))


@numba.njit(cache=True)
def _near(words_NW: np.ndarray, owners_N: np.ndarray, max_bits: int) -> list[tuple[int, int]]:
    pairs = [(0, 0) for _ in range(0)]
    for i in range(len(words_NW)):
        for j in range(i + 1, len(words_NW)):
            if owners_N[i] != owners_N[j] and _distance(words_NW[i], words_NW[j]) <= max_bits:
                pairs.append((owners_N[i], owners_N[j]))
    return pairs


def near_pairs(words_NW: np.ndarray, owners_N: np.ndarray, max_bits: int) -> list[tuple[int, int]]:
    """Sorted pairs of owners that have hashes with at most `max_bits` different bits."""
    if len(words_NW) < 2:
        return []
    return sorted({(min(a, b), max(a, b)) for a, b in _near(words_NW, owners_N.astype(np.int64), max_bits)})


@numba.njit(cache=True, nogil=True)
def _gains(
    words_NW: np.ndarray,
    starts_V: np.ndarray,
    asked_WQ: np.ndarray,
    n_variants: int,
    max_bits: int,
    gains_V: np.ndarray,
) -> None:
    best_Q = np.empty(asked_WQ.shape[1], np.uint64)
    # Words of one place side by side: the loop over them is made to count several at once.
    a_Q, b_Q, c_Q, d_Q = asked_WQ[0], asked_WQ[1], asked_WQ[2], asked_WQ[3]
    for video in range(len(gains_V)):
        best_Q[:] = np.uint64(max_bits)
        for n in range(starts_V[video], starts_V[video + 1]):
            a, b, c, d = words_NW[n, 0], words_NW[n, 1], words_NW[n, 2], words_NW[n, 3]
            for q in range(len(best_Q)):
                bits = _ones(a ^ a_Q[q]) + _ones(b ^ b_Q[q]) + _ones(c ^ c_Q[q]) + _ones(d ^ d_Q[q])
                best_Q[q] = min(best_Q[q], bits)
        total = np.int64(0)
        for first in range(0, len(best_Q), n_variants):
            total += max_bits - int(best_Q[first : first + n_variants].min())
        gains_V[video] = total


def gains_of_videos(
    words_NW: np.ndarray, starts_V: np.ndarray, asked_PKW: np.ndarray, max_bits: int, threads: int = 1
) -> np.ndarray:
    """How much each video has of a clip (V,): how many bits nearer than `max_bits` the nearest hash of each point is.

    Video v has the hashes `starts_V[v]` to `starts_V[v + 1]`. The threads share the videos.
    """
    gains_V = np.zeros(len(starts_V) - 1, np.int64)
    asked_WQ = np.ascontiguousarray(asked_PKW.reshape(-1, BITS // 64).T)
    bounds = np.linspace(0, len(gains_V), threads * 4 + 1).astype(int)

    def work(first: int, end: int) -> None:
        _gains(words_NW, starts_V[first : end + 1], asked_WQ, asked_PKW.shape[1], max_bits, gains_V[first:end])

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(work, bounds[:-1], bounds[1:]))
    return gains_V


@numba.njit(cache=True, nogil=True)
def distance_table(asked_PKW: np.ndarray, words_NW: np.ndarray) -> np.ndarray:
    """Bits (P, N) between each point's nearest variant and each hash."""
    bits_PN = np.full((len(asked_PKW), len(words_NW)), BITS + 1, np.int32)
    for p in range(len(asked_PKW)):
        for k in range(asked_PKW.shape[1]):
            for n in range(len(words_NW)):
                bits_PN[p, n] = min(bits_PN[p, n], _distance(asked_PKW[p, k], words_NW[n]))
    return bits_PN


@numba.njit(cache=True, nogil=True)
def distances_along(asked_PKW: np.ndarray, words_NW: np.ndarray, points_N: np.ndarray) -> np.ndarray:
    """Bits (N,) between each hash and the nearest variant of the point that `points_N` sets beside it; -1 is none."""
    bits_N = np.full(len(words_NW), BITS + 1, np.int32)
    for n in range(len(words_NW)):
        if points_N[n] >= 0:
            for k in range(asked_PKW.shape[1]):
                bits_N[n] = min(bits_N[n], _distance(asked_PKW[points_N[n], k], words_NW[n]))
    return bits_N
