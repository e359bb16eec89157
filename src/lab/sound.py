"""What `evidence.sound` is worth: clips with a voice and a face beside their own sound, shifted, another's, and none.

Clips are cut into windows; mouths are followed once a clip. What runs is the product's own comparison.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from deepfake.api import find_faces
from deepfake.errors import UserError
from deepfake.evaluation.labelled import Labelled, pair
from deepfake.evaluation.metrics import roc_auc
from deepfake.evidence import agreement as agree
from deepfake.evidence.mouth import Mouth, follow_mouths
from deepfake.evidence.sound import FRAMES_PER_S, MIN_S, SPEAKS, Stretch, compare, signs_of
from deepfake.evidence.voice import FRAME_S, voice_activity
from deepfake.media.demux import VideoError, scan
from deepfake.media.listing import find_videos, video_id_of
from deepfake.media.sound import RATE_HZ, Sound, read_sound, zero_of

MOST_S = 60.0
SHIFTS_S = (-0.8, -0.5, -0.3, -0.2, -0.1, 0.0, 0.1, 0.2, 0.3, 0.5, 0.8)
SAME_SOUND = 0.8  # correlation of loudness from which on two clips have one sound
KINDS = ("late", "early", "nobody_speaks", "foreign")


@dataclass(frozen=True)
class Material:
    """A clip: where it is from, its mouths over its whole length, its sound and where somebody speaks in it."""

    name: str
    source: str
    label: int | None
    mouths: Sequence[Mouth]
    sound: Sound
    voice: np.ndarray

    @property
    def mouth(self) -> Mouth:
        """That which is seen most."""
        return max(self.mouths, key=lambda mouth: np.isfinite(mouth.opening).sum())

    @property
    def speech_s(self) -> float:
        """Seconds in which somebody speaks."""
        return float((self.voice > SPEAKS).sum() * FRAME_S)


@dataclass(frozen=True)
class Window:
    """A part of a clip in which somebody speaks while its mouth is seen."""

    of: Material
    from_s: float
    to_s: float


def read_materials(folder: Path, labelled: Sequence[Labelled], cache_dir: Path) -> list[Material]:
    """All clips of a folder with a face and sound."""
    paths = {video_id_of(path, folder): path for path in find_videos(folder)}
    known = {name: video for video, name in pair(paths, labelled)[0]} if labelled else {}
    found = []
    for name, path in tqdm(sorted(paths.items()), desc="clips", disable=None):
        made = _material(name, path, known.get(name), cache_dir)
        if made is not None:
            found.append(made)
    if not found:
        raise UserError(f"{folder}: no clip there has a face and sound")
    return found


def _material(name: str, path: Path, labelled: Labelled | None, cache_dir: Path) -> Material | None:
    try:
        demuxed = scan(path)
        if not demuxed.probe.has_audio:
            return None
        tracks = [track.faces for track in find_faces(path, cache_dir)]
    except VideoError:
        return None
    sound = read_sound(path, zero_of(demuxed), 0.0, MOST_S)
    if sound is None or not tracks:
        return None
    packets = demuxed.packets
    times_s = (packets.keys - packets.zero) * packets.tick_s
    places = np.flatnonzero(times_s <= MOST_S)
    step = max(int(demuxed.probe.fps / FRAMES_PER_S), 1)
    mouths = follow_mouths(path, demuxed, tracks, places[::step], threads=2)
    source = labelled.columns.get("source", "") if labelled else ""
    label = labelled.label if labelled else None
    return Material(name, source or str(path.parent), label, mouths, sound, voice_activity(sound.samples))


def windows(materials: Sequence[Material], length_s: float) -> list[Window]:
    """Parts of so many seconds, one after the other, in which both speech and mouth are long enough."""
    return [window for one in materials for window in _windows_of(one, length_s)]


def _windows_of(one: Material, length_s: float) -> Iterator[Window]:
    mouth = one.mouth
    seen_s = mouth.times_s[np.isfinite(mouth.opening)]
    if not len(seen_s):
        return
    start_s, end_s = max(float(seen_s[0]), one.sound.start_s), min(float(seen_s[-1]), one.sound.end_s)
    n = max(int((end_s - start_s + 0.1) // length_s), 1)
    for i in range(n):
        window = Window(one, start_s + i * length_s, min(start_s + (i + 1) * length_s, end_s))
        grid_s = agree.grid(window.from_s, window.to_s)
        opening = agree.on_grid(mouth.times_s, mouth.opening, grid_s)
        spoken = _speech(one, grid_s) & np.isfinite(opening)
        if spoken.sum() >= MIN_S * agree.GRID_HZ:
            yield window


def _speech(one: Material, grid_s: np.ndarray) -> np.ndarray:
    frames = np.clip(((grid_s - one.sound.start_s) / FRAME_S).astype(int), 0, len(one.voice) - 1)
    return np.asarray(one.voice[frames] > SPEAKS)


def beside(window: Window, shift_s: float = 0.0, other: Window | None = None, more: Sequence[Mouth] = ()) -> Stretch:
    """A window's mouth beside its own sound, so much later, or beside that of another window; with other mouths."""
    of = other or window
    moved = replace(of.of.sound, start_s=of.of.sound.start_s + shift_s)
    if other is not None:
        moved = replace(moved, start_s=moved.start_s + window.from_s - other.from_s)
    return compare([window.of.mouth, *more], moved, of.of.voice, window.from_s, window.to_s)


def kinds_of(stretch: Stretch) -> list[str]:
    """The signs that a stretch gets."""
    return [sign.kind.partition(".")[2] for sign in signs_of(stretch)]


def strangers(parts: Sequence[Window]) -> Iterator[tuple[Window, Window]]:
    """Every window with each window of a clip that has another sound."""
    same = same_sounds(list({id(part.of): part.of for part in parts}.values()))
    for one in parts:
        for other in parts:
            if (one.of.name, other.of.name) not in same:
                yield one, other


def same_sounds(materials: Sequence[Material]) -> set[tuple[str, str]]:
    """Pairs of clips that have one sound, each with itself among them."""
    louds = [agree.loudness(one.sound.samples, 0.0, agree.grid(0.0, one.sound.end_s)) for one in materials]
    same = set()
    for one, loud in zip(materials, louds, strict=True):
        for other, its in zip(materials, louds, strict=True):
            n = min(len(loud), len(its))
            both = np.isfinite(loud[:n]) & np.isfinite(its[:n])
            if one is other or (both.sum() > 2 and _alike(loud[:n][both], its[:n][both]) > SAME_SOUND):
                same.add((one.name, other.name))
    return same


def _alike(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.corrcoef(one, other)[0, 1]) if one.std() > 0 and other.std() > 0 else 0.0


def own_table(parts: Sequence[Window]) -> pd.DataFrame:
    """Each window beside its own sound: agreement, offset, signs. Any sign there is a false alarm."""
    rows = []
    for part in parts:
        stretch = beside(part)
        (found,) = stretch.agreements
        label = {0: "real", 1: "forged", None: "-"}[part.of.label]
        kinds = ",".join(kinds_of(stretch))
        moves = agree.share(agree.moving(stretch.openings[0]), stretch.is_speech)
        silent = agree.share(agree.moving(stretch.openings[0]), ~stretch.is_speech)
        rows.append(
            (
                part.of.name,
                part.of.source,
                label,
                part.from_s,
                part.to_s,
                found.near,
                found.best_offset_s,
                moves,
                silent,
                kinds,
            )
        )
    names = [
        "clip",
        "source",
        "label",
        "from_s",
        "to_s",
        "near",
        "best_offset_s",
        "moves_in_speech",
        "moves_in_silence",
        "signs",
    ]
    return pd.DataFrame(rows, columns=names)


def shift_table(parts: Sequence[Window]) -> pd.DataFrame:
    """How nearly a known shift is found, against where the same window agrees best without one, and what is said."""
    rows = []
    for shift_s in SHIFTS_S:
        errors, said = [], []
        for part in parts:
            stretch = beside(part, shift_s)
            found = stretch.agreements[0]
            errors.append(abs(found.best_offset_s - shift_s))
            said.append(kinds_of(stretch))
        right = "late" if shift_s > 0 else "early"
        rows.append(
            {
                "shift_s": shift_s,
                "windows": len(parts),
                "median error ms": 1000 * float(np.nanmedian(errors)),
                "within 150 ms": float(np.mean(np.array(errors) <= 0.15)),
                "said rightly": float(np.mean([right in kinds for kinds in said])) if shift_s else np.nan,
                "said wrongly": float(np.mean([any(kind != right or not shift_s for kind in kinds) for kinds in said])),
            }
        )
    return pd.DataFrame(rows)


def swap_table(parts: Sequence[Window], length_s: float) -> dict[str, object]:
    """Own against others' sound: AUC of the agreement, and how often which sign is given."""
    own = [beside(part).agreements[0].near for part in parts]
    near: list[float] = []
    said: list[list[str]] = []
    for part, other in strangers(parts):
        stretch = beside(part, other=other)
        near.append(stretch.agreements[0].near)
        said.append(kinds_of(stretch))
    known = np.isfinite(near)
    said = [kinds for kinds, is_known in zip(said, known, strict=True) if is_known]
    labels = np.concatenate([np.zeros(len(own)), np.ones(len(said))]).astype(int)
    scores = 0.5 - 0.5 * np.concatenate([own, np.array(near)[known]])
    shares = {f"said {kind}": float(np.mean([kind in kinds for kinds in said])) for kind in KINDS}
    false = float(np.mean([bool(kinds_of(beside(part))) for part in parts]))
    auc = roc_auc(labels, scores)
    return {"seconds": length_s, "own": len(own), "swapped": len(said), "AUC": auc, "false alarms": false, **shares}


def half_table(parts: Sequence[Window]) -> pd.DataFrame:
    """The threshold of "not this mouth" by one half of the sources, and what it does on the other; both ways."""
    sources = sorted({part.of.source for part in parts})
    halves = [set(sources[::2]), set(sources[1::2])]
    rows = []
    for chosen, confirmed in (halves, halves[::-1]):
        near = [beside(part).agreements[0].near for part in parts if part.of.source in chosen]
        threshold = float(np.quantile(near, 0.05))
        rest = [part for part in parts if part.of.source in confirmed]
        own = np.array([beside(part).agreements[0].near for part in rest])
        swapped = np.array([beside(one, other=other).agreements[0].near for one, other in strangers(rest)])
        rows.append(
            {
                "chosen on": len(near),
                "threshold": threshold,
                "confirmed on": len(own),
                "false alarms": float(np.mean(own < threshold)),
                "swapped found": float(np.nanmean(swapped < threshold)),
            }
        )
    return pd.DataFrame(rows)


def without_voice_table(materials: Sequence[Material]) -> pd.DataFrame:
    """Clips with silence, noise or music in place of their sound: for how many is a mouth compared with it at all?"""
    rows = []
    for what, make in (("silence", silence), ("noise", noise), ("music of tones", music)):
        compared = 0
        for one in materials:
            sound = replace(one.sound, samples=make(len(one.sound.samples)))
            voice = voice_activity(sound.samples)
            times_s = sound.start_s + np.arange(len(voice)) * FRAME_S
            seen = np.isfinite(agree.on_grid(one.mouth.times_s, one.mouth.opening, times_s))
            compared += int((seen & (voice > SPEAKS)).sum() * FRAME_S >= MIN_S)
        rows.append({"in place of the sound": what, "clips": len(materials), "compared": compared})
    return pd.DataFrame(rows)


def silence(n: int) -> np.ndarray:
    """No sound."""
    return np.zeros(n, np.float32)


def noise(n: int) -> np.ndarray:
    """White noise of a fixed seed."""
    return (0.1 * np.random.default_rng(0).standard_normal(n)).astype(np.float32)


def music(n: int) -> np.ndarray:
    """Chords of plucked tones, two a second."""
    times_s = np.arange(n) / RATE_HZ
    roots = 220 * 2 ** (np.array([0, 5, 7, 3, 10, 5, 0, 7]) / 12)
    root = roots[(times_s * 2).astype(int) % len(roots)]
    fade = np.exp(-4 * (times_s * 2 % 1))
    tones = sum(np.sin(2 * np.pi * root * factor * times_s) / factor for factor in (1, 1.25, 1.5, 2, 3, 4))
    return np.asarray(0.1 * fade * tones, np.float32)


def two_faces_table(parts: Sequence[Window]) -> dict[str, object]:
    """Two mouths side by side and the sound of one: how often the speaker's agrees better, and what is said wrongly."""
    right, said, n = 0, 0, 0
    for one, other in strangers(parts):
        mouth = other.of.mouth
        moved = replace(mouth, times_s=mouth.times_s - other.from_s + one.from_s)
        stretch = beside(one, more=[moved])
        if len(stretch.agreements) < 2:
            continue
        n += 1
        right += int(stretch.agreements[0].near > stretch.agreements[1].near)
        said += bool(signs_of(stretch))
    return {"pairs": n, "speaker found": right / max(n, 1), "said wrongly": said / max(n, 1)}


def narrated_table(parts: Sequence[Window], materials: Sequence[Material]) -> pd.DataFrame:
    """People who do not speak with the voice of somebody else: what is said of each."""
    rows = []
    for one in materials:
        if one.speech_s >= MIN_S:
            continue
        said: list[str] = []
        for part in parts:
            seen_s = one.mouth.times_s[np.isfinite(one.mouth.opening)]
            to_s = min(seen_s[0] + part.to_s - part.from_s, seen_s[-1])
            if to_s - seen_s[0] < MIN_S:
                continue
            sound = replace(part.of.sound, start_s=part.of.sound.start_s + seen_s[0] - part.from_s)
            stretch = compare([one.mouth], sound, part.of.voice, float(seen_s[0]), float(to_s))
            said += kinds_of(stretch) or ["nothing"]
        shares = {kind: said.count(kind) / max(len(said), 1) for kind in ("nothing", *KINDS)}
        rows.append({"clip": one.name, "voices": len(said), **shares})
    return pd.DataFrame(rows)
