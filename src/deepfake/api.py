"""What a program uses of this package: every name is also one of `deepfake` itself, such as `deepfake.check`.

Videos are read in processes of their own, so that a file which crashes a decoder, or needs too long, costs that file
alone. What was read and scored is kept, so that no file is read twice: in `cache_dir`, or else in `~/.cache/deepfake`
(in a source tree data/work/predict). Libraries are imported by the function that needs them: `probe` does without
torch.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from deepfake.errors import UserError
from deepfake.files import default_cache, sha256_of

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from deepfake.detector.check import Check
    from deepfake.faces.extracted import StoredFace
    from deepfake.faces.reading import Reading
    from deepfake.media.demux import VideoProbe
    from deepfake.media.video import Sampled
    from deepfake.settings import Extract

Name = str | os.PathLike[str]
Box = tuple[float, float, float, float]


def check(
    path: Name,
    detector: Detector | None = None,
    cache_dir: Name | None = None,
    *,
    deadline_s: float | None = None,
    memory_mb: int | None = None,
    people: bool = True,
    evidence: bool = False,
    trust_list: Name | None = None,
) -> Check:
    """What the shipped detector, or another one, says of a video: a verdict, its probability and the reasons.

    A file that cannot be read, or shows no face, has a verdict too, and None as `p_fake`. UserError where there is no
    file. The shipped detector is loaded by the first call and kept. `deadline_s` and `memory_mb` are what the commands
    call --deadline-s and --memory-mb: what reading the video may cost, by its size where they are not given.
    `people` False: faces are not compared to tell which tracks show one person. `evidence`: other signs are looked for,
    too; neither score nor verdict depends on them. `trust_list`: a file of certificates (PEM), of those who may certify
    signers of Content Credentials.

    >>> found = deepfake.check("clip.mp4")
    >>> found.verdict in ("likely forged", "likely real", "inconclusive")
    True
    >>> 0 <= found.p_fake <= 1
    True
    >>> [(track.from_s, track.n_frames, track.decides) for shot, track in found.tracks]
    [(0.0, 24, True)]
    >>> json.loads(found.to_json())["file"]["name"]
    'clip.mp4'
    """
    return (detector or _shipped()).score(
        path,
        cache_dir,
        deadline_s=deadline_s,
        memory_mb=memory_mb,
        people=people,
        evidence=evidence,
        trust_list=trust_list,
    )


def load_detector(path: Name | None = None) -> Detector:
    """Load a detector's file, such as one that `deepfake ship` made; None: the one that came with this version.

    >>> detector = deepfake.load_detector()
    >>> detector.name
    'selfblend'
    """
    from deepfake.models.detector_file import shipped_weights

    return Detector(shipped_weights() if path is None else Path(path))


@functools.cache
def _shipped() -> Detector:
    return load_detector()


class Detector:
    """A detector, loaded once to score many videos. `name` is its own, `path` that of its file.

    >>> detector = deepfake.load_detector()
    >>> [detector.score(name).verdict for name in ("clip.mp4", "text.mp4")][1]
    'could not be read'
    """

    def __init__(self, path: Path) -> None:
        from deepfake.detector.header import Networks, read_detector
        from deepfake.settings import Predict

        self.path = path
        self._detector, self._sha256 = read_detector(path), sha256_of(path)
        self._networks = Networks(self._detector, Predict())
        self.name = self._detector.name

    def __repr__(self) -> str:
        return f"<deepfake.Detector {self.name!r} of {str(self.path)!r}>"

    def score(
        self,
        path: Name,
        cache_dir: Name | None = None,
        *,
        deadline_s: float | None = None,
        memory_mb: int | None = None,
        people: bool = True,
        evidence: bool = False,
        trust_list: Name | None = None,
    ) -> Check:
        """What this detector says of a video; see `deepfake.check`.

        >>> found = deepfake.load_detector().score("clip.mp4")
        >>> found.detector.name
        'selfblend'
        """
        from deepfake.detector.people_seen import people_seen
        from deepfake.detector.score_videos import score_reading, without_score
        from deepfake.detector.verdict import check_of

        if trust_list is not None:
            from deepfake.evidence.credentials import read_trust_list

            read_trust_list(Path(trust_list))
        cache = _cache(cache_dir)
        limits = {name: v for name, v in (("deadline_s", deadline_s), ("memory_mb", memory_mb)) if v is not None}
        reading = _read(path, cache, self._detector.within(limits).extract)
        if reading.extraction.faces:
            scored = score_reading(self._networks, reading, cache, self._sha256)
        else:
            scored = without_score(reading, self._detector.stack.prior)
        seen = people_seen(scored, cache) if people else None
        made = check_of(Path(path), scored, self._detector, self._sha256, seen)
        if not evidence:
            return made
        from deepfake.evidence.gathering import gathering

        with gathering(trust_list=None if trust_list is None else Path(trust_list)) as gather:
            return gather(made, reading.extraction, cache)[0]


def probe(path: Name) -> VideoProbe:
    """What a video file holds, from one pass over its packets; VideoError where it is no video.

    >>> found = deepfake.probe("clip.mp4")
    >>> found.codec, found.width_px, found.height_px, found.n_frames, round(found.duration_s, 3)
    ('h264', 200, 180, 24, 1.0)
    """
    from deepfake.media.video import probe

    return probe(Path(path))


def open_video(path: Name, n_frames: int = 32, sampling: str = "reference") -> Sampled:
    """Open a video for one pass over some of its frames, upright and in display order; `with` closes it.

    Of several video streams it is the one that stands for the file; `check` and `find_faces` look at all of them.

    `sampling`: uniform, reference, keyframe, adaptive or shot_aware; `deepfake.media.video.sample` says what each is.
    A frame has `index`, `time_s`, `shot`, `width_px`, `height_px` and, decoded only when it is asked for, `rgb()`:
    height x width x RGB, uint8. VideoError where it is no video or nothing can be decoded.

    >>> with deepfake.open_video("clip.mp4", n_frames=4, sampling="uniform") as video:
    ...     [(frame.index, frame.rgb().shape) for frame in video]
    [(2, (180, 200, 3)), (8, (180, 200, 3)), (14, (180, 200, 3)), (20, (180, 200, 3))]
    """
    from deepfake.media.video import sample

    return sample(Path(path), sampling, n_frames)


@dataclass(frozen=True)
class FaceTrack:
    """One face in one shot, in as many of the sampled frames as it was found in.

    `track` and `shot` are the numbers that a `Check` of the video gives them; of a file with several video streams
    `stream` is the one it is of, as ffprobe counts. A box is x0, y0, x1, y1 in full-frame
    pixels of the upright picture.

    >>> track = deepfake.find_faces("clip.mp4")[0]
    >>> track.track, track.shot, len(track.boxes_px) == len(track.times_s) == len(track.scores)
    (0, 0, True)
    """

    track: int
    shot: int
    faces: tuple[StoredFace, ...] = field(repr=False)
    cache_dir: Path = field(repr=False)
    stream: int | None = None

    @property
    def times_s(self) -> tuple[float, ...]:
        """When the face was seen: seconds as players show them."""
        return tuple(face.time_s for face in self.faces)

    @property
    def boxes_px(self) -> tuple[Box, ...]:
        """Where it was seen."""
        return tuple(face.box for face in self.faces)

    @property
    def scores(self) -> tuple[float, ...]:
        """How sure MTCNN is of it, 0 to 1; between two frames that MTCNN saw, the lesser of theirs."""
        return tuple(face.score for face in self.faces)

    def crops(self) -> Iterator[np.ndarray]:
        """The face of each frame with a margin around it, as the detector is given it: side x side x RGB, uint8.

        >>> [crop.shape for crop in deepfake.find_faces("clip.mp4")[0].crops()][:2]
        [(320, 320, 3), (320, 320, 3)]
        """
        from deepfake.faces.crop_store import read_crop

        for face in self.faces:
            yield read_crop(self.cache_dir, face.shard, face.offset, face.size)


def query(sql: str, config: Name, run: str | None = None, memory_mb: int = 1000) -> pd.DataFrame:
    """The answer to one SELECT over the tables of a data set: what `deepfake query` gives, as a pandas table.

    `config` is the settings file of the stages, `run` another run than its own. Views and columns:
    `deepfake query --columns`. UserError where SQL reads or writes files, or a table is missing. It needs
    `deepfake[catalog]`.

    >>> deepfake.query("SELECT video_id, n_frames FROM videos", config="mine.yaml")
       video_id  n_frames
    0  clip.mp4        24
    """
    from deepfake.catalog.query import open_catalog, tables_of
    from deepfake.settings_file import load_config

    loaded = load_config(Path(config), [], run)
    with open_catalog(tables_of(loaded), f"data set {loaded.dataset!r}", memory_mb) as catalog:
        return catalog.ask(sql).to_pandas()


def find_faces(path: Name, cache_dir: Name | None = None) -> list[FaceTrack]:
    """The faces in a video that `check` would judge, each followed through its shot; none where it shows no face.

    VideoError where it is no video, UserError where there is no file.

    >>> [(track.shot, len(track.faces)) for track in deepfake.find_faces("clip.mp4")]
    [(0, 24)]
    """
    from deepfake.media.demux import VideoError
    from deepfake.models.detector_file import extract_settings, read_header, shipped_weights

    cache = _cache(cache_dir)
    found = _read(path, cache, extract_settings(read_header(shipped_weights()))).extraction
    if found.failure is not None:
        raise VideoError(found.failure)
    return [
        FaceTrack(faces[0].track, faces[0].shot, faces, cache, found.stream_of(faces[0].shot)) for faces in found.tracks
    ]


def _cache(cache_dir: Name | None) -> Path:
    return default_cache() if cache_dir is None else Path(cache_dir)


def _read(path: Name, cache: Path, settings: Extract) -> Reading:
    from deepfake.faces.extraction import read_videos

    if not Path(path).is_file():
        raise UserError(f"video {os.fspath(path)!r} {'is a folder' if Path(path).is_dir() else 'does not exist'}")
    one = settings.model_copy(update={"workers": 1})
    (reading,) = read_videos({Path(path).name: Path(path)}, cache, one)
    return reading
