"""The odd clips of the conformance suite, and what one backend and sampling mode makes of one of them."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import av
import numpy as np

from clip_factory import Beside, Coding, read_number, write
from deepfake.media.demux import VideoError, scan
from deepfake.media.video import Frame, sample

BACKENDS = ("auto", "pyav", "decord")
MODES = ("uniform", "fps", "reference", "keyframe", "adaptive", "shot_aware", "two frames", "long")
N_FRAMES = 20
SAMPLE_FPS = 7.0


@dataclass(frozen=True)
class Kind:
    """One kind of clip: how to make it, and whether every wanted frame must come out."""

    name: str
    file: str
    coding: Coding
    change: Callable[[Path], int] | None = None  # spoils or recuts the file; returns the first frame's number
    is_intact: bool = True

    @property
    def numbers(self) -> list[int]:
        """The number drawn into the first frame of each video stream, where there are several."""
        return self.coding.numbers if self.coding.beside else []

    def make(self, folder: Path) -> tuple[Path, int]:
        """The clip's path and the number drawn into its first playable packet's frame."""
        path = write(folder / self.file, self.coding)
        return path, 0 if self.change is None else self.change(path)


@dataclass(frozen=True)
class Outcome:
    """What came of sampling one clip."""

    n_wanted: int = 0
    n_right: int = 0
    n_wrong: int = 0
    n_unreadable: int = 0
    n_suspect: int = 0
    refusal: str = ""

    @property
    def words(self) -> str:
        """A cell of the table."""
        if self.refusal:
            return "refused"
        extra = {"WRONG": self.n_wrong, "unreadable": self.n_unreadable, "suspect": self.n_suspect}
        return ", ".join([f"{self.n_right} of {self.n_wanted}", *(f"{n} {word}" for word, n in extra.items() if n)])


def judge(
    path: Path, first: int, backend: str, mode: str, is_intact: bool = True, numbers: Sequence[int] = ()
) -> Outcome:
    """Sample every stream of a clip that is to be looked at and compare each frame's bar code with its index.

    `first` is the number in the first frame; of several video streams each has its own, in `numbers`.
    """
    count: Counter[str] = Counter()
    name, n_frames = ("uniform", 2) if mode == "two frames" else (mode, N_FRAMES)
    try:
        main = scan(path)
        for demuxed in (main, *main.further):
            place = [one.stream for one in main.probe.streams].index(demuxed.probe.stream)
            # As a search of a long video gives them: some moments far apart, and several frames at one of them.
            places = np.unique(np.clip([0, 20, 31, 33, 35, 37, 59], 0, len(demuxed.packets.keys) - 1))
            opened = sample(
                path,
                "reference" if mode == "long" else name,
                n_frames,
                SAMPLE_FPS,
                backend,  # type: ignore[arg-type]
                demuxed=demuxed,
                places=places if mode == "long" else None,
            )
            count["wanted"] += opened.n_wanted
            for frame in opened:
                count[_kind_of(frame, numbers[place] if numbers else first, is_intact)] += 1
    except VideoError as error:
        return Outcome(refusal=str(error))
    return Outcome(*(count[kind] for kind in ("wanted", "right", "wrong", "unreadable", "suspect")))


def _kind_of(frame: Frame, first: int, is_intact: bool) -> str:
    number = read_number(frame.rgb())
    if frame.is_suspect:
        return "suspect"
    if number is None:
        return "unreadable"
    # Where packets are lost, later frames move up; their times do not.
    true = {first + frame.index} if is_intact else {first + frame.index, first + round(frame.time_s * 30)}
    return "right" if number in true else "wrong"


def _recut(path: Path, from_packet: Callable[[list[Any]], int], shift_to: Callable[[list[Any], int], int]) -> int:
    """Copy the packets from one on, times moved so that `shift_to` becomes 0; return the first frame's number."""
    aside = path.with_name("aside" + path.suffix)
    with av.open(str(path)) as source, av.open(str(aside), "w", options={"avoid_negative_ts": "disabled"}) as target:
        stream = source.streams.video[0]
        packets = [p for p in source.demux(stream) if p.size]
        frame_ticks = round(1 / (stream.average_rate * stream.time_base))
        start = from_packet(packets)
        zero = shift_to(packets, start)
        copy = target.add_stream_from_template(stream)
        numbers = [round(p.pts / frame_ticks) for p in packets[start:]]
        for packet in packets[start:]:
            packet.pts, packet.dts, packet.stream = packet.pts - zero, packet.dts - zero, copy
            target.mux(packet)
    aside.replace(path)
    return max(min(numbers), round(zero / frame_ticks))


def _second_keyframe(packets: list[Any]) -> int:
    return [i for i, p in enumerate(packets) if p.is_keyframe][1]


def edit_list(path: Path) -> int:
    """What `-ss 0.5 -c copy` makes: all packets are there, the first half second is not to be shown."""
    return _recut(path, lambda packets: 0, lambda packets, start: packets[0].pts + sorted(p.pts for p in packets)[15])


def from_open_gop(path: Path) -> int:
    """Start at a keyframe whose leading frames refer to what was cut away."""
    return _recut(
        path, _second_keyframe, lambda packets, start: min(p.pts for p in packets[start:] if p.pts is not None)
    )


def cut_short(path: Path) -> int:
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 6 // 10])
    return 0


def flip_bytes(path: Path) -> int:
    data = np.frombuffer(path.read_bytes(), np.uint8).copy()
    rng = np.random.default_rng(1)
    head = len(data) // 4  # leave headers and index alone: without them there is nothing to test
    data[rng.integers(head, len(data) - 300, 400)] ^= rng.integers(1, 256, 400).astype(np.uint8)
    path.write_bytes(data.tobytes())
    return 0


def spoil_packet(path: Path) -> int:
    """Replace the payload of a packet in the middle."""
    aside = path.with_name("aside" + path.suffix)
    with av.open(str(path)) as source, av.open(str(aside), "w") as target:
        stream = source.streams.video[0]
        copy = target.add_stream_from_template(stream)
        for i, packet in enumerate(p for p in source.demux(stream) if p.size):
            if i == 30:
                bad = av.Packet(b"\x00\x00\x00\x3c" + b"\x61\xff" * 30)
                bad.pts, bad.dts, bad.time_base = packet.pts, packet.dts, packet.time_base
                packet = bad
            packet.stream = copy
            target.mux(packet)
    aside.replace(path)
    return 0


def _options(**values: object) -> tuple[tuple[str, str], ...]:
    return tuple(
        (key.replace("_", "-") if key != "x265_params" else "x265-params", str(v)) for key, v in values.items()
    )


PLAIN = Coding()
REFRESH = (("x264-params", "intra-refresh=1:keyint=20"),)
HIDDEN = (("b", "600k"), ("cpu-used", "5"), ("lag-in-frames", "16"), ("auto-alt-ref", "1"))
FRAGMENTS = (("movflags", "frag_keyframe+empty_moov"),)
MPEG12 = (("bf", "2"), ("b", "6000k"), ("qmin", "6"), ("qmax", "6"), ("g", "12"))
FASTSTART = (("movflags", "faststart"),)
SHORT_GOP = (("g", "20"),)
OPEN_GOP = (("g", "20"), ("x264-params", "open-gop=1:bframes=3:keyint=20:min-keyint=20"))
VP9 = Coding("libvpx-vp9", options=(("b", "400k"), ("cpu-used", "8"), ("deadline", "realtime"), ("g", "25")))
AV1 = Coding("libsvtav1", options=(("preset", "8"), ("crf", "8"), ("g", "30"), ("svtav1-params", "lp=1")))
HEVC = Coding("libx265", options=(("x265-params", "keyint=20:min-keyint=20"),))
MPEG4 = Coding("mpeg4", options=MPEG12)

IS_DEFAULT, IS_COVER = 0x1, 0x400  # FFmpeg's AV_DISPOSITION_DEFAULT, AV_DISPOSITION_ATTACHED_PIC
LARGER = Beside(width_px=320, height_px=192)
DEFAULT = replace(LARGER, disposition=IS_DEFAULT)
SLIDES = Beside(n_frames=2, fps=1, width_px=640, height_px=384, comes_first=True)
STILL = Beside(first=200, n_frames=1, width_px=640, height_px=384)
COVER = replace(STILL, codec="mjpeg", comes_first=True)
FLAGGED = replace(COVER, comes_first=False, disposition=IS_COVER)  # MP4 keeps it behind the tracks

KINDS = (
    Kind("h264, B-frames, one GOP", "plain.mp4", PLAIN),
    Kind("h264, GOP of 20", "gop20.mp4", replace(PLAIN, options=SHORT_GOP)),
    Kind("h264, open GOP", "open_gop.mp4", replace(PLAIN, options=OPEN_GOP)),
    Kind("h264, no B-frames", "baseline.mp4", replace(PLAIN, options=(("bf", "0"),))),
    Kind("h264, keyframes only", "intra.mp4", replace(PLAIN, options=(("g", "1"),))),
    Kind(
        "h264, periodic intra refresh",
        "refresh.mp4",
        replace(PLAIN, options=REFRESH),
    ),
    Kind("HEVC, x265 defaults", "hevc.mp4", HEVC),
    Kind("HEVC in MKV", "hevc.mkv", HEVC),
    Kind("VP9", "vp9.webm", VP9),
    Kind(
        "VP9 with hidden frames",
        "vp9_arf.webm",
        replace(VP9, options=HIDDEN),
    ),
    Kind(
        "VP8 with hidden frames",
        "vp8.webm",
        Coding("libvpx", options=HIDDEN),
    ),
    Kind("AV1", "av1.mp4", AV1),
    Kind("AV1 in MKV", "av1.mkv", AV1),
    Kind("MPEG-4 in AVI, B-frames", "mpeg4.avi", MPEG4),
    Kind("h264 in AVI", "h264.avi", replace(PLAIN, options=SHORT_GOP)),
    Kind("Motion JPEG in AVI", "mjpeg.avi", Coding("mjpeg", "yuvj420p", options=(("q", "3"),))),
    Kind("MPEG-TS", "stream.ts", replace(PLAIN, options=SHORT_GOP)),
    Kind("MPEG-2 in TS", "mpeg2.ts", Coding("mpeg2video", options=MPEG12)),
    Kind("MPEG-1 program stream", "mpeg1.mpg", Coding("mpeg1video", options=MPEG12)),
    Kind("HEVC in TS", "hevc.ts", HEVC),
    Kind("FLV", "clip.flv", PLAIN),
    Kind("variable frame rate", "vfr.mp4", replace(PLAIN, step=lambda number: number + number // 7 * 3)),
    Kind("variable frame rate in MKV", "vfr.mkv", replace(PLAIN, step=lambda number: number + number // 7 * 3)),
    Kind("edit list (stream-copied cut)", "edit_list.mp4", PLAIN, edit_list),
    Kind("rotation 90", "rotated90.mp4", replace(PLAIN, rotation=90)),
    Kind("rotation 180", "rotated180.mp4", replace(PLAIN, rotation=180)),
    Kind("rotation 270", "rotated270.mov", replace(PLAIN, rotation=270)),
    *(
        Kind(f"mirrored, rotation {turn}", f"mirrored{turn}.{end}", replace(PLAIN, rotation=turn, is_mirrored=True))
        for turn, end in ((0, "mp4"), (90, "mov"), (180, "mp4"), (270, "mp4"))
    ),
    Kind("odd sides, 4:4:4", "odd444.mp4", replace(PLAIN, pix_fmt="yuv444p", width_px=161, height_px=97)),
    Kind("odd sides, 4:2:0", "odd420.webm", replace(VP9, width_px=161, height_px=97)),
    Kind("10-bit h264", "ten_bit.mp4", replace(PLAIN, pix_fmt="yuv420p10le")),
    Kind("10-bit HEVC", "ten_bit_hevc.mp4", replace(HEVC, pix_fmt="yuv420p10le")),
    Kind("interlaced flag", "interlaced.mp4", replace(PLAIN, options=(("x264-params", "interlaced=1:tff=1"),))),
    Kind("full range", "full_range.mp4", replace(PLAIN, full_range=True)),
    Kind("4:2:2", "yuv422.mp4", replace(PLAIN, pix_fmt="yuv422p")),
    Kind("4:4:4", "yuv444.mp4", replace(PLAIN, pix_fmt="yuv444p")),
    Kind("moov first", "faststart.mp4", replace(PLAIN, mux=FASTSTART)),
    Kind(
        "fragmented",
        "fragmented.mp4",
        replace(PLAIN, options=SHORT_GOP, mux=FRAGMENTS),
    ),
    Kind("MOV", "clip.mov", PLAIN),
    Kind("MKV", "clip.mkv", PLAIN),
    Kind("raw .h264", "raw.h264", replace(PLAIN, options=SHORT_GOP)),
    Kind("raw .hevc", "raw.hevc", HEVC),
    Kind("one frame", "one.mp4", replace(PLAIN, n_frames=1)),
    Kind("picture starts after the sound", "late.mp4", replace(PLAIN, audio="first", late_s=15.0)),
    Kind("picture starts after the sound, MKV", "late.mkv", replace(PLAIN, audio="first", late_s=15.0)),
    Kind("two video streams", "two.mp4", replace(PLAIN, beside=(LARGER,))),
    Kind("two video streams, the second is the default", "second.mkv", replace(PLAIN, beside=(DEFAULT,))),
    Kind("slides, then a webcam", "slides.mp4", replace(PLAIN, beside=(SLIDES,))),
    Kind("large still as second track", "still.mp4", replace(PLAIN, beside=(STILL,))),
    Kind("large still as first track", "still.mov", replace(PLAIN, beside=(replace(STILL, comes_first=True),))),
    Kind("large cover", "cover.mp4", replace(PLAIN, beside=(FLAGGED,))),
    Kind("large cover without its flag", "no_flag.mp4", replace(PLAIN, beside=(COVER,))),
    Kind("large cover without its flag, MKV", "no_flag.mkv", replace(PLAIN, beside=(COVER,))),
    Kind("audio first", "audio_first.mp4", replace(PLAIN, audio="first")),
    Kind("audio last", "audio_last.mp4", replace(PLAIN, audio="last")),
    Kind("damaged: cut short", "cut.mp4", replace(PLAIN, mux=FASTSTART), cut_short, False),
    Kind("damaged: cut short, MKV", "cut.mkv", replace(PLAIN, options=SHORT_GOP), cut_short, False),
    Kind("damaged: cut short, TS", "cut.ts", replace(PLAIN, options=SHORT_GOP), cut_short, False),
    Kind("damaged: cut short, no moov", "cut_no_moov.mp4", PLAIN, cut_short, False),
    Kind(
        "damaged: 400 flipped bytes", "flipped.mp4", replace(PLAIN, options=SHORT_GOP, mux=FASTSTART), flip_bytes, False
    ),
    Kind("damaged: 400 flipped bytes, TS", "flipped.ts", replace(PLAIN, options=SHORT_GOP), flip_bytes, False),
    Kind("damaged: 400 flipped bytes, AVI", "flipped.avi", MPEG4, flip_bytes, False),
    Kind("damaged: 400 flipped bytes, VP9", "flipped.webm", VP9, flip_bytes, False),
    Kind("damaged: undecodable packet", "spoilt.mp4", replace(PLAIN, options=SHORT_GOP), spoil_packet, False),
    Kind("damaged: undecodable packet, HEVC", "spoilt_hevc.mp4", HEVC, spoil_packet, False),
    Kind("starts inside an open GOP, HEVC", "open_hevc.mp4", HEVC, from_open_gop, False),
    Kind("starts inside an open GOP, h264", "open_h264.mkv", replace(PLAIN, options=OPEN_GOP), from_open_gop, False),
)


def table(kinds: Sequence[Kind], folder: Path) -> tuple[str, int]:
    """A Markdown table of clips x backends x modes, and how many frames were not what they claimed to be."""
    head = ["clip", "backend", *MODES]
    lines = [f"| {' | '.join(head)} |", "|" + " --- |" * len(head)]
    notes: list[str] = []
    total: Counter[str] = Counter()
    for kind in kinds:
        path, first = kind.make(folder)
        for backend in BACKENDS:
            outcomes = [judge(path, first, backend, mode, kind.is_intact, kind.numbers) for mode in MODES]
            for outcome in outcomes:
                total.update(runs=1, frames=outcome.n_right, wrong=outcome.n_wrong, refused=bool(outcome.refusal))
            reasons = {outcome.refusal for outcome in outcomes if outcome.refusal}
            notes += [_wrapped(f"- {kind.name}, {backend}: {reason}", "  ") for reason in sorted(reasons)]
            lines.append(f"| {kind.name} | {backend} | {' | '.join(outcome.words for outcome in outcomes)} |")
    summary = (
        f"{len(kinds)} clips x {len(BACKENDS)} backends x {len(MODES)} modes = {total['runs']} runs: "
        f"{total['frames']} frames right, {total['wrong']} wrong, {total['refused']} runs refused.\n"
    )
    key = (
        "A cell says how many of the wanted frames came and were the ones they claimed to be. unreadable: damage hit "
        "the bar code. suspect: the frame says itself that something before it could not be decoded."
    )
    refused = "\n".join(["", "Reasons of the refusals:", "", *notes, ""]) if notes else ""
    return "\n".join([summary, f"{_wrapped(key)}\n", *lines, refused]), total["wrong"]


def _wrapped(text: str, indent: str = "") -> str:
    return textwrap.fill(text, 120, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
