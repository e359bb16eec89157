import itertools

import numpy as np
import pytest

from deepfake import forged_clips
from deepfake.blend import FaceClip, Region
from deepfake.forged_clips import ClipMaterial, ForgedClip, Jitter, draw_span, forge_clip, known_landmarks, shown_part
from deepfake.forgeries import FAMILIES, Face
from face_pictures import face

STILL = face(0, side_px=96)
MOVE = np.array([2, 1])  # pixels a frame


def still_clip(n_frames: int = 6) -> FaceClip:
    """The same frame again and again."""
    return FaceClip([STILL.picture] * n_frames, np.stack([STILL.landmarks] * n_frames))


def moving_clip(n_frames: int = 6) -> FaceClip:
    """A window that slides over a picture: the face moves by MOVE in every frame."""
    whole = face(1, side_px=130)  # all that a family may change stays inside
    frames, points = [], []
    for i in range(n_frames):
        x, y = np.array([24, 22]) - i * MOVE
        frames.append(np.ascontiguousarray(Region(x, y, x + 96, y + 96).of(whole.picture)))
        points.append(whole.landmarks - [x, y])
    return FaceClip(frames, np.stack(points))


def made(
    clip: FaceClip, family: str, seed: int = 0, jitter: str | None = "none", span: bool = False, step_s: float = 10.0
) -> ForgedClip:
    return forge_clip(
        clip, {family: 1.0}, ClipMaterial(lambda _: face(3)), np.random.default_rng(seed), span, step_s, jitter
    )


def changes(clip: FaceClip, forged: ForgedClip) -> np.ndarray:
    """What was added to each frame, (T, H, W, C)."""
    return np.stack(forged.frames).astype(int) - np.stack(clip.frames)


@pytest.mark.parametrize("family", FAMILIES)
def test_one_draw_is_replayed_over_all_frames(family: str) -> None:
    clip = still_clip(3)
    forged = made(clip, family)
    assert changes(clip, forged).any()
    assert all((frame == forged.frames[0]).all() for frame in forged.frames)


def test_without_jitter_what_is_changed_moves_with_the_face() -> None:
    clip = moving_clip()
    for seed in range(4):
        added = changes(clip, made(clip, "self_blend", seed))
        middle = added[0, 20:76, 20:76]
        assert np.abs(middle).max() > 2
        for i in range(1, 6):
            dx, dy = i * MOVE
            moved = added[i, 20 + dy : 76 + dy, 20 + dx : 76 + dx]
            assert np.abs(moved - middle).mean() < 0.1 * np.abs(added[i, 20:76, 20:76] - middle).mean() + 0.02


@pytest.mark.parametrize("jitter", ["mask", "colour", "position"])
@pytest.mark.parametrize("family", ["twin", "lip_sync"])
def test_jitter_makes_every_frame_a_little_different(family: str, jitter: str) -> None:
    clip = still_clip()
    steady, shaken = changes(clip, made(clip, family)), made(clip, family, jitter=jitter)
    assert shaken.name.endswith(f"+{jitter}_jitter")
    added = changes(clip, shaken)
    for one, next_one in itertools.pairwise(added):
        assert 0 < np.abs(one - next_one).mean() < 8
    assert np.abs(added.mean(0) - steady.mean(0)).mean() < 4, "about the steady one"


@pytest.mark.parametrize("jitter", ["colour", "position"])
def test_colours_flicker_and_faces_shake_only_where_something_is_forged(jitter: str) -> None:
    clip = still_clip()
    eyes = round(STILL.landmarks[:2, 1].max()) - 6
    assert not changes(clip, made(clip, "lip_sync", jitter=jitter))[:, :eyes].any()


def test_a_drift_and_a_tremble_have_the_same_spread() -> None:
    for seed in range(4):  # of both kinds
        assert forged_clips.wander(np.random.default_rng(seed), 4000).std() == pytest.approx(1, abs=0.12)


def test_an_unknown_jitter_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match="'sound': wanted one of none, mask, colour, position"):
        Jitter.draw("sound", 3, np.random.default_rng(0))


def test_a_span_is_forged_where_it_says_and_the_rest_is_real() -> None:
    clip = still_clip(8)
    for seed in range(6):
        forged = made(clip, "local_warp", seed, jitter="mask", span=True)
        changed_T = changes(clip, forged).any((1, 2, 3))
        assert changed_T.tolist() == forged.forged_T.tolist()
        assert 2 <= changed_T.sum() <= 6
        assert np.abs(np.diff(np.r_[0, changed_T, 0])).sum() == 2, "one run"
        assert forged.name.endswith("+mask_jitter+span")


def test_a_span_is_drawn_among_the_frames_that_are_known() -> None:
    known_T = np.array([0, 1, 1, 1, 1, 0, 0, 1, 1], bool)
    for seed in range(20):
        span_T = draw_span(known_T, np.random.default_rng(seed))
        assert not (span_T & ~known_T).any()
        assert 2 <= span_T.sum() <= 5
    assert draw_span(known_T[:4], np.random.default_rng(0)).tolist() == [False, True, True, True]


def test_equal_seeds_give_equal_bytes_and_other_seeds_other_ones() -> None:
    clip = moving_clip(4)
    shares = {"self_blend": 1.0, "twin": 1.0, "resynthesis": 1.0}

    def whole(seed: int) -> tuple[str, bytes]:
        forged = forge_clip(clip, shares, ClipMaterial(), np.random.default_rng(seed), span=True)
        return forged.name, np.stack(forged.frames).tobytes()

    assert whole(1) == whole(1)
    assert len({whole(seed) for seed in range(4)}) == 4


def test_the_clip_given_is_left_as_it_was() -> None:
    clip = moving_clip(3)
    before = np.stack(clip.frames).copy()
    made(clip, "self_blend", jitter="position")
    assert (np.stack(clip.frames) == before).all()


def test_a_clip_of_one_frame_is_forged_even_as_a_span_and_with_jitter() -> None:
    clip = still_clip(1)
    for jitter in ("none", "mask", "colour", "position"):
        forged = made(clip, "self_blend", jitter=jitter, span=True)
        assert forged.forged_T.tolist() == [True]
        assert changes(clip, forged).any()


def test_frames_without_landmarks_are_bridged_if_few_and_left_alone_if_many() -> None:
    clip = still_clip(14)
    clip.landmarks[1] = np.nan
    clip.landmarks[3:13] = np.nan
    forged = made(clip, "twin", jitter="colour")
    assert forged.forged_T.tolist() == [True] * 3 + [False] * 10 + [True]
    assert changes(clip, forged).any((1, 2, 3)).tolist() == forged.forged_T.tolist()


@pytest.mark.parametrize("points", [np.nan, 0.0])
def test_a_clip_without_landmarks_is_resynthesised_whole(points: float) -> None:
    clip = FaceClip(still_clip(2).frames, np.full((2, 5, 2), points))
    forged = made(clip, "lip_sync")
    assert forged.name.startswith("resynthesis/")
    assert changes(clip, forged).any((1, 2, 3)).all()


def test_landmarks_of_frames_that_stand_close_are_smoothed_and_others_are_not() -> None:
    clip = still_clip(9)
    clip.landmarks[4] += 3
    near, far = known_landmarks(clip, 0.04), known_landmarks(clip, 0.5)
    assert 0.5 < (near[4] - STILL.landmarks).max() < 2
    assert far == pytest.approx(clip.landmarks)


def test_other_people_are_those_of_the_frame() -> None:
    asked: list[int] = []

    def donor(index: int) -> Face:
        asked.append(index)
        return face(3)

    forge_clip(still_clip(3), {"cross_identity": 1.0}, ClipMaterial(donor), np.random.default_rng(0))
    assert asked == [0, 1, 2]
    assert ClipMaterial().of(0).find_donor is None


def test_every_window_of_the_shown_part_has_some_of_the_forged_span() -> None:
    for start, end in ((0, 3), (10, 14), (18, 32), (31, 32)):
        forged_T = np.zeros(32, bool)
        forged_T[start:end] = True
        part = shown_part(forged_T, 8)
        shown_T = forged_T[part]
        assert shown_T.sum() == end - start
        windows = [shown_T[i : i + 8].sum() for i in range(max(len(shown_T) - 8, 0) + 1)]
        assert min(windows) >= min(end - start, 2)
    assert shown_part(np.ones(5, bool), 8) == slice(0, 5)
    with pytest.raises(ValueError, match="none is forged"):
        shown_part(np.zeros(5, bool), 8)
