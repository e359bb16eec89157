"""What a detector's verdicts were worth elsewhere, in words, and as its file keeps it."""

import pytest

from deepfake.ensemble.promise import Broken, Rule, read_promise, sentences, short_words
from promises import NO_BOUND, REFUSED, promise

RULE = Rule(0.1, 0.5)


def test_a_promise_is_told_in_plain_words() -> None:
    broken = (Broken(kind="family", name="lipsync", n_decided=9, n_wrong=3),)
    assert sentences(promise(broken=broken), RULE) == [
        "Its verdicts were tested on 298 videos (182 forged) of 23 groups of sources that it never learnt from, each "
        "group by bounds found on the others.",
        "“Likely forged” was wrong 4 of 87 times (videos of 9 groups): 5 % where 50 % of all videos are forged, up to "
        "9 % at 95 % confidence.",
        "It never says “likely real”: at its best that was wrong 50 of 86 times (videos of 7 groups): 48 % where 50 % "
        "of all videos are forged, up to 62 % at 95 % confidence, and 10 % is allowed.",
        "More than 10 % of its verdicts were wrong for: lipsync (3 of 9).",
    ]


def test_a_verdict_without_a_bound_has_no_figures() -> None:
    said = sentences(promise(NO_BOUND, NO_BOUND), RULE)
    assert said[1] == "It never says “likely forged”: no bound was found beyond which few enough were wrong."
    assert said[2].startswith("It never says “likely real”: no bound") and len(said) == 3


def test_a_detector_of_which_nothing_is_known_says_so() -> None:
    (said,) = sentences(None, RULE)
    assert "never tested on videos from sources that it did not know" in said
    assert short_words(None, "likely real") == "never tested on other sources"
    assert short_words(None, "inconclusive") == ""


def test_a_line_has_room_for_the_verdict_at_hand() -> None:
    assert short_words(promise(), "likely forged") == "on other sources 4 of 87 such verdicts were wrong"
    assert short_words(promise(), "inconclusive") == "", "it gives one verdict, only not here"
    assert short_words(promise(REFUSED), "inconclusive") == "this detector can promise no verdict on other sources"


def test_a_header_keeps_it_and_an_older_one_has_none() -> None:
    header = {"stack": {"band": [0.0, 0.7]}, "promise": promise().model_dump(mode="json")}
    assert read_promise(header) == promise()
    assert read_promise({"stack": {"band": [0.3, 0.7]}}) is None


@pytest.mark.parametrize("band", [[0.3, 0.7], [0.1, 1.0]])
def test_a_band_that_gives_what_was_not_promised_is_refused(band: list[float]) -> None:
    header = {"stack": {"band": band}, "promise": promise().model_dump(mode="json")}
    with pytest.raises(ValueError, match="gives the verdict real, which was not promised"):
        read_promise(header)
