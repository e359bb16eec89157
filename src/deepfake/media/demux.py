"""What a video file holds, from its packets alone: the demux pass behind `deepfake.media.video.probe`.

Packets in display order are the ground truth about frame numbers; decoders are never believed about them.
"""

from __future__ import annotations

import errno
import importlib.util
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
from av.codec.context import Flags

from deepfake.media import bitstream
from deepfake.media.encryption import encryption_of
from deepfake.media.orientation import orientation
from deepfake.media.other_kinds import kind_of
from deepfake.media.source import Source
from deepfake.media.streams import COVER, EMPTY, UNDECODABLE, VideoStream, looked_at, why_left_out

# Containers a person's video comes in. Left out on purpose: playlists (they open other files and the
# network), pictures, and FFmpeg's `tty`, which takes any text file for a video.
_CONTAINERS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,mpegvideo,m4v,h264,hevc,obu,ivf,flv,asf,ogg,mxf,"
    "nut,rm,dv,gif,apng,wtv,mjpeg,av1,vc1,swf,gxf,yuv4mpegpipe,mp3,wav,flac,aac"
)
# They store no display times; where frames are reordered, FFmpeg's guesses were wrong (h264 in AVI: 6 of 20).
_NO_DISPLAY_TIMES = {"avi", "h264", "hevc", "m4v", "mpegvideo", "obu"}
_DECORD_CONTAINERS = {"mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm"}
_DECORD_CODECS = {"h264", "vp9"}
_BUFFER_BYTES = 1 << 16
_DEFAULT, _COVER_PICTURE = 0x1, 0x400  # FFmpeg's AV_DISPOSITION_DEFAULT, _ATTACHED_PIC
_RUNNING_CLOCK = 0x200  # FFmpeg's AVFMT_TS_DISCONT: broadcasts and the like, whose times begin anywhere
# Why a file cannot be opened that may well be sound.
_NOT_ITS_FAULT = {
    *(errno.ENOENT, errno.EACCES, errno.EPERM, errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.ETIMEDOUT),
    *(errno.EINTR, errno.EAGAIN, errno.EBUSY, errno.ESTALE, errno.ENODEV, errno.ENXIO, errno.ENOTCONN),
}


class VideoError(ValueError):
    """A file that is not a usable video: says which, what was found, what was wanted, what to do."""


class LostFileError(VideoError):
    """A file that could not be read here and now: nothing is known of what it holds, so it is worth another try."""


@dataclass(frozen=True)
class VideoProbe:
    """What a demux pass finds of a video stream; nothing but its first frame is decoded.

    `stream` is its number in the file, `streams` are all video streams, this one among them. `width_px`, `height_px`
    are of the upright picture, `rotation` is what turns the stored one upright (clockwise degrees); where it
    `is_mirrored`, left and right are changed afterwards. `start_s` is the stream's own, as the file has it;
    `first_frame_s` is when players show its first frame, `timeline_start_s` when they show or play anything first.
    `keyframe_share` and `reference_share` are shares of the playable frames; `reference_share` is None where packets
    do not say (AV1, for one). `verdicts` says per backend "ok" or why it is not used.
    """

    path: Path
    container: str
    stream: int
    codec: str
    pixel_format: str
    width_px: int
    height_px: int
    rotation: int
    is_mirrored: bool
    fps: float
    duration_s: float
    n_packets: int
    n_declared: int | None
    n_discarded: int
    n_missing_pts: int
    is_vfr: bool
    keyframe_share: float
    reference_share: float | None
    start_s: float
    first_frame_s: float
    timeline_start_s: float
    has_audio: bool
    n_frames: int
    is_cut_short: bool
    streams: tuple[VideoStream, ...]
    verdicts: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Packets:
    """The playable packets of a stream in display order; `keys` are pts, or 0, 1, 2 ... where pts are missing.

    `zero` is the key of the time 0 (`_Clock`), `stream` the stream's number in the file. `entries[i]` is the packet, in
    decode order, at which decoding has to start for frame i; `is_start` says of each packet in decode order whether
    decoding can start there.
    """

    stream: int
    keys: npt.NDArray[np.int64]
    zero: float
    is_keyframe: npt.NDArray[np.bool_]
    is_reference: npt.NDArray[np.bool_] | None
    entries: npt.NDArray[np.int64]
    is_start: npt.NDArray[np.bool_]
    has_open_gops: bool
    has_pts: bool
    tick_s: float

    def next_start(self, key: int) -> float:
        """Display time of the first keyframe after one; infinity where there is none."""
        later = self.keys[self.is_keyframe & (self.keys > key)]
        return float(later[0]) if len(later) else np.inf

    def time_s(self, key: float) -> float:
        """When players show a frame, in seconds."""
        return (key - self.zero) * self.tick_s

    @property
    def length_s(self) -> float:
        """Seconds from the first frame's display time to the last one's."""
        return float(self.keys[-1] - self.keys[0]) * self.tick_s


@dataclass(frozen=True)
class Demuxed:
    """All that one pass over a file's packets returns of the stream that stands for it; `further` are other ones.

    `further` holds the file's other video streams that are to be looked at, each without any of its own. `tags` are
    what the file says of its making: container and stream tags, and the settings x264 and x265 leave in the stream.
    Anybody can write these; values are cut to 1000 characters.
    """

    probe: VideoProbe
    packets: Packets
    tags: Mapping[str, str]
    further: tuple[Demuxed, ...] = ()
    source: Source | None = None  # it was read by, and is decoded by


@dataclass
class _Scan:
    """What the demux pass collects of a stream, in decode order."""

    stream: Any
    first: bytes = b""  # the first packet with data
    pts: list[int | None] = field(default_factory=list)
    entry: list[int] = field(default_factory=list)
    reference: list[bool] = field(default_factory=list)
    playable: list[bool] = field(default_factory=list)
    n_discarded: int = 0
    n_not_entries: int = 0
    is_reordered: bool = False
    first_picture: Any = None
    tries: int = 3  # keyframes to decode for the first picture
    error: str = ""

    def __post_init__(self) -> None:
        codec = set_up(self.stream, "DEFAULT", 1)
        self.codec_name: str = codec.codec.canonical_name
        self.size = bitstream.length_bytes(self.codec_name, bytes(codec.extradata or b""))

    @property
    def is_guessed(self) -> bool:
        """Whether display times are FFmpeg's guesses, for the container stores none."""
        return self.is_reordered and self.stream.container.format.name in _NO_DISPLAY_TIMES

    @property
    def starts(self) -> Fraction | None:
        """Seconds at which the file has its first playable frame; None where it does not say."""
        if self.is_guessed:
            return None
        shown = [pts for pts, is_shown in zip(self.pts, self.playable, strict=True) if is_shown and pts is not None]
        return min(shown) * Fraction(self.stream.time_base) if shown else None


@dataclass(frozen=True)
class _Clock:
    """Which time of the file is 0 to players, and at which they begin: seconds as the file has them.

    Files have a timeline of their own from 0 on, on which a stream may begin late; browsers count on it, even where
    all streams do. Only where times are those of a running clock does the earliest stream begin at 0.
    """

    zero: Fraction
    start: Fraction


def open_video(path: Path, source: Source | None = None) -> Any:
    """The file as a PyAV container, by a source of it that is open already, if any; VideoError where that fails."""
    # Native logs would flood stderr with one line a damaged block; our errors say what matters.
    av.logging.set_level(None)
    require_file(path)
    if path.stat().st_size == 0:
        raise VideoError(f"video {path.name!r}: the file has 0 bytes; fetch it again or leave it out")
    options = {"format_whitelist": _CONTAINERS, "protocol_whitelist": "file"}
    try:
        # An absolute path, for FFmpeg takes `a:b.mp4` for a protocol.
        opened = str(path.absolute()) if source is None else source.view()
        return av.open(opened, options=options, metadata_errors="replace", buffer_size=_BUFFER_BYTES)
    except (av.error.FFmpegError, UnicodeError, ValueError) as error:
        if getattr(error, "errno", None) in _NOT_ITS_FAULT:
            raise LostFileError(f"video {path.name!r}: could not be opened ({_words(error)}); try again") from None
        with path.open("rb") as file:
            found, remedy = kind_of(file.read(4096))
        raise VideoError(f"video {path.name!r}: found {found} ({_words(error)}), wanted a video; {remedy}") from None


def require_file(path: Path) -> None:
    """Raise LostFileError unless there is a regular file: whoever opens a pipe waits for a writer."""
    if path.is_file():
        return
    nothing = "a link that leads to no file" if path.is_symlink() else "nothing"
    found = "a folder" if path.is_dir() else nothing if not path.exists() else "a pipe, a socket or a device"
    raise LostFileError(f"video {path.name!r}: found {found} at {str(path)!r}, wanted a video file")


def _words(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error)


def _refuse_encrypted(path: Path, container: Any, stream: Any) -> None:
    encryption = encryption_of(path, container, stream)
    if encryption is not None:
        raise VideoError(
            f"video {path.name!r}: is encrypted (DRM: {encryption}), wanted a video that can be decoded; ask its "
            "publisher for a copy without DRM or, with the key, decrypt it first (Shaka Packager, mp4decrypt)"
        )


def _decodable(container: Any, path: Path) -> list[Any]:
    """The video streams that are no cover pictures and can be decoded."""
    shown = [s for s in container.streams.video if not int(s.disposition) & _COVER_PICTURE]
    streams = [s for s in shown if s.codec_context is not None]
    if shown and not streams:
        raise VideoError(
            f"video {path.name!r}: found a video stream of a codec this FFmpeg cannot decode; convert it to H.264"
        )
    if not streams:
        kinds = [f"{s.type} ({s.codec_context.name})" for s in container.streams if s.codec_context is not None]
        cover = " and a cover picture" if container.streams.video else ""
        raise VideoError(
            f"video {path.name!r}: found {', '.join(kinds) or 'no streams'}{cover}, wanted a video stream; leave it out"
        )
    return streams


def set_up(stream: Any, level: str, threads: int, with_damaged: bool = False) -> Any:
    """The stream's decoder, set to so many threads and to what it may leave out; `with_damaged`: see `decode`."""
    codec = stream.codec_context
    if with_damaged:
        codec.flags |= int(Flags.output_corrupt)
    elif codec.codec.canonical_name == "hevc":
        # FFmpeg's HEVC decoder conceals what it cannot decode and marks no frame: of 16 clips with 1 to 1000 flipped
        # bits it reported 3, in this way 11. It still returns the frame.
        codec.options = {"err_detect": "explode"}
    codec.thread_count = threads
    codec.thread_type = "AUTO" if threads > 1 else "SLICE"
    codec.skip_frame = level
    return codec


def coded_packets(container: Any, *streams: Any) -> Iterator[Any]:
    """The streams' packets with data in them, in decode order."""
    packets = container.demux(*streams)
    while True:
        try:
            packet = next(packets)
        except StopIteration:
            return
        except IndexError:
            # PyAV stumbles over a stream that appears in the middle of a TS; what follows is fine.
            packets = container.demux(*streams)
            continue
        if packet.size > 0:
            yield packet


def scan(path: Path, source: Source | None = None) -> Demuxed:
    """Demux a whole file: what it holds, its packets in display order, its tags; `source`: see `open_video`."""
    with open_video(path, source) as container:
        decodable = _decodable(container, path)
        for stream in decodable:
            _refuse_encrypted(path, container, stream)
        scans = {stream.index: _Scan(stream) for stream in decodable}
        _demux(container, scans)
        clock = _clock(container, list(scans.values()))
        found = {number: _of_stream(path, container, one, clock) for number, one in scans.items() if any(one.playable)}
        if not found:
            one = next(iter(scans.values()))
            more = f" ({one.error})" if one.error else ""
            raise VideoError(
                f"video {path.name!r}: found a {one.stream.codec_context.name} stream without any frame{more}; "
                "the file may be cut short: fetch it again or leave it out"
            )
        streams = [_stream_of(stream, found.get(stream.index)) for stream in container.streams.video]
        chosen = looked_at(streams)
        streams = [replace(stream, left_out=why_left_out(stream, chosen)) for stream in streams]
        main, *further = (_with_streams(found[number], streams) for number in chosen)
        one = scans[main.packets.stream]
        header = bytes(one.stream.codec_context.extradata or b"")
        tags = _tags({**one.stream.metadata, **container.metadata}, header + one.first)
        others = tuple(replace(other, source=source) for other in further)
        return replace(main, tags=tags, further=others, source=source)


def _of_stream(path: Path, container: Any, scan: _Scan, clock: _Clock) -> Demuxed:
    packets = _in_display_order(scan, clock)
    return Demuxed(_describe(path, container, scan, packets, clock), packets, {})


def _stream_of(stream: Any, demuxed: Demuxed | None) -> VideoStream:
    """A video stream, with the reason for which nothing was found in it."""
    number, is_default = stream.index, bool(int(stream.disposition) & _DEFAULT)
    if demuxed is not None:
        probe = demuxed.probe
        return VideoStream(
            stream=number,
            codec=probe.codec,
            width_px=probe.width_px,
            height_px=probe.height_px,
            n_frames=probe.n_frames,
            first_frame_s=probe.first_frame_s,
            duration_s=probe.duration_s,
            is_default=is_default,
        )
    codec, is_cover = stream.codec_context, bool(int(stream.disposition) & _COVER_PICTURE)
    reason = COVER if is_cover else UNDECODABLE if codec is None else EMPTY
    if codec is None:
        return VideoStream(number, "unknown", 0, 0, 0, 0.0, 0.0, is_default, reason)
    name = codec.codec.canonical_name
    return VideoStream(number, name, codec.width, codec.height, int(is_cover), 0.0, 0.0, is_default, reason)


def _with_streams(demuxed: Demuxed, streams: Sequence[VideoStream]) -> Demuxed:
    verdicts = dict(demuxed.probe.verdicts)
    if len(streams) > 1 and verdicts["decord"] == "ok":
        verdicts["decord"] = f"{len(streams)} video streams: decord cannot be told which one to read"
    return replace(demuxed, probe=replace(demuxed.probe, streams=tuple(streams), verdicts=verdicts))


def _clock(container: Any, scans: Sequence[_Scan]) -> _Clock:
    sounds = [Fraction(s.start_time) * s.time_base for s in container.streams.audio if s.start_time is not None]
    starts = [start for start in (*sounds, *(scan.starts for scan in scans)) if start is not None]
    earliest = min(starts, default=Fraction(0))
    if int(container.format.flags) & _RUNNING_CLOCK:
        return _Clock(earliest, earliest)
    return _Clock(Fraction(0), max(earliest, Fraction(0)))


def _tags(named: Mapping[str, str], data: bytes) -> dict[str, str]:
    """Tags with the encoder's settings from the beginning of the stream."""
    tags = dict(named)
    for name in (b"x264 - core", b"x265 (build"):
        if name in data:
            text = data[data.index(name) :].partition(b"\0")[0]
            tags["encoder_settings"] = text.decode("ascii", "replace")
    return {str(key): str(value)[:1000] for key, value in sorted(tags.items())}


def _demux(container: Any, scans: Mapping[int, _Scan]) -> None:
    """Fill the scans of streams, by their numbers, in one pass over the file."""
    try:
        for packet in coded_packets(container, *(scan.stream for scan in scans.values())):
            _take(scans[packet.stream.index], packet)
    except av.error.FFmpegError as error:
        for scan in scans.values():
            scan.error = _words(error)


def _take(scan: _Scan, packet: Any) -> None:
    data, name, size = memoryview(packet), scan.codec_name, scan.size
    scan.first = scan.first or bytes(data)
    shown = not packet.is_discard and bitstream.is_shown(name, data)
    scan.pts.append(packet.pts)
    scan.is_reordered |= packet.pts != packet.dts
    is_start = packet.is_keyframe and not (name in bitstream.DELTAS and len(scan.pts) > 1)
    scan.entry.append(bitstream.entry_kind(name, data, size) if is_start else bitstream.NO_ENTRY)
    scan.reference.append(not packet.is_disposable and bitstream.is_reference(name, data, size))
    scan.playable.append(shown)
    scan.n_not_entries += packet.is_keyframe and scan.entry[-1] == bitstream.NO_ENTRY
    scan.n_discarded += packet.is_discard
    if scan.first_picture is None and packet.is_keyframe and scan.tries > 0:
        scan.tries -= 1
        # An edit list may hide it from the decoder; a copy is not marked so.
        visible = av.Packet(bytes(packet)) if packet.is_discard else packet
        scan.first_picture = next(iter(decode_alone(scan.stream.codec_context, visible)), None)


def decode_alone(codec: Any, packet: Any) -> list[Any]:
    """A keyframe's picture, without those around it; empty when it cannot be decoded."""
    try:
        pictures = [*codec.decode(packet), *codec.decode(None)]
    except (av.error.FFmpegError, ValueError):
        pictures = []
    codec.flush_buffers()
    return pictures


def _in_display_order(scan: _Scan, clock: _Clock) -> Packets:
    stream = scan.stream
    playable = np.flatnonzero(scan.playable)
    pts = [scan.pts[i] for i in playable]
    has_pts = None not in pts and len(set(pts)) == len(pts) and not scan.is_guessed
    fps = float(stream.average_rate or stream.guessed_rate or 0) or 25.0
    keys = np.asarray(pts if has_pts else np.arange(len(pts)), np.int64)
    order = np.argsort(keys, kind="stable")
    keyframes = np.flatnonzero(scan.entry)
    all_pts = np.asarray([p if p is not None else 0 for p in scan.pts], np.int64)
    entries = np.zeros(len(keys), np.int64)
    if has_pts and len(keyframes):
        # The last keyframe shown no later; the frames between it and the wanted one need nothing before it.
        shown = keyframes[np.argsort(all_pts[keyframes], kind="stable")]
        place = np.searchsorted(all_pts[shown], keys[order], side="right") - 1
        entries = np.where(place >= 0, shown[np.maximum(place, 0)], 0)
    reference = np.asarray(scan.reference)[playable][order]
    tick = Fraction(stream.time_base) if has_pts else 1 / Fraction(fps)
    return Packets(
        stream=stream.index,
        keys=keys[order],
        zero=_zero(scan, clock, int(keys.min()), tick),
        is_keyframe=np.asarray(scan.entry)[playable][order] != bitstream.NO_ENTRY,
        is_reference=reference if bitstream.tells_references(scan.codec_name) and has_pts else None,
        entries=entries,
        is_start=np.asarray(scan.entry) != bitstream.NO_ENTRY,
        has_open_gops=bitstream.OPEN in scan.entry,
        has_pts=has_pts,
        tick_s=float(stream.time_base) if has_pts else 1 / fps,
    )


def _zero(scan: _Scan, clock: _Clock, first_key: int, tick: Fraction) -> float:
    """The key of time 0; the first one's where the file does not say when it is shown, or says: before 0."""
    late = Fraction(0) if scan.starts is None else max(scan.starts - clock.zero, Fraction(0))
    return float(first_key - late / tick)


def _describe(path: Path, container: Any, scan: _Scan, packets: Packets, clock: _Clock) -> VideoProbe:
    stream, picture = scan.stream, scan.first_picture
    codec = stream.codec_context
    n_frames = len(packets.keys)
    steps_s = np.diff(packets.keys) * packets.tick_s
    usual_s = float(np.median(steps_s)) if n_frames > 1 else 1 / float(stream.average_rate or 25)
    mean_s = float(steps_s.mean()) if n_frames > 1 else usual_s
    uneven = np.abs(steps_s - usual_s) > max(1.5 * packets.tick_s, 0.1 * usual_s)
    rotation, is_mirrored = orientation(picture) if picture is not None else (0, False)
    sides = (codec.width, codec.height)
    if picture is not None:
        sides = (picture.width, picture.height)
    references = packets.is_reference
    start_s = float(stream.start_time * stream.time_base) if stream.start_time is not None else 0.0
    declared = stream.frames or None
    described = VideoProbe(
        path=path,
        container=container.format.name,
        stream=stream.index,
        codec=codec.codec.canonical_name,
        pixel_format=picture.format.name if picture is not None else str(codec.pix_fmt),
        width_px=sides[rotation % 180 != 0],
        height_px=sides[rotation % 180 == 0],
        rotation=rotation,
        is_mirrored=is_mirrored,
        fps=1 / mean_s,
        duration_s=n_frames * mean_s,
        n_packets=len(scan.pts),
        n_declared=declared,
        n_discarded=scan.n_discarded,
        n_missing_pts=sum(p is None for p in scan.pts),
        is_vfr=bool(uneven.sum() > 0.01 * n_frames),
        keyframe_share=float(packets.is_keyframe.mean()),
        reference_share=None if references is None else float(references.mean()),
        start_s=start_s,
        first_frame_s=packets.time_s(float(packets.keys[0])),
        timeline_start_s=float(clock.start - clock.zero),
        has_audio=bool(container.streams.audio),
        n_frames=n_frames,
        is_cut_short=bool(scan.error) or _is_shorter_than_declared(stream, scan, packets),
        streams=(),
    )
    described.verdicts.update(pyav=_pyav_verdict(codec, picture), decord=_decord_verdict(described, packets, scan))
    return described


def _is_shorter_than_declared(stream: Any, scan: _Scan, packets: Packets) -> bool:
    """Whether packets or, in MKV, seconds are missing; AVI counts empty packets, so it cannot be known."""
    if stream.container.format.name == "avi":
        return False
    if stream.frames:
        return len(scan.pts) < int(stream.frames)
    parts = stream.metadata.get("DURATION", "").split(":")
    try:
        declared_s = sum(float(part) * 60**i for i, part in enumerate(reversed(parts)))
    except ValueError:
        return False
    return bool(declared_s - packets.time_s(float(packets.keys[-1])) > 0.5)


def _pyav_verdict(codec: Any, first_picture: Any) -> str:
    return "ok" if first_picture is not None else f"none of the first keyframes ({codec.name}) could be decoded"


def _decord_verdict(described: VideoProbe, packets: Packets, scan: _Scan) -> str:
    """Why decord 0.6.0 would or might return wrong frames; each rule was seen to matter."""
    if importlib.util.find_spec("decord") is None:
        return "decord is not installed"
    if described.container not in _DECORD_CONTAINERS:
        return f"container {described.container}: decord returns wrong frames or none"
    if described.codec not in _DECORD_CODECS:
        return f"codec {described.codec}: decord returns wrong frames or none"
    if described.n_discarded:
        return f"{described.n_discarded} discarded packets (an edit list): decord returns wrong frames"
    if described.is_mirrored:
        return "mirrored: decord is not proven there"
    if not packets.has_pts:
        return "missing or repeated timestamps: decord returns wrong frames"
    if packets.has_open_gops:
        return "keyframes whose leading frames refer back (open GOPs): decord returns wrong frames"
    if described.start_s != 0:
        return f"starts at {described.start_s:.3f} s, not at 0: decord is not proven there"
    if described.is_cut_short:
        return "cut short: decord loses the whole batch"
    if described.n_frames != described.n_packets:
        return "hidden packets: decord is not proven there"
    if scan.n_not_entries:
        return "periodic intra refresh: decord returns wrong frames"
    return "ok"
