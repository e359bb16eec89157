"""Average linkage: groups by hand, the same as SciPy's, whatever the order."""

import numpy as np
import pytest
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform

from deepfake.catalog.clustering import average_linkage


def directions(*degrees: float) -> np.ndarray:
    angles = np.deg2rad(degrees)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


def together(groups: np.ndarray) -> np.ndarray:
    return groups[:, None] == groups[None]


def test_the_mean_likeness_decides_not_the_nearest_member() -> None:
    """0 and 40 degrees are joined first (cos .77); 85 has cos .71 with 40, but on average only .40 with both."""
    assert average_linkage(directions(0, 40, 85), 0.5).tolist() == [0, 0, 1]
    assert average_linkage(directions(0, 40, 85), 0.39).tolist() == [0, 0, 0]


def test_groups_are_numbered_by_their_first_member() -> None:
    assert average_linkage(directions(90, 0, 91, 1), 0.9).tolist() == [0, 1, 0, 1]


def test_nobody_one_and_equal_ones() -> None:
    assert average_linkage(np.zeros((0, 2), np.float32), 0.5).tolist() == []
    assert average_linkage(directions(3), 0.5).tolist() == [0]
    assert average_linkage(directions(3, 3, 3), 0.5).tolist() == [0, 0, 0]
    assert average_linkage(directions(0, 60), 0.6).tolist() == [0, 1]


def test_a_tie_goes_the_same_way_each_time() -> None:
    """The middle one is as like to the left as to the right."""
    found = [average_linkage(directions(0, 30, 60), 0.8).tolist() for _ in range(3)]
    assert found == [[0, 0, 1]] * 3


@pytest.mark.parametrize("seed", range(40))
def test_the_groups_are_those_of_scipy_in_any_order(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n, d = int(rng.integers(2, 50)), int(rng.integers(2, 6))
    vectors = rng.normal(size=(n, d)) + 1.5 * rng.integers(0, 3, (n, 1))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    similarity = float(rng.uniform(-0.2, 0.99))
    distances = 1 - vectors @ vectors.T
    np.fill_diagonal(distances, 0)
    wanted = fcluster(linkage(squareform(distances, checks=False), "average"), 1 - similarity, "distance")
    found = average_linkage(vectors, similarity)
    assert (together(found) == together(wanted)).all()
    order = rng.permutation(n)
    assert (together(average_linkage(vectors[order], similarity)) == together(found)[np.ix_(order, order)]).all()
