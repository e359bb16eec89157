"""Average linkage of unit vectors: groups whose members are alike on average, in memory that grows with their number.

Letters: N vectors, D numbers of each.
"""

from __future__ import annotations

import numpy as np

EVEN = 1e-9  # likenesses that differ by less are the same: rounding must not turn a chain into a circle


def average_linkage(vectors_ND: np.ndarray, min_similarity: float) -> np.ndarray:
    """The group (N,) of each vector: the pair of groups that is most alike is joined, while it is at least so alike.

    How alike two groups are is the mean product of their members, one of each: that is the product of their means, so
    no table of all pairs is needed. Groups are numbered by their first member. The chains of nearest neighbours that
    are followed lead to the same groups (a joined group is never more alike to a third than the better of its parts).
    """
    n = len(vectors_ND)
    groups = _Groups(vectors_ND.astype(np.float64), min_similarity)
    for first in range(n):
        groups.follow(first)
    _, numbers = np.unique(groups.owner_N, return_inverse=True)
    return np.asarray(numbers, np.int64)


class _Groups:
    """Groups on their way: each is known by its first member, whose row holds the sum of all."""

    def __init__(self, vectors_ND: np.ndarray, min_similarity: float) -> None:
        self.min_similarity = min_similarity
        self.owner_N = np.arange(len(vectors_ND))
        # The open groups only, in the order of their first members: finished ones leave.
        self._first_G = np.arange(len(vectors_ND))
        self._sums_GD, self._sizes_G = vectors_ND.copy(), np.ones(len(vectors_ND))

    def follow(self, first: int) -> None:
        """Join along a chain of nearest neighbours from this group on, until the chain is used up."""
        chain: list[tuple[int, float]] = [(first, -np.inf)] if self._place(first) is not None else []
        while chain:
            group, to_last = chain[-1]
            nearest, alike = self._nearest(group)
            if len(chain) > 1 and to_last >= self.min_similarity and alike <= to_last + EVEN:
                chain.pop()
                other, _ = chain.pop()
                self._join(min(group, other), max(group, other))
                if not chain and self._place(min(group, other)) is not None:
                    chain = [(min(group, other), -np.inf)]
            elif nearest is None or alike < self.min_similarity:
                self._finish(group)
                chain.pop()
            else:
                chain.append((nearest, alike))

    def _place(self, first: int) -> int | None:
        place = int(np.searchsorted(self._first_G, first))
        return place if place < len(self._first_G) and self._first_G[place] == first else None

    def _nearest(self, first: int) -> tuple[int | None, float]:
        place = self._place(first)
        assert place is not None
        alike_G = (self._sums_GD @ self._sums_GD[place]) / (self._sizes_G * self._sizes_G[place])
        alike_G[place] = -np.inf
        best = int(alike_G.argmax())
        return (None, -np.inf) if best == place else (int(self._first_G[best]), float(alike_G[best]))

    def _join(self, kept: int, gone: int) -> None:
        a, b = self._place(kept), self._place(gone)
        assert a is not None and b is not None
        self._sums_GD[a] += self._sums_GD[b]
        self._sizes_G[a] += self._sizes_G[b]
        self.owner_N[self.owner_N == gone] = kept
        self._remove(b)

    def _finish(self, first: int) -> None:
        """No other group is like this one, nor will one that is joined later be."""
        place = self._place(first)
        assert place is not None
        self._remove(place)

    def _remove(self, place: int) -> None:
        self._first_G = np.delete(self._first_G, place)
        self._sums_GD = np.delete(self._sums_GD, place, axis=0)
        self._sizes_G = np.delete(self._sizes_G, place)
