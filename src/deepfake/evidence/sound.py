"""Whether the sound of a video belongs to a mouth in it: by where somebody speaks, how loud, and how mouths move.

It looks at one stretch of at most WINDOW_S, where most is spoken while a face is seen. Lip-sync forgeries agree with
their sound as real videos do: nothing here tells them. Thresholds: `python -m lab sound`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from deepfake.detector.check import Sign
from deepfake.evidence import agreement as agree
from deepfake.evidence.agreement import Agreement
from deepfake.evidence.mouth import Mouth, follow_mouths, place_at
from deepfake.evidence.signs import Curve, Examined, Found, Part
from deepfake.evidence.voice import FRAME_S, voice_activity
from deepfake.faces.extracted import Extraction, StoredFace
from deepfake.media.demux import Demuxed, scan
from deepfake.media.sound import Sound, read_sound, zero_of

WINDOW_S = 7.0
MOST_SOUND_S = 60.0  # of a long video, from the first face on
FRAMES_PER_S = 10  # 25 tell little more
MOST_FACES = 3
MOST_PIXELS = 300e6  # to decode: 7 s of 720p and 5 of 1080p at 30 a second
MIN_S = 3.0  # of speech, and of a mouth that is seen
SPEAKS = 0.5  # of the voice activity
LOST = 0.1  # share of damaged sound from which on nothing is said
# Late or early: by how much at least; how well the two must agree there, in a stretch of WINDOW_S and more in a shorter
# one; how much better than together, and than at any third offset.
OFFSET_S, OFFSET_BEST, OFFSET_GAIN, OFFSET_MARGIN = 0.2, 0.4, 0.2, 0.1
# Another's sound: agreement together, and at any offset, below which it is.
FOREIGN, FOREIGN_BEST = 0.2, 0.36
STILL = 0.3  # share of speech in which a mouth moves, below which it does not speak
LANE = "Mouth and sound"

ABOUT_LATE = (
    "Capture cards, broadcasts and editing shift sound, too. It is told by loudness and the opening of the mouth "
    "alone, to about a tenth of a second. Lip-sync forgeries agree with their sound as real videos do."
)
ABOUT_FOREIGN = (
    "A voice from beside the picture, dubbing, singing to a playback, a turned or covered mouth and loud noise look "
    "the same. The reverse says nothing: lip-sync forgeries agree with their sound as real videos do."
)
ABOUT_NOBODY = (
    "A narrator, or somebody beside the picture, is no forgery. Lip-sync forgeries agree with their sound as real "
    "videos do, and are not told by this."
)
ABOUT_NOTHING = "That says nothing for or against the video."


@dataclass(frozen=True)
class Stretch:
    """What was looked at: mouths and loudness on grids, and whether somebody speaks at the mouths' times."""

    from_s: float
    to_s: float
    mouths: Sequence[Mouth]
    grid_s: np.ndarray
    openings: Sequence[np.ndarray]
    is_speech: np.ndarray
    agreements: Sequence[Agreement]


def find(examined: Examined) -> Found:
    """Signs of one video, and its curves."""
    check, extraction = examined.check, examined.extraction
    if check.video is None:
        return Found()
    if not check.video.has_audio:
        return _silent("none", "The file has no sound, so no mouth can be compared with it.")
    demuxed = scan(examined.path)
    faces = _own_tracks(extraction, demuxed)
    if not faces:
        return _silent("no_face", "There is no face whose mouth could be compared with the sound.")
    from_s = max(min(track[0].time_s for track in faces) - 1, 0)
    sound = read_sound(examined.path, zero_of(demuxed), from_s, from_s + MOST_SOUND_S)
    if sound is None:
        return _silent("unreadable", "The file's sound cannot be decoded, so no mouth was compared with it.")
    if sound.lost_ratio > LOST:
        return _silent(
            "damaged", f"{sound.lost_ratio:.0%} of the file's sound is damaged: no mouth was compared with it."
        )
    voice = voice_activity(sound.samples)
    picture = sound_picture(sound, voice)
    window = choose_window(sound, voice, faces)
    if window is None:
        n_s = float((voice > SPEAKS).sum() * FRAME_S)
        what = f"Little is spoken while a face is seen ({n_s:.1f} s of speech in all, wanted {MIN_S:g} with a face)"
        return Found(_silent("no_speech", f"{what}: no mouth was compared with the sound.").signs, *picture)
    mouths = _mouths(examined, demuxed, faces, window)
    stretch = compare(mouths, sound, voice, *window)
    if not stretch.mouths:
        return Found(_silent("no_mouth", "No mouth could be followed while somebody speaks.").signs, *picture)
    return Found(signs_of(stretch), (*picture[0], *mouth_curves(stretch, sound)), picture[1])


def choose_window(
    sound: Sound, voice: np.ndarray, tracks: Sequence[Sequence[StoredFace]], most_s: float = WINDOW_S
) -> tuple[float, float] | None:
    """The stretch of at most so many seconds in which most is spoken while a face is seen; None where it is little."""
    times_s = sound.start_s + (np.arange(len(voice)) + 0.5) * FRAME_S
    speech = voice > SPEAKS
    spoken = [speech & np.array([place_at(faces, float(t)) is not None for t in times_s], bool) for faces in tracks]
    n = max(round(most_s / FRAME_S), 1)
    best, start = 0.0, 0
    for seen in spoken:
        sums = np.concatenate([[0], np.cumsum(seen)])
        counts = sums[np.minimum(np.arange(len(seen)) + n, len(seen))] - sums[:-1]
        first = int(np.argmax(counts)) if len(counts) else 0
        if len(counts) and counts[first] * FRAME_S > best:
            best, start = float(counts[first] * FRAME_S), first
    if best < MIN_S:
        return None
    # A shorter sound than that is taken whole.
    start = max(min(start, len(voice) - n), 0)
    return float(times_s[start] - FRAME_S / 2), float(times_s[min(start + n, len(voice)) - 1] + FRAME_S / 2)


def compare(mouths: Sequence[Mouth], sound: Sound, voice: np.ndarray, from_s: float, to_s: float) -> Stretch:
    """Mouths beside a sound from one time to another; those that are hardly seen are left out."""
    grid_s = agree.grid(from_s, to_s)
    around_s = agree.grid(from_s - agree.FAR_S - 0.5, to_s + agree.FAR_S + 0.5)
    loud = agree.loudness(sound.samples, sound.start_s, around_s)
    openings = [agree.on_grid(mouth.times_s, mouth.opening, grid_s) for mouth in mouths]
    seen = [i for i, opening in enumerate(openings) if np.isfinite(opening).sum() >= MIN_S * agree.GRID_HZ]
    return Stretch(
        from_s,
        to_s,
        [mouths[i] for i in seen],
        grid_s,
        [openings[i] for i in seen],
        speech_at(voice, sound.start_s, grid_s),
        [agree.agreement(openings[i], grid_s, loud, around_s) for i in seen],
    )


def speech_at(voice: np.ndarray, start_s: float, times_s: np.ndarray) -> np.ndarray:
    """Whether somebody speaks at each time."""
    frames = np.floor((times_s - start_s) / FRAME_S).astype(int)
    inside = (frames >= 0) & (frames < len(voice))
    return np.asarray(inside & (voice[np.clip(frames, 0, max(len(voice) - 1, 0))] > SPEAKS))


def signs_of(stretch: Stretch) -> tuple[Sign, ...]:
    """What the mouths of a stretch say of its sound: one sign, or none where a mouth agrees with it."""
    if not any(np.isfinite(one.near) for one in stretch.agreements):
        return ()
    known = [one for one in stretch.agreements if np.isfinite(one.near)]
    near, shifted = max(one.near for one in known), max(known, key=lambda one: one.best)
    moves = max(agree.share(agree.moving(opening), stretch.is_speech) for opening in stretch.openings)
    several = len(stretch.mouths) > 1
    if moves < STILL:
        who = "all mouths are" if several else "the mouth is"
        finding = f"Nobody in the picture speaks: for {1 - moves:.0%} of the speech {who} still."
        return (_sign(stretch, "nobody_speaks", finding, 1 - moves / STILL, ABOUT_NOBODY),)
    if _runs_apart(stretch, shifted, near):
        word = "late" if shifted.best_offset_s > 0 else "early"
        finding = f"The sound runs {abs(shifted.best_offset_s):.1f} s {word} against the mouth."
        return (_sign(stretch, word, finding, shifted.best - near, ABOUT_LATE),)
    if near < FOREIGN and shifted.best < FOREIGN_BEST:
        which = "any mouth in the picture" if several else "this mouth"
        finding = f"The sound does not belong to {which}: at no offset up to {agree.FAR_S:g} s do they go together."
        return (_sign(stretch, "foreign", finding, 1 - max(near, 0.0) / FOREIGN, ABOUT_FOREIGN),)
    return ()


def _runs_apart(stretch: Stretch, shifted: Agreement, near: float) -> bool:
    """Whether a mouth agrees with the sound at another offset, clearly better than together and than by chance."""
    needed = OFFSET_BEST * max((WINDOW_S / max(stretch.to_s - stretch.from_s, 1.0)) ** 0.5, 1.0)
    return (
        abs(shifted.best_offset_s) >= OFFSET_S
        and shifted.best >= needed
        and shifted.best - near >= OFFSET_GAIN
        and not shifted.best - shifted.second < OFFSET_MARGIN
    )


def _sign(stretch: Stretch, kind: str, finding: str, strength: float, about: str) -> Sign:
    return Sign(
        kind=f"sound.{kind}",
        finding=finding,
        strength=round(float(min(max(strength, 0.05), 1.0)), 3),
        from_s=round(max(stretch.from_s, 0), 3),
        to_s=round(max(stretch.to_s, 0), 3),
        about=about,
    )


def _silent(kind: str, finding: str) -> Found:
    sign = Sign(kind=f"sound.{kind}", finding=finding, strength=0.0, from_s=None, to_s=None, about=ABOUT_NOTHING)
    return Found((sign,))


def _own_tracks(extraction: Extraction, demuxed: Demuxed) -> list[tuple[StoredFace, ...]]:
    """Tracks of the video stream that stands for the file, whose frames are `demuxed`."""
    return [
        faces for faces in extraction.tracks if extraction.stream_of(faces[0].shot) in (None, demuxed.packets.stream)
    ]


def _mouths(
    examined: Examined, demuxed: Demuxed, tracks: Sequence[Sequence[StoredFace]], window: tuple[float, float]
) -> list[Mouth]:
    packets = demuxed.packets
    times_s = (packets.keys - packets.zero) * packets.tick_s
    inside = np.flatnonzero((times_s >= window[0]) & (times_s <= window[1]))
    n_most = int(MOST_PIXELS / max(demuxed.probe.width_px * demuxed.probe.height_px, 1))
    if len(inside) > n_most:
        middle = len(inside) // 2
        inside = inside[max(middle - n_most // 2, 0) : middle + n_most // 2]
    fps = len(inside) / max(times_s[inside[-1]] - times_s[inside[0]], 1e-3) if len(inside) > 1 else 1.0
    places = inside[:: max(int(fps / FRAMES_PER_S), 1)]
    chosen = _largest(tracks, window)
    if not len(places) or not chosen:
        return []
    return follow_mouths(examined.path, demuxed, chosen, places, examined.extraction.turned, threads=2)


def _largest(tracks: Sequence[Sequence[StoredFace]], window: tuple[float, float]) -> list[Sequence[StoredFace]]:
    """The faces that are largest, of those seen long enough in a window; in the order of the tracks."""

    def seconds(faces: Sequence[StoredFace]) -> float:
        return min(faces[-1].time_s, window[1]) - max(faces[0].time_s, window[0])

    def side(faces: Sequence[StoredFace]) -> float:
        return float(np.median([max(face.x1_px - face.x0_px, face.y1_px - face.y0_px) for face in faces]))

    seen = [faces for faces in tracks if seconds(faces) >= MIN_S - 0.6]
    largest = sorted(seen, key=lambda faces: (-side(faces), faces[0].track))[:MOST_FACES]
    return sorted(largest, key=lambda faces: faces[0].track)


def sound_picture(sound: Sound, voice: np.ndarray) -> tuple[tuple[Curve, ...], tuple[Part, ...]]:
    """Loudness over time, and where somebody speaks."""
    lane = _lane(sound)
    times_s = agree.grid(sound.start_s, sound.end_s)
    loud = agree.loudness(sound.samples, sound.start_s, times_s)
    top = float(np.nanmax(loud)) if np.isfinite(loud).any() else 0.0
    curve = Curve(lane, "loudness of the voice's band", times_s, loud, top - agree.FLOOR_DB, top)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], (voice > SPEAKS).astype(int), [0]])))
    return (curve,), tuple(
        Part(lane, sound.start_s + start * FRAME_S, sound.start_s + end * FRAME_S, "somebody speaks")
        for start, end in zip(edges[::2], edges[1::2], strict=True)
    )


def mouth_curves(stretch: Stretch, sound: Sound) -> tuple[Curve, ...]:
    """How far each mouth is open; where there are several, it is said which agrees best with the sound."""
    near = [a.near for a in stretch.agreements]
    high = max(float(np.nanmax(opening)) for opening in stretch.openings)
    best = int(np.nanargmax(near)) if np.isfinite(near).any() and np.nanmax(near) >= FOREIGN else None
    return tuple(
        Curve(
            _lane(sound),
            f"opening of the mouth of face {mouth.track}{', which agrees best' if i == best and len(near) > 1 else ''}",
            stretch.grid_s,
            opening,
            0.0,
            max(high, 0.05),
        )
        for i, (mouth, opening) in enumerate(zip(stretch.mouths, stretch.openings, strict=True))
    )


def _lane(sound: Sound) -> str:
    return (
        LANE if sound.n_tracks == 1 else f"{LANE} (the file has {sound.n_tracks} sound tracks: that which players play)"
    )
