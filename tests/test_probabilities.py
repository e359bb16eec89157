"""Logits to probabilities and back, without SciPy and in its very bits."""

import numpy as np
import pytest
import scipy.special

from deepfake.probabilities import expit, logit


def test_expit_and_logit_are_those_of_scipy_to_the_last_bit() -> None:
    rng = np.random.default_rng(0)
    logits = np.concatenate([rng.normal(0, scale, 3000) for scale in (0.1, 3, 40, 800)])
    assert expit(logits).tobytes() == scipy.special.expit(logits).tobytes()
    shares = np.concatenate([rng.uniform(0, 1, 6000), rng.uniform(0, 1, 2000) ** 9, 1 - rng.uniform(0, 1, 2000) ** 9])
    assert logit(shares).tobytes() == scipy.special.logit(shares).tobytes()


@pytest.mark.parametrize("value", [0.0, -0.0, 1.0, 0.3, 0.65, 0.5, -0.1, 1.1, np.nan, np.inf, -np.inf, 5e-324])
def test_edges_are_those_of_scipy(value: float) -> None:
    with np.errstate(all="ignore"):
        assert np.array_equal(logit(np.array(value)), scipy.special.logit(value), equal_nan=True)
        assert np.array_equal(expit(np.array(value)), scipy.special.expit(value), equal_nan=True)


def test_any_shape_is_kept() -> None:
    for shape in ((), (0,), (2, 3)):
        assert expit(np.zeros(shape)).shape == logit(np.full(shape, 0.5)).shape == shape
    assert expit(np.zeros((2, 1))).tolist() == [[0.5], [0.5]]
