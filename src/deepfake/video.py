"""Videos: what a file holds (`probe`) and the frames to look at (`sample`). The door to PyAV and decord.

A frame's index is its place in display order among the file's playable packets, known from a
demux pass before anything is decoded; decoders are never believed about it.
"""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import av
import numpy as np
import numpy.typing as npt

from deepfake import bitstream, pixels, sampling
from deepfake.config import UserError
from deepfake.shots import CutDetector, CutFinder, luma_change

Sampling = Literal["uniform", "fps", "reference", "keyframe", "adaptive", "shot_aware"]
Backend = Literal["auto", "pyav", "decord"]
Picture = npt.NDArray[np.uint8]

# Containers a person's video comes in. Left out on purpose: playlists (they open other files and the
# network), pictures, and FFmpeg's `tty`, which takes any text file for a video.
_CONTAINERS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,mpegvideo,m4v,h264,hevc,obu,ivf,flv,asf,ogg,mxf,"
    "nut,rm,dv,gif,wtv,mjpeg,av1,vc1,swf,gxf,yuv4mpegpipe,mp3,wav,flac,aac"
)
_DECORD_CONTAINERS = {"mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm"}
_DECORD_CODECS = {"h264", "vp9"}
_DECORD_MAX_BYTES = 256 << 20  # decord hands over all frames at once
_MIN_SKIP_S = 0.5  # shorter stretches are decoded although nobody asked: the cut finder sees them
_LONG_FRAMES = 9000  # five minutes at 30 fps: from here on a first pass looks at keyframes only
_NO_REFERENCES_KNOWN = 4  # so many frames per wanted one make sure that enough of them are references


class VideoError(ValueError):
    """A file that is not a usable video: says which, what was found, what was wanted, what to do."""


@dataclass(frozen=True)
class VideoProbe:
    """What a demux pass finds; nothing but the first frame is decoded.

    `width_px`, `height_px` are of the upright picture, `rotation` is what turns the stored one upright
    (clockwise degrees). `keyframe_share` and `reference_share` are shares of the playable frames;
    `reference_share` is None where packets do not tell (AV1, for one). `verdicts` says per backend
    "ok" or why it is not used.
    """

    path: Path
    container: str
    codec: str
    pixel_format: str
    width_px: int
    height_px: int
    rotation: int
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
    has_audio: bool
    n_frames: int
    is_cut_short: bool
    verdicts: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _Packets:
    """The playable packets in display order; `keys` are pts, or 0, 1, 2 ... where pts are missing."""

    keys: npt.NDArray[np.int64]
    is_keyframe: npt.NDArray[np.bool_]
    is_reference: npt.NDArray[np.bool_] | None
    entries: npt.NDArray[np.int64]
    has_pts: bool
    tick_s: float

    def time_s(self, key: float) -> float:
        return (key - float(self.keys[0])) * self.tick_s


@dataclass
class _Scan:
    """What the demux pass collects, in decode order."""

    pts: list[int | None] = field(default_factory=list)
    keyframe: list[bool] = field(default_factory=list)
    reference: list[bool] = field(default_factory=list)
    playable: list[bool] = field(default_factory=list)
    n_discarded: int = 0
    first_picture: Any = None
    error: str = ""


@dataclass(frozen=True)
class Cut:
    """The first frame of a new shot."""

    index: int
    time_s: float


class Frame:
    """One frame of a video, upright; pixels are converted only when asked for.

    `index` counts from 0 in display order, `time_s` from the first frame. `shot` counts from 0.
    `is_suspect`: something before it, back to the last keyframe, could not be decoded, so the picture may be smeared.
    """

    def __init__(self, picture: Any, rotation: int, index: int, time_s: float) -> None:
        self._picture = picture
        self._rotation = rotation
        self.index = index
        self.time_s = time_s
        self.shot = 0
        self.is_suspect = False
        self.is_keyframe = bool(picture.key_frame)
        sides = (picture.width, picture.height)
        self.width_px, self.height_px = sides if rotation % 180 == 0 else sides[::-1]

    def rgb(self) -> Picture:
        """The whole frame, height x width x RGB."""
        return pixels.rgb(self._picture, self._rotation)

    def small_rgb(self, side_px: int) -> Picture:
        """The whole frame with its longer side at most `side_px`; never enlarged."""
        return pixels.small_rgb(self._picture, self._rotation, side_px)

    def rgb_region(self, x0: int, y0: int, x1: int, y1: int) -> Picture:
        """`rgb()[y0:y1, x0:x1]` within two grey levels, at the cost of that region alone."""
        return pixels.rgb_region(self._picture, self._rotation, (x0, y0, x1, y1))

    def luma_thumb(self) -> Picture:
        """A grey picture of about 64 x 36 for finding shots and for hashing; 0.1 ms."""
        return pixels.luma_thumb(self._picture, self._rotation)


def probe(path: Path) -> VideoProbe:
    """Demux a file and say what it holds; VideoError for what is no video."""
    return _scan(path)[0]


def sample(
    path: Path,
    sampling: Sampling = "reference",
    n_frames: int = 32,
    sample_fps: float = 2.0,
    backend: Backend = "auto",
    on_frame: Callable[[Frame], None] | None = None,
    *,
    threads: int = 1,
    cut_detector: CutDetector | None = None,
) -> Sampled:
    """Open a video for one pass over the frames to look at, in display order.

    uniform: middles of `n_frames` equal parts. reference: the same, moved to the nearest frame that
    others refer to; the rest is not decoded. keyframe: keyframes, at most `n_frames`. fps: every
    1 / `sample_fps` seconds, however many. adaptive: equal steps of cumulative luma change. shot_aware: each shot at least one.
    adaptive and shot_aware decode twice (the first time keyframes only, from 9000 frames on).
    `on_frame` sees every decoded frame, also those not sampled.
    """
    if n_frames < 1 or sample_fps <= 0:
        raise ValueError(f"found n_frames = {n_frames}, sample_fps = {sample_fps}; wanted at least 1 and more than 0")
    return Sampled(path, sampling, n_frames, sample_fps, backend, on_frame, threads, cut_detector)


class Sampled:
    """An open video: iterate once over its sampled frames. Closes itself at the end; `with` closes it earlier.

    Counts (`n_decoded`, `n_corrupt`, `n_bad_packets`, `n_yielded`) and `cuts` grow while iterating.
    """

    def __init__(
        self,
        path: Path,
        mode: Sampling,
        n_frames: int,
        sample_fps: float,
        backend: Backend,
        on_frame: Callable[[Frame], None] | None,
        threads: int,
        cut_detector: CutDetector | None,
    ) -> None:
        self.probe, self._packets = _scan(path)
        self.n_frames = self.probe.n_frames
        self.cuts: list[Cut] = []
        self.n_yielded = self.n_decoded = self.n_corrupt = self.n_bad_packets = 0
        self._path, self._threads, self._on_frame = path, threads, on_frame
        self._cut_detector: CutDetector = cut_detector or CutFinder()
        self._last_size = (0, 0)
        positions, self._level, how = self._plan(mode, n_frames, sample_fps)
        self._targets = self._packets.keys[positions]
        self.n_wanted = len(positions)
        self.decoder, self.decoder_reason = _choose_backend(backend, self.probe, positions, how)
        self._positions = positions
        self._frames: Generator[Frame, None, None] = (
            self._read_decord() if self.decoder == "decord" else self._read_pyav()
        )

    @property
    def n_missing(self) -> int:
        """Wanted frames not delivered (so far)."""
        return self.n_wanted - self.n_yielded

    def __enter__(self) -> Sampled:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; frames already handed out stay valid."""
        self._frames.close()

    def __iter__(self) -> Iterator[Frame]:
        for frame in self._frames:
            self.n_yielded += 1
            yield frame
        if self.n_yielded == 0:
            raise VideoError(
                f"video {self._path.name!r}: decoded 0 of {self.n_wanted} wanted frames ({self.n_bad_packets} packets "
                f"could not be decoded, {self.n_corrupt} frames were corrupt); fetch the file again or leave it out"
            )

    def _plan(self, mode: Sampling, n_frames: int, sample_fps: float) -> tuple[npt.NDArray[np.int64], str, str]:
        """Positions of the wanted frames, what the decoder may leave out, and why so."""
        packets = self._packets
        keys = packets.keys
        everything = np.arange(len(keys))
        start, end = float(keys[0]), float(keys[-1]) + (float(keys[-1]) - float(keys[0])) / max(len(keys) - 1, 1)
        if mode == "uniform":
            return sampling.even(keys, n_frames, start, end), "DEFAULT", "every frame decoded"
        if mode == "fps":
            return sampling.every(keys, 1 / (sample_fps * packets.tick_s)), "DEFAULT", "every frame decoded"
        if mode == "keyframe":
            allowed = np.flatnonzero(packets.is_keyframe)
            level = "NONKEY" if packets.has_pts else "DEFAULT"
            return allowed[sampling.even(keys[allowed], n_frames, start, end)], level, "keyframes decoded"
        if mode not in ("reference", "adaptive", "shot_aware"):
            choices = "uniform, fps, reference, keyframe, adaptive, shot_aware"
            raise UserError(f"sampling {mode!r} is not known; choose one of {choices}")
        level, how = self._reference_level(n_frames)
        allowed = everything
        if level == "NONREF" and packets.is_reference is not None:
            allowed = np.flatnonzero(packets.is_reference)
        if mode == "reference":
            return allowed[sampling.even(keys[allowed], n_frames, start, end)], level, how
        first_level = "NONKEY" if len(keys) > _LONG_FRAMES and packets.has_pts else level
        seen, change, cuts = self._first_pass(first_level)
        how += ", after a first pass over " + {"NONKEY": "keyframes", "NONREF": "reference frames"}.get(
            first_level, "all frames"
        )
        if mode == "adaptive":
            chosen = sampling.by_change(keys[allowed], seen, change, n_frames)
        else:
            chosen = sampling.by_shot(keys[allowed], cuts, n_frames)
        return allowed[chosen], level, how

    def _reference_level(self, n_frames: int) -> tuple[str, str]:
        packets = self._packets
        if not packets.has_pts:
            return "DEFAULT", "every frame decoded and counted, for timestamps are missing"
        if packets.is_reference is None:
            enough = len(packets.keys) >= n_frames * _NO_REFERENCES_KNOWN
        else:
            enough = int(packets.is_reference.sum()) >= n_frames
        if not enough:
            return "DEFAULT", "every frame decoded, for there are too few reference frames"
        return "NONREF", "reference frames decoded"

    def _first_pass(self, level: str) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64], list[float]]:
        """Display times looked at, mean luma change up to each, display times of cuts."""
        seen: list[int] = []
        change: list[float] = []
        cuts: list[float] = []
        finder = CutFinder()
        before: Picture | None = None
        for picture, key in _decode(self._path, self._packets, level, self._threads, _Progress()):
            thumb = pixels.luma_thumb(picture, 0)
            if finder.feed(thumb, self._packets.time_s(key)):
                cuts.append(key)
            change.append(0.0 if before is None else luma_change(before, thumb))
            seen.append(key)
            before = thumb
        return np.asarray(seen, np.int64), np.asarray(change), cuts

    def _look(self, frame: Frame) -> None:
        """Count a decoded frame, give it its shot, show it to `on_frame`."""
        self.n_decoded += 1
        size = (frame.width_px, frame.height_px)
        is_cut = self._cut_detector.feed(frame.luma_thumb(), frame.time_s)
        if is_cut or (self._last_size != size and self.n_decoded > 1):
            self.cuts.append(Cut(frame.index, frame.time_s))
        self._last_size = size
        frame.shot = len(self.cuts)
        if self._on_frame is not None:
            self._on_frame(frame)

    def _read_pyav(self) -> Generator[Frame, None, None]:
        """Decode once; hand out, for each wanted display time, the nearest frame that came."""
        targets, entries = self._targets, self._packets.entries[self._positions]
        progress = _Progress(resume_at=int(entries[0]))
        before: Frame | None = None
        before_key = next_target = 0
        for picture, key in _decode(self._path, self._packets, self._level, self._threads, progress):
            index = int(np.searchsorted(self._packets.keys, key))
            frame = Frame(picture, self.probe.rotation, index, self._packets.time_s(key))
            frame.is_suspect = progress.is_suspect
            self.n_corrupt, self.n_bad_packets = progress.n_corrupt, progress.n_bad_packets
            self._look(frame)
            is_wanted = False
            while next_target < len(targets) and targets[next_target] <= key:
                if before is not None and targets[next_target] - before_key < key - targets[next_target]:
                    yield before
                    before = None
                else:
                    is_wanted = True
                next_target += 1
            if is_wanted:
                yield frame
            if next_target == len(targets):
                return
            before, before_key = (None if is_wanted else frame), key
            progress.resume_at = int(entries[next_target])
        self.n_corrupt, self.n_bad_packets = progress.n_corrupt, progress.n_bad_packets
        if before is not None and next_target < len(targets):
            yield before

    def _read_decord(self) -> Generator[Frame, None, None]:
        """All wanted frames by index, in one batch; the reader is gone before the first is handed out."""
        batch = _decord_batch(self._path, self._positions.tolist(), self.n_frames)
        for position, array in zip(self._positions.tolist(), batch, strict=True):
            picture = av.VideoFrame.from_ndarray(array, format="rgb24")
            frame = Frame(picture, 0, position, self._packets.time_s(int(self._packets.keys[position])))
            frame.is_keyframe = bool(self._packets.is_keyframe[position])
            self._look(frame)
            yield frame


@dataclass
class _Progress:
    """Shared by a decoding pass and its reader: where to go on, and what went wrong."""

    resume_at: int = 0
    n_corrupt: int = 0
    n_bad_packets: int = 0
    is_suspect: bool = False


def _open(path: Path) -> Any:
    # Native logs would flood stderr with one line a damaged block; our errors say what matters.
    av.logging.set_level(None)
    if not path.is_file():
        found = "a folder" if path.is_dir() else "nothing" if not path.exists() else "no regular file"
        raise VideoError(f"video {path.name!r}: found {found} at {str(path)!r}, wanted a video file")
    if path.stat().st_size == 0:
        raise VideoError(f"video {path.name!r}: the file has 0 bytes; fetch it again or leave it out")
    options = {"format_whitelist": _CONTAINERS, "protocol_whitelist": "file"}
    try:
        # An absolute path, for FFmpeg takes `a:b.mp4` for a protocol.
        return av.open(str(path.absolute()), options=options, metadata_errors="replace")
    except (av.error.FFmpegError, UnicodeError, ValueError) as error:
        raise VideoError(f"video {path.name!r}: {_looks_like(path)} ({_words(error)}); wanted a video file") from None


def _words(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error)


def _looks_like(path: Path) -> str:
    """A guess at what an unreadable file is."""
    with path.open("rb") as file:
        head = file.read(4096)
    if b"ftyp" in head[:16]:
        return "an MP4 whose index (moov) is missing or damaged, probably cut short; fetch it again"
    try:
        is_text = head.decode("utf-8", errors="strict").isprintable() or b"\n" in head
    except UnicodeDecodeError:
        is_text = False
    return "found text" if is_text else "found bytes that are no known video container"


def _video_stream(container: Any, path: Path) -> Any:
    streams = [s for s in container.streams.video if not int(s.disposition) & 0x400]  # 0x400: a cover picture
    if not streams:
        kinds = [f"{s.type} ({s.codec_context.name})" for s in container.streams if s.codec_context is not None]
        cover = " and a cover picture" if container.streams.video else ""
        raise VideoError(
            f"video {path.name!r}: found {', '.join(kinds) or 'no streams'}{cover}, wanted a video stream; leave it out"
        )
    best = container.streams.best("video")
    return best if best in streams else streams[0]


def _set_up(stream: Any, level: str, threads: int) -> Any:
    codec = stream.codec_context
    codec.thread_count = threads
    codec.thread_type = "AUTO" if threads > 1 else "SLICE"
    codec.skip_frame = level
    return codec


def _coded_packets(container: Any, stream: Any) -> Iterator[Any]:
    """The stream's packets with data in them, in decode order."""
    for packet in container.demux(stream):
        if packet.size > 0:
            yield packet


def _scan(path: Path) -> tuple[VideoProbe, _Packets]:
    with _open(path) as container:
        stream = _video_stream(container, path)
        codec = stream.codec_context
        if codec is None:
            raise VideoError(f"video {path.name!r}: its codec is not known to this FFmpeg; convert it to H.264")
        _set_up(stream, "DEFAULT", 1)
        found = _demux(container, stream)
        if not any(found.playable):
            more = f" ({found.error})" if found.error else ""
            raise VideoError(
                f"video {path.name!r}: found a {codec.name} stream without any frame{more}; "
                "the file may be cut short: fetch it again or leave it out"
            )
        packets = _in_display_order(found, codec.codec.canonical_name, stream)
        return _describe(path, container, stream, found, packets), packets


def _demux(container: Any, stream: Any) -> _Scan:
    found = _Scan()
    codec = stream.codec_context
    name = codec.codec.canonical_name
    size = bitstream.length_bytes(name, bytes(codec.extradata or b""))
    tries = 3
    try:
        for packet in _coded_packets(container, stream):
            data = memoryview(packet)
            shown = not packet.is_discard and bitstream.is_shown(name, data)
            found.pts.append(packet.pts)
            found.keyframe.append(packet.is_keyframe)
            found.reference.append(not packet.is_disposable and bitstream.is_reference(name, data, size))
            found.playable.append(shown)
            found.n_discarded += packet.is_discard
            if found.first_picture is None and packet.is_keyframe and tries > 0:
                tries -= 1
                found.first_picture = _decode_alone(codec, packet)
    except av.error.FFmpegError as error:
        found.error = _words(error)
    return found


def _decode_alone(codec: Any, packet: Any) -> Any:
    """The keyframe's picture, for rotation and pixel format; None when it cannot be decoded."""
    try:
        pictures = [*codec.decode(packet), *codec.decode(None)]
    except (av.error.FFmpegError, ValueError):
        pictures = []
    codec.flush_buffers()
    return pictures[0] if pictures else None


def _in_display_order(found: _Scan, codec: str, stream: Any) -> _Packets:
    playable = np.flatnonzero(found.playable)
    pts = [found.pts[i] for i in playable]
    has_pts = None not in pts and len(set(pts)) == len(pts)
    fps = float(stream.average_rate or stream.guessed_rate or 0) or 25.0
    keys = np.asarray(pts if has_pts else np.arange(len(pts)), np.int64)
    order = np.argsort(keys, kind="stable")
    keyframes = np.flatnonzero(found.keyframe)
    all_pts = np.asarray([p if p is not None else 0 for p in found.pts], np.int64)
    entries = np.zeros(len(keys), np.int64)
    if has_pts and len(keyframes):
        # The last keyframe shown no later; the frames between it and the wanted one need nothing before it.
        shown = keyframes[np.argsort(all_pts[keyframes], kind="stable")]
        place = np.searchsorted(all_pts[shown], keys[order], side="right") - 1
        entries = np.where(place >= 0, shown[np.maximum(place, 0)], 0)
    reference = np.asarray(found.reference)[playable][order]
    return _Packets(
        keys=keys[order],
        is_keyframe=np.asarray(found.keyframe)[playable][order],
        is_reference=reference if bitstream.tells_references(codec) and has_pts else None,
        entries=entries,
        has_pts=has_pts,
        tick_s=float(stream.time_base) if has_pts else 1 / fps,
    )


def _describe(path: Path, container: Any, stream: Any, found: _Scan, packets: _Packets) -> VideoProbe:
    codec, picture = stream.codec_context, found.first_picture
    n_frames = len(packets.keys)
    steps_s = np.diff(packets.keys) * packets.tick_s
    usual_s = float(np.median(steps_s)) if n_frames > 1 else 1 / float(stream.average_rate or 25)
    mean_s = float(steps_s.mean()) if n_frames > 1 else usual_s
    uneven = np.abs(steps_s - usual_s) > max(1.5 * packets.tick_s, 0.1 * usual_s)
    rotation = -round(picture.rotation) % 360 if picture is not None else 0
    rotation = rotation if rotation % 90 == 0 else 0
    sides = (codec.width, codec.height)
    if picture is not None:
        sides = (picture.width, picture.height)
    references = packets.is_reference
    start_s = float(stream.start_time * stream.time_base) if stream.start_time is not None else 0.0
    declared = stream.frames or None
    described = VideoProbe(
        path=path,
        container=container.format.name,
        codec=codec.codec.canonical_name,
        pixel_format=picture.format.name if picture is not None else str(codec.pix_fmt),
        width_px=sides[rotation % 180 != 0],
        height_px=sides[rotation % 180 == 0],
        rotation=rotation,
        fps=1 / mean_s,
        duration_s=n_frames * mean_s,
        n_packets=len(found.pts),
        n_declared=declared,
        n_discarded=found.n_discarded,
        n_missing_pts=sum(p is None for p in found.pts),
        is_vfr=bool(uneven.sum() > 0.01 * n_frames),
        keyframe_share=float(packets.is_keyframe.mean()),
        reference_share=None if references is None else float(references.mean()),
        start_s=start_s,
        has_audio=bool(container.streams.audio),
        n_frames=n_frames,
        is_cut_short=bool(found.error) or (declared is not None and len(found.pts) < declared),
    )
    described.verdicts.update(pyav=_pyav_verdict(codec, picture), decord=_decord_verdict(described, packets))
    return described


def _pyav_verdict(codec: Any, first_picture: Any) -> str:
    return "ok" if first_picture is not None else f"none of the first keyframes ({codec.name}) could be decoded"


def _decord_verdict(described: VideoProbe, packets: _Packets) -> str:
    """Why decord 0.6.0 would or might return wrong frames; each rule was seen to matter."""
    if importlib.util.find_spec("decord") is None:
        return "decord is not installed"
    if described.container not in _DECORD_CONTAINERS:
        return f"container {described.container}: decord returns wrong frames or none"
    if described.codec not in _DECORD_CODECS:
        return f"codec {described.codec}: decord returns wrong frames or none"
    if described.n_discarded:
        return f"{described.n_discarded} discarded packets (an edit list): decord returns wrong frames"
    if not packets.has_pts:
        return "missing or repeated timestamps: decord returns wrong frames"
    if described.start_s != 0:
        return f"starts at {described.start_s:.3f} s, not at 0: decord is not proven there"
    if described.is_cut_short:
        return "cut short: decord loses the whole batch"
    if described.n_frames != described.n_packets:
        return "hidden packets: decord is not proven there"
    return "ok"


def _choose_backend(
    backend: Backend, described: VideoProbe, positions: npt.NDArray[np.int64], how: str
) -> tuple[str, str]:
    """Name of the decoder and the reason for it."""
    if backend == "pyav":
        return "pyav", f"asked for; {how}"
    if backend == "auto":
        # Measured: PyAV skips from keyframe to keyframe as decord does, with the same frames at less cost.
        return "pyav", f"never slower than decord; {how}"
    if backend != "decord":
        raise UserError(f"backend {backend!r} is not known; choose one of auto, pyav, decord")
    if importlib.util.find_spec("decord") is None:
        raise UserError("backend decord was asked for but is not installed; `pip install decord==0.6.0` or use auto")
    verdict = described.verdicts["decord"]
    n_bytes = len(positions) * described.width_px * described.height_px * 3
    if verdict == "ok" and n_bytes > _DECORD_MAX_BYTES:
        verdict = f"{len(positions)} frames are {n_bytes >> 20} MB, more than {_DECORD_MAX_BYTES >> 20} at once"
    if verdict != "ok":
        raise VideoError(f"video {described.path.name!r}: decord is refused: {verdict}; use backend auto or pyav")
    return "decord", "asked for"


def _decord_batch(path: Path, indices: list[int], n_frames: int) -> Picture:
    import decord  # optional; its own FFmpeg is loaded only when asked for

    decord.logging.set_level(decord.logging.QUIET)
    try:
        reader = decord.VideoReader(str(path.absolute()), ctx=decord.cpu(0), num_threads=1)
        if len(reader) != n_frames:
            raise VideoError(
                f"video {path.name!r}: decord counts {len(reader)} frames, the file has {n_frames}; use backend pyav"
            )
        batch: Picture = reader.get_batch(indices).asnumpy()
        del reader  # an idle reader goes on reading ahead, up to gigabytes
    except (decord.DECORDError, RuntimeError) as error:
        first_line = str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
        raise VideoError(f"video {path.name!r}: decord failed ({first_line}); use backend auto or pyav") from None
    return batch


def _decode(path: Path, packets: _Packets, level: str, threads: int, progress: _Progress) -> Iterator[tuple[Any, int]]:
    """Decoded pictures with their display keys, in rising order.

    Packets before `progress.resume_at` (a keyframe's place in decode order; the reader moves it on)
    are not decoded where that leaves out at least half a second.
    """
    with _open(path) as container:
        stream = _video_stream(container, path)
        codec = _set_up(stream, level, threads)
        last, counted = -(1 << 62), 0
        for pictures in _decoded_packets(container, stream, codec, packets, progress):
            for picture in pictures:
                key, counted = picture.pts if packets.has_pts else counted, counted + 1
                if picture.is_corrupt:
                    progress.n_corrupt += 1
                    progress.is_suspect = True
                    continue
                if picture.key_frame:
                    progress.is_suspect = False
                elif level == "NONKEY":
                    continue
                if key is None or key <= last or not _contains(packets.keys, key):
                    continue
                last = key
                yield picture, key


def _contains(keys: npt.NDArray[np.int64], key: int) -> bool:
    place = int(np.searchsorted(keys, key))
    return place < len(keys) and int(keys[place]) == key


def _decoded_packets(
    container: Any, stream: Any, codec: Any, packets: _Packets, progress: _Progress
) -> Iterator[list[Any]]:
    """What each packet gives, packet by packet, a bad one giving nothing."""
    usual_s = (packets.time_s(float(packets.keys[-1])) / max(len(packets.keys) - 1, 1)) or 1.0
    min_skip = max(2, round(_MIN_SKIP_S / usual_s))
    skip_until = 0
    is_skipping = False
    source = enumerate(_coded_packets(container, stream))
    while True:
        try:
            ordinal, packet = next(source)
        except StopIteration:
            break
        except av.error.FFmpegError:
            progress.n_bad_packets += 1
            break
        if progress.resume_at - ordinal >= min_skip:
            skip_until = progress.resume_at
        if ordinal < skip_until:
            is_skipping = True
            continue
        if is_skipping:
            codec.flush_buffers()
            is_skipping = False
        try:
            pictures = codec.decode(packet)
        except (av.error.FFmpegError, ValueError):
            progress.n_bad_packets += 1
            progress.is_suspect = True
            if not packets.has_pts:
                logging.getLogger(__name__).debug("frames after a bad packet cannot be numbered without timestamps")
                break
            continue
        yield pictures
    try:
        pictures = codec.decode(None) if not is_skipping else []
    except (av.error.FFmpegError, ValueError, EOFError):
        pictures = []
    yield pictures
