"""Sound beside mouths: drawn people whose mouths and voices follow known curves, and sound that is odd or broken."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from deepfake.detector.check import Sign
from deepfake.evidence import gathering
from deepfake.evidence import sound as evidence_sound
from deepfake.evidence.mouth import place_at
from deepfake.evidence.signs import Examined, Found
from deepfake.evidence.sound import choose_window, find
from deepfake.faces.extracted import Extraction, StoredFace
from deepfake.media.file_facts import describe_path
from deepfake.media.sound import RATE_HZ, Sound
from evidence_groups import bare_check
from sound_clips import Track, drawn_face_box, syllables, talking, voice, write_sound_clip

LENGTH_S, FPS = 6.4, 20
SLOW_FORMS = [pytest.param(form, marks=pytest.mark.slow) for form in ("telephone", "short", "long")]
MOUTH, OTHER = syllables(3), syllables(9)


@cache
def spoken(late_s: float = 0.0, seed: int = 0) -> np.ndarray:
    return voice(MOUTH, LENGTH_S, late_s, seed)


@pytest.fixture(scope="module")
def frames() -> list[np.ndarray]:
    return list(talking([MOUTH], LENGTH_S, FPS))


def face(track: int, time_s: float, x0_px: float = 0.0) -> StoredFace:
    x0, y0, x1, y1, landmarks = drawn_face_box(track)
    shifted = tuple(value + x0_px * (i % 2 == 0) for i, value in enumerate(landmarks))
    return StoredFace(
        shot=0,
        track=track,
        frame_index=round(time_s * FPS),
        time_s=time_s,
        x0_px=x0 + x0_px,
        y0_px=y0,
        x1_px=x1 + x0_px,
        y1_px=y1,
        score=1.0,
        is_detected=True,
        landmarks=shifted,
        crop_x0_px=0.0,
        crop_y0_px=0.0,
        crop_side_px=100.0,
        sharpness=9.0,
        shard="none",
        offset=0,
        size=0,
    )


def found_in(path: Path, n_faces: int = 1) -> Found:
    """What is found in a clip of `talking`, as if faces had been sampled in it every half second."""
    return find(examined(path, n_faces))


def examined(path: Path, n_faces: int = 1) -> Examined:
    faces = tuple(face(track, float(t)) for track in range(n_faces) for t in np.arange(0.1, LENGTH_S, 0.5))
    check = bare_check(str(path)).model_copy(update={"video": describe_path(path)})
    return Examined(path, check, Extraction("v", faces=faces), path.parent)


def signs_in(path: Path, n_faces: int = 1) -> list[Sign]:
    return list(found_in(path, n_faces).signs)


def kinds(signs: Sequence[Sign]) -> list[str]:
    return [sign.kind for sign in signs]


def test_a_mouth_with_its_own_sound_gets_curves_and_no_sign(tmp_path: Path, frames: list[np.ndarray]) -> None:
    found = found_in(write_sound_clip(tmp_path / "own.mp4", frames, FPS, [Track(spoken())]))
    assert found.signs == ()
    assert [curve.name for curve in found.curves] == ["loudness of the voice's band", "opening of the mouth of face 0"]
    assert {part.title for part in found.parts} == {"somebody speaks"}


@pytest.mark.parametrize("late_s", [0.4, pytest.param(-0.3, marks=pytest.mark.slow)])
def test_a_sound_that_runs_late_or_early_says_by_how_much(
    tmp_path: Path, frames: list[np.ndarray], late_s: float
) -> None:
    (sign,) = signs_in(write_sound_clip(tmp_path / "late.mp4", frames, FPS, [Track(spoken(late_s))]))
    assert sign.kind == ("sound.late" if late_s > 0 else "sound.early")
    assert f"{abs(late_s):.1f} s {'late' if late_s > 0 else 'early'}" in sign.finding
    assert "Lip-sync forgeries" in sign.about


def test_a_track_that_the_container_plays_later_runs_late(tmp_path: Path, frames: list[np.ndarray]) -> None:
    late = Track(spoken()[: -RATE_HZ // 2], start_s=0.5)
    (sign,) = signs_in(write_sound_clip(tmp_path / "moved.mkv", frames, FPS, [late]))
    assert sign.finding.startswith("The sound runs 0.5 s late")


def test_another_s_sound_does_not_belong_to_the_mouth(tmp_path: Path, frames: list[np.ndarray]) -> None:
    other = voice(OTHER, LENGTH_S)
    (sign,) = signs_in(write_sound_clip(tmp_path / "other.mp4", frames, FPS, [Track(other)]))
    assert sign.kind == "sound.foreign" and sign.finding.startswith("The sound does not belong to this mouth")
    assert 0 < sign.strength <= 1 and sign.from_s is not None and sign.to_s is not None


@pytest.mark.slow
def test_a_voice_over_a_still_mouth_is_of_nobody_in_the_picture(tmp_path: Path) -> None:
    frames = talking([MOUTH], LENGTH_S, FPS, still=[0])
    (sign,) = signs_in(write_sound_clip(tmp_path / "still.mp4", frames, FPS, [Track(spoken())]))
    assert sign.kind == "sound.nobody_speaks" and "narrator" in sign.about


@pytest.mark.slow
def test_of_two_faces_the_one_that_speaks_is_named_and_nothing_is_said_of_the_other(tmp_path: Path) -> None:
    frames = talking([OTHER, MOUTH], LENGTH_S, FPS)
    found = found_in(write_sound_clip(tmp_path / "two.mp4", frames, FPS, [Track(spoken())]), 2)
    assert found.signs == ()
    assert [curve.name for curve in found.curves if "agrees best" in curve.name] == [
        "opening of the mouth of face 1, which agrees best"
    ]


def test_a_file_without_sound_says_so(tmp_path: Path, frames: list[np.ndarray]) -> None:
    (sign,) = signs_in(write_sound_clip(tmp_path / "mute.mp4", frames[:25], FPS, []))
    assert sign.kind == "sound.none" and sign.strength == 0


def tones(n: int) -> np.ndarray:
    times_s = np.arange(n) / RATE_HZ
    chords = 220 * 2 ** (np.array([0, 5, 7, 3])[(times_s * 2).astype(int) % 4] / 12)
    return np.asarray(0.2 * np.exp(-4 * (times_s * 2 % 1)) * np.sin(2 * np.pi * chords * times_s), np.float32)


@pytest.mark.parametrize("what", ["silence", "music"])
def test_silence_and_music_are_compared_with_no_mouth(tmp_path: Path, frames: list[np.ndarray], what: str) -> None:
    n = round(LENGTH_S * RATE_HZ)
    samples = np.zeros(n, np.float32) if what == "silence" else tones(n)
    (sign,) = signs_in(write_sound_clip(tmp_path / "none.mp4", frames, FPS, [Track(samples)]))
    assert sign.kind == "sound.no_speech" and sign.strength == 0


def test_a_video_without_a_face_says_so(tmp_path: Path, frames: list[np.ndarray]) -> None:
    path = write_sound_clip(tmp_path / "own.mp4", frames[:25], FPS, [Track(spoken())])
    assert kinds(signs_in(path, 0)) == ["sound.no_face"]


@pytest.mark.parametrize("kind", [*SLOW_FORMS, "two tracks", "surround"])
def test_sound_of_odd_forms_and_lengths_is_read_as_any(tmp_path: Path, frames: list[np.ndarray], kind: str) -> None:
    samples, late = spoken(), spoken(0.4)
    six = np.zeros((6, len(late)), np.float32)
    six[2] = late  # the middle of 5.1, where voices are
    tracks = {
        "telephone": [Track(late[::2], 8000, codec="pcm_s16le")],
        "surround": [Track(six, layout="5.1", codec="aac")],
        "two tracks": [Track(late), Track(samples)],
        "short": [Track(late[: 6 * RATE_HZ])],
        "long": [Track(np.concatenate([late, samples]))],
    }[kind]
    found = found_in(write_sound_clip(tmp_path / "odd.mkv", frames, FPS, tracks))
    assert kinds(found.signs) == ["sound.late"], "of two tracks the first is played"
    assert ("2 sound tracks" in found.curves[0].lane) == (kind == "two tracks")


def test_broken_sound_in_a_good_file_is_said_and_compared_with_nothing(
    tmp_path: Path, frames: list[np.ndarray]
) -> None:
    path = write_sound_clip(tmp_path / "own.mkv", frames, FPS, [Track(spoken(), codec="flac")])
    data = bytearray(path.read_bytes())
    rng = np.random.default_rng(0)
    for at in [i for i in range(len(data) - 2) if data[i : i + 2] == b"\xff\xf8"]:
        data[at : at + 60] = rng.bytes(60)
    path.write_bytes(data)
    assert kinds(signs_in(path)) in (["sound.damaged"], ["sound.unreadable"])


def test_without_the_voice_network_it_says_what_is_missing(
    tmp_path: Path, frames: list[np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deepfake.evidence.voice.PACKAGE", "no-such-package")
    path = write_sound_clip(tmp_path / "own.mp4", frames[:50], FPS, [Track(spoken())])
    (sign,) = gathering.find(gathering.Task("sound", "deepfake.evidence.sound", examined(path))).signs
    assert sign.kind == "sound.not_examined" and "pip install --no-deps silero-vad" in sign.finding


def test_the_window_is_where_most_is_spoken_while_a_face_is_seen() -> None:
    sound = Sound(np.zeros(20 * RATE_HZ, np.float32), 0.0, 0.0, 1, 1, RATE_HZ)
    times_s = np.arange(625) * 0.032
    voices = ((times_s > 2) & (times_s < 6)) | (times_s > 11)
    seen = [face(0, t) for t in np.arange(10.0, 19.5, 0.5)]
    window = choose_window(sound, voices.astype(float), [seen], 8.0)
    assert window == pytest.approx((10.9, 18.9), abs=0.25), "not where somebody speaks unseen"
    assert choose_window(sound, voices.astype(float), [[face(0, 3.0), face(0, 4.0)]], 8.0) is None


def test_a_face_is_placed_between_its_sampled_frames_and_nowhere_in_long_gaps() -> None:
    faces = [face(0, 1.0), face(0, 2.0, x0_px=10.0), face(0, 5.0)]
    half = place_at(faces, 1.5)
    assert half is not None and half[0][0] == pytest.approx(faces[0].x0_px + 5)
    assert place_at(faces, 3.5) is None and place_at(faces, 0.6) is None and place_at(faces, 5.2) is not None


def test_more_is_never_said_than_what_was_measured() -> None:
    """Lip-sync forgeries agree with their sound, so no sign may be of that, and each says so or says nothing at all."""
    for about in (evidence_sound.ABOUT_FOREIGN, evidence_sound.ABOUT_NOBODY, evidence_sound.ABOUT_LATE):
        assert "Lip-sync forgeries" in about or "lip-sync forgeries" in about
