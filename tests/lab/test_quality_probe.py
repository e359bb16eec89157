"""Noise and detail: what their statistics see, whom a fold may not learn from, and what the probe tells apart."""

import numpy as np
import pandas as pd
import pytest

from lab.quality_probe import linked, probe, statistics

D = 6


def a_clip(label: int, source: str, identity: str = "", generator: str = "") -> dict[str, object]:
    family = "swap" if label else "real"
    return {"label": label, "source": source, "identity": identity, "generator": generator, "family": family}


def test_a_flat_picture_has_no_residual_and_a_noisy_face_more_of_it_than_its_surroundings() -> None:
    flat = np.full((220, 220, 3), 128, np.uint8)
    assert statistics(flat) == pytest.approx(statistics(np.full((300, 300, 3), 30, np.uint8)))
    noisy = flat.copy()
    noisy[70:150, 70:150] += np.random.default_rng(0).integers(0, 40, (80, 80, 1), np.uint8)
    face, beyond, difference = statistics(noisy)[:3]
    assert face > beyond and difference == pytest.approx(face - beyond)


def test_whoever_shares_a_publisher_a_person_or_a_generator_is_linked_and_nobody_is_nobody() -> None:
    clips = pd.DataFrame(
        [
            a_clip(1, "a", "-", "DFM (of A)"),
            a_clip(0, "a"),
            a_clip(1, "b", "", "DFM"),
            a_clip(0, "c", "-", ""),
            a_clip(1, "d", "p", "unknown"),
        ]
    )
    told = np.array([True, False, False, False, False])
    assert linked(clips, told).tolist() == [True, True, True, False, False]


def gathered(sign: float, start: int, rng: np.random.Generator) -> tuple[list[dict[str, object]], np.ndarray]:
    """Clips of 16 sources of which a feature tells the label, the other way round where `sign` is -1."""
    clips, features = [], []
    for source in range(start, start + 16):
        for _ in range(6):
            label = source % 2
            clips.append(a_clip(label, f"s{source}"))
            features.append(rng.normal(size=D) + np.eye(D)[0] * 3 * sign * (2 * label - 1))
    return clips, np.array(features)


@pytest.mark.parametrize(("sign", "low", "high"), [(1.0, 0.9, 1.0), (-1.0, 0.0, 0.1)])
def test_a_rule_of_gathering_looks_true_by_left_out_sources_and_is_told_by_another_collection(
    sign: float, low: float, high: float
) -> None:
    rng = np.random.default_rng(1)
    learnt, other = gathered(1.0, 0, rng), gathered(sign, 16, rng)
    clips = pd.DataFrame([*learnt[0], *other[0]])
    is_other = np.arange(len(clips)) >= len(learnt[0])
    found = probe(clips, np.concatenate([learnt[1], other[1]]), is_other)
    assert found.left_out.mean > 0.9 and found.left_out.n > 5
    assert low <= found.other["all"] <= high
    assert found.other["swap"] == found.other["all"]
