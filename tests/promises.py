"""Promises of invented detectors."""

from __future__ import annotations

from deepfake.ensemble.promise import Broken, Promise, Tested

GIVEN = Tested(is_given=True, n_decided=87, n_wrong=4, n_groups=9, wrong_share=0.05, bound=0.09)
REFUSED = Tested(is_given=False, n_decided=86, n_wrong=50, n_groups=7, wrong_share=0.48, bound=0.62)
NO_BOUND = Tested(is_given=False, n_decided=0, n_wrong=0, n_groups=0, wrong_share=None, bound=None)


def promise(forged: Tested = GIVEN, real: Tested = REFUSED, broken: tuple[Broken, ...] = ()) -> Promise:
    """Of a detector that may say "likely forged" alone, unless told otherwise."""
    return Promise(n_videos=298, n_forged=182, n_groups=23, confidence=0.95, forged=forged, real=real, broken=broken)
