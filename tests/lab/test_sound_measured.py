"""What sound and mouth are worth, measured on invented curves: windows, shifts, others' sound."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from deepfake.errors import UserError
from deepfake.evidence.mouth import Mouth
from deepfake.evidence.voice import FRAME_S
from deepfake.media.sound import RATE_HZ, Sound
from lab import sound
from lab.evidence_cost import cost_table
from lab.sound import Material
from sound_clips import syllables, voice

LENGTH_S = 10.0


def material(seed: int, source: str) -> Material:
    """A clip whose mouth opens as the curve of its seed, with the voice of that curve."""
    times_s = np.arange(0, LENGTH_S, 0.08)
    mouth = Mouth(0, times_s, 0.1 * syllables(seed)(times_s))
    samples = voice(syllables(seed), LENGTH_S, seed=seed)
    voices = np.ones(round(LENGTH_S / FRAME_S), np.float32)
    return Material(f"{seed}", source, 0, [mouth], Sound(samples, 0.0, 0.0, 1, 1, RATE_HZ), voices)


@pytest.fixture(scope="module")
def materials() -> list[Material]:
    return [material(seed, f"source {seed}") for seed in (3, 5)]


def test_windows_lie_one_after_the_other_where_mouth_and_voice_are(materials: list[Material]) -> None:
    found = sound.windows(materials, 4.0)
    assert [(window.of.name, round(window.from_s)) for window in found] == [("3", 0), ("3", 4), ("5", 0), ("5", 4)]
    assert sound.windows(materials, 30.0) != [], "a shorter clip is one window"


def test_a_known_shift_is_found_and_said_and_another_s_sound_is_told(materials: list[Material]) -> None:
    parts = sound.windows(materials, 8.0)
    shifts = sound.shift_table(parts).set_index("shift_s")
    assert (shifts["median error ms"] <= 60).all() and shifts.loc[0.5, "said rightly"] == 1
    assert shifts["said wrongly"].max() == 0
    swapped = sound.swap_table(parts, 8.0)
    assert swapped["AUC"] == 1.0 and swapped["swapped"] == 2 and swapped["false alarms"] == 0
    assert sound.two_faces_table(parts)["speaker found"] == 1.0


def test_two_clips_of_one_sound_are_no_strangers(materials: list[Material]) -> None:
    parts = sound.windows([*materials, material(3, "again")], 8.0)
    pairs = [(one.of.name, other.of.name) for one, other in sound.strangers(parts)]
    assert ("3", "3") not in pairs and ("3", "5") in pairs


def test_invented_music_and_noise_have_the_length_asked_for() -> None:
    for make in (sound.silence, sound.noise, sound.music):
        assert make(1000).shape == (1000,) and np.abs(make(1000)).max() < 1


def test_a_clip_whose_check_fails_costs_nothing_that_could_be_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere\.mp4.*its check failed"):
        cost_table([tmp_path / "nowhere.mp4"], rounds=1)
