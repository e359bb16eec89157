"""Damage of whole videos: what a level does to a frame, what stays as it was, which levels may be asked for."""

import numpy as np
import pytest

from deepfake.errors import UserError
from lab.distortions import KINDS, Distortion, choose


def flat(value: int, width_px: int = 64, height_px: int = 48) -> np.ndarray:
    return np.full((height_px, width_px, 3), value, np.uint8)


def busy(seed: int = 0) -> np.ndarray:
    """Soft and sharp detail in all colours."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(40, 200, (12, 16, 3)).repeat(4, 0).repeat(4, 1)
    return np.clip(coarse + rng.normal(0, 6, (48, 64, 3)), 0, 255).astype(np.uint8)


def one(kind: str, level: float | None, frame: np.ndarray) -> np.ndarray:
    (damaged,) = Distortion(kind, level).apply([frame], seed=0)
    return damaged


def test_brightness_multiplies_and_contrast_draws_towards_middle_grey() -> None:
    assert (one("brightness", 0.5, flat(200)) == 100).all()
    assert (one("contrast", 0.5, flat(228)) == 178).all()
    assert (one("contrast", 0.5, flat(128)) == 128).all()
    assert (one("brightness", 2, flat(200)) == 255).all()


def test_scale_makes_the_picture_smaller_and_never_smaller_than_a_macroblock() -> None:
    assert one("scale", 0.5, busy()).shape == (24, 32, 3)
    assert one("scale", 0.25, busy()).shape == (16, 16, 3)
    assert (one("scale", 0.5, flat(77)) == 77).all()


def test_blur_spreads_a_dot_and_leaves_a_flat_picture_alone() -> None:
    dot = flat(0)
    dot[24, 32] = 255
    spread = one("blur", 7, dot)
    assert 0 < spread[24, 32, 0] < 60 and spread[24, 34, 0] > 0 and spread[24, 37, 0] == 0
    assert (one("blur", 21, flat(90)) == 90).all()


def test_noise_has_the_variance_it_is_asked_for() -> None:
    noisy = one("noise", 0.001, np.full((200, 200, 3), 128, np.uint8)).astype(float)
    luma = noisy @ [0.299, 0.587, 0.114]
    assert luma.mean() == pytest.approx(128, abs=0.5)
    assert luma.std() == pytest.approx(255 * 0.001**0.5, rel=0.1)


def test_noise_differs_from_frame_to_frame_and_is_the_same_on_the_next_run() -> None:
    first, second = Distortion("noise", 0.01).apply([flat(128), flat(128)], seed=3)
    again, _ = Distortion("noise", 0.01).apply([flat(128), flat(128)], seed=3)
    other, _ = Distortion("noise", 0.01).apply([flat(128), flat(128)], seed=4)
    assert (first == again).all() and (first != second).any() and (first != other).any()


def test_fewer_frames_a_second_keeps_one_in_so_many() -> None:
    kept = list(Distortion("fps", 4).apply((flat(i) for i in range(10)), seed=0))
    assert [frame[0, 0, 0] for frame in kept] == [0, 4, 8]
    assert Distortion("fps", 4).slowdown == 4 and Distortion("jpeg", 40).slowdown == 1


def test_a_cut_leaves_the_first_frames_and_asks_for_no_more() -> None:
    frames = (flat(i) for i in range(10))
    assert [frame[0, 0, 0] for frame in Distortion("cut", 2).apply(frames, seed=0)] == [0, 1]
    assert next(frames)[0, 0, 0] == 2, "the rest of a long video is not decoded"


@pytest.mark.parametrize("distortion", [Distortion("none"), Distortion("h264", 40)])
def test_what_the_codec_does_leaves_the_frames_as_they_are(distortion: Distortion) -> None:
    assert (one(distortion.kind, distortion.level, busy()) == busy()).all()


@pytest.mark.parametrize("kind", ["jpeg", "blur", "noise", "brightness", "contrast"])
def test_each_next_level_does_more_harm(kind: str) -> None:
    harm = [np.abs(one(kind, level, busy()).astype(int) - busy()).mean() for level in KINDS[kind].levels]
    assert harm == sorted(harm) and harm[0] < harm[-1]


@pytest.mark.parametrize("kind", list(KINDS))
def test_frames_stay_pictures_and_are_not_changed_in_place(kind: str) -> None:
    for level in KINDS[kind].levels or (None,):
        frame = busy()
        damaged = one(kind, level, frame)
        assert damaged.dtype == np.uint8 and damaged.ndim == 3 and (frame == busy()).all()


def test_no_frames_give_no_frames() -> None:
    assert list(Distortion("noise", 0.01).apply([], seed=0)) == []


def test_the_undamaged_rows_always_come_first() -> None:
    names = [distortion.name for distortion in choose(["h264", "jpeg"], ["jpeg=40,10"])]
    assert names == ["original", "none", "jpeg 40", "jpeg 10", "h264 23", "h264 28", "h264 32", "h264 36", "h264 40"]


def test_all_kinds_are_meant_where_none_is_named_and_levels_name_their_kind() -> None:
    assert len(choose()) == 2 + sum(len(kind.levels) for kind in KINDS.values() if not kind.harmless)
    assert [distortion.name for distortion in choose([], ["scale=0.4"])][2:] == ["scale 0.4"]


@pytest.mark.parametrize(
    ("kinds", "levels", "words"),
    [
        (["jpg"], [], "--kinds: found 'jpg', wanted of jpeg, h264"),
        ([""], [], "--kinds: found ''"),
        (["none"], [], "original and none always come along"),
        ([], ["jpeg"], "--levels jpeg: found '', wanted JPEG quality of each frame: 1 to 100"),
        ([], ["jpeg=101"], "such as jpeg=100,80,60,40,20,10"),
        ([], ["jpeg=40.5"], "in steps of 1"),
        ([], ["blur=8"], "1 to 99 in steps of 2"),
        ([], ["noise=nan"], "found 'nan'"),
        ([], ["=3"], "--levels: found ''"),
    ],
)
def test_a_wrong_kind_or_level_is_refused_with_what_was_wanted(kinds: list[str], levels: list[str], words: str) -> None:
    with pytest.raises(UserError) as caught:
        choose(kinds, levels)
    assert words in str(caught.value)
