"""Score videos with a whole detector, and a folder of them into a CSV; `verdict` says what a score means."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from deepfake.detector.file import TrainedDetector
from deepfake.detector.judged import TrackScore, judge
from deepfake.ensemble.early_exit import PartialScore, SkipGate, score_until_settled, standard_error
from deepfake.ensemble.pooling import counted, length_trust, track_logit, trust
from deepfake.faces.crop_store import decode_crop
from deepfake.faces.extracted import StoredFace, by_track, stored_picture
from deepfake.faces.extraction import faces_table
from deepfake.models.engine import Engine
from deepfake.probabilities import expit
from deepfake.scoring.frame_scorer import FrameScorer
from deepfake.scoring.strides import looked_at
from deepfake.settings import Predict

if TYPE_CHECKING:  # torch costs seconds, and is needed only for networks over tracks
    from deepfake.models.heads.base import TrackHead
    from deepfake.scoring.track_scorer import TrackLogit

GATE_CROPS = 8
Output = tuple[np.ndarray, np.ndarray]  # of a frame network the logits_N and features_ND
Outputs = list[Output]  # of each frame network


def _key(picture: bytes) -> bytes:
    return hashlib.blake2b(picture, digest_size=16).digest()


def _boxes(faces: Sequence[StoredFace]) -> np.ndarray:
    return np.array([face.box for face in faces])


def _gate_crops() -> list[np.ndarray]:
    """Soft random pictures, the same on every run: what bf16 does to them decides whether it is used."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (GATE_CROPS, 14, 14, 3), dtype=np.uint8)
    return [np.asarray(np.kron(picture, np.ones((16, 16, 1), np.uint8))) for picture in coarse]


class VideoScorer:
    """A detector on a device."""

    def __init__(self, detector: TrainedDetector, predict: Predict) -> None:
        self.detector, self.predict = detector, predict
        weights = zip(detector.stack.members, detector.stack.weights, strict=True)
        self.weights = {name: weight for name, weight in weights if weight}  # the others are not asked
        self.line = detector.stack.line
        self.members = [
            (m.name, FrameScorer(m.frames, predict, _gate_crops()), heads)
            for m in detector.members
            for heads in [{kind: head for kind, head in m.heads.items() if kind in self.weights}]
            if heads or m.name in self.weights
        ]
        self.strides = [detector.ensemble.stride_of(name) for name, _, _ in self.members]
        self._ahead: dict[bytes, Outputs] = {}

    @property
    def engine(self) -> Engine:
        """What runs the frame networks."""
        return self.members[0][1].model.engine

    @property
    def networks_key(self) -> list[str]:
        """What else than weights and settings may move a score by more than 0.001: kept scores are told apart by it."""
        models = [scorer.model for _, scorer, _ in self.members]
        return sorted({model.device_type for model in models} | {model.engine.precision for model in models})

    def with_settings(self, **changes: Any) -> Self:
        """The same networks under other settings of `Ensemble`."""
        other = copy.copy(self)
        ensemble = self.detector.ensemble.model_copy(update=changes)
        other.detector = replace(self.detector, ensemble=ensemble)
        return other

    def score(self, work_dir: Path, faces: Sequence[StoredFace]) -> list[TrackScore]:
        """Scores of a video's tracks; with early exit not all frames are scored."""
        return self.settle([Track(self, work_dir, own) for own in by_track(faces)])

    def settle(self, tracks: Sequence[Track]) -> list[TrackScore]:
        """Score a video's tracks until its verdict is settled; what is made of each by then."""
        return [score for score, _ in self.score_tracks(tracks)]

    def score_tracks(self, tracks: Sequence[Track]) -> list[tuple[TrackScore, PartialScore]]:
        """`settle`, with how much was seen of each track."""
        scores: dict[int, TrackScore] = {}

        def score(number: int, positions: np.ndarray) -> PartialScore:
            scores[number], partial = tracks[number].score(positions)
            return partial

        lengths, band = [len(track.faces) for track in tracks], self.detector.stack.band_logits
        so_far = score_until_settled(lengths, score, band, self.detector.ensemble, self.line.neutral)
        return [(scores[number], partial) for number, partial in enumerate(so_far)]

    def look_ahead(self, pictures: Sequence[bytes]) -> None:
        """Show crops, as they lie in a shard, to the networks before the whole video is read, and remember the outputs.

        They are found again by the pictures themselves, so that what is made of a track does not depend on this.
        Where frames may be left out (early exit, the skip gate) nothing is done; nor by members that see one frame of
        several, for which one it is depends on the whole track.
        """
        settings = self.detector.ensemble
        if settings.early_exit != "off" or settings.skip_difference or 1 not in self.strides:
            return
        for start in range(0, len(pictures), self.predict.batch_size):
            part = pictures[start : start + self.predict.batch_size]
            outputs = self.frame_outputs([decode_crop(picture, "cut just now") for picture in part], stride=1)
            for place, picture in enumerate(part):
                of_one = [(logits[place : place + 1], features[place : place + 1]) for logits, features in outputs]
                self._ahead[_key(picture)] = of_one

    def outputs_of(self, pictures: Sequence[bytes], crops: Sequence[np.ndarray]) -> Outputs:
        """`frame_outputs` at stride 1 of crops whose pictures in the shard these are.

        What was seen ahead is not shown again.
        """
        known = [self._ahead.pop(_key(picture), None) if self._ahead else None for picture in pictures]
        new = [crop for crop, outputs in zip(crops, known, strict=True) if outputs is None]
        made = self.frame_outputs(new, stride=1) if new else []
        if len(new) == len(crops):
            return made
        places = np.cumsum([outputs is None for outputs in known]) - 1
        each = [
            outputs or [(logits[at : at + 1], features[at : at + 1]) for logits, features in made]
            for outputs, at in zip(known, places.tolist(), strict=True)
        ]
        of_members = zip(*each, strict=True)
        return [
            (np.concatenate([logits for logits, _ in own]), np.concatenate([features for _, features in own]))
            for own in of_members
        ]

    def frame_outputs(self, crops: list[np.ndarray], stride: int | None = None) -> Outputs:
        """Of each frame network the logits_N and features_ND of crops; only of those of a stride, where it is given."""
        views_of = self.detector.ensemble.views_of
        return [
            scorer.in_views(views_of(name), crops, bool(heads))
            for (name, scorer, heads), own in zip(self.members, self.strides, strict=True)
            if stride is None or own == stride
        ]

    def track_outputs(self, crops: list[np.ndarray]) -> Outputs:
        """The same of all crops of a track in their order, each network at its stride."""
        places = np.arange(len(crops))
        made: dict[int, Iterator[Output]] = {}
        for stride in sorted(set(self.strides)):
            seen, inverse = np.unique(looked_at(places, len(crops), stride), return_inverse=True)
            outputs = self.frame_outputs([crops[place] for place in seen], stride)
            made[stride] = iter([(logits[inverse], features[inverse]) for logits, features in outputs])
        return [next(made[stride]) for stride in self.strides]

    def frame_logits(self, outputs: Outputs) -> np.ndarray:
        """Stacked logits_N of crops by what `frame_outputs` gave: of the frame networks alone, no heads."""
        by_member: dict[str, list[np.ndarray]] = {}
        for (name, _, _), (logits_N, _) in zip(self.members, outputs, strict=True):
            by_member.setdefault(name, []).append(logits_N.astype(np.float64))
        return self._stacked({name: np.mean(values, axis=0) for name, values in by_member.items()})

    def _stacked(self, logits: dict[str, np.ndarray]) -> np.ndarray:
        shares = [
            self.weights[name] * counted(logits_N, name, self.detector.ensemble)
            for name, logits_N in logits.items()
            if name in self.weights
        ]
        return np.asarray(np.sum(shares, axis=0), np.float64)

    def track_score(
        self,
        faces: Sequence[StoredFace],
        outputs: Outputs,
        work_dir: Path,
        seen_well: float,
        n_frames: int,
    ) -> TrackScore:
        """What is made of a track by the outputs of its frame networks at these faces, of `n_frames` that it has.

        `seen_well` is how far the track is trusted, whatever its length.
        """
        per_frame: dict[str, list[np.ndarray]] = {}
        of_tracks: dict[str, list[float]] = {}
        for (name, _, heads), (logits_T, features_TD) in zip(self.members, outputs, strict=True):
            per_frame.setdefault(name, []).append(logits_T.astype(np.float64))
            for kind, track_logits in self._head_logits(heads, faces, logits_T, features_TD, work_dir).items():
                per_frame.setdefault(kind, []).append(track_logits.frame_logits_T.astype(np.float64))
                of_tracks.setdefault(kind, []).append(track_logits.logit)
        means = {name: np.mean(values, axis=0) for name, values in per_frame.items()}
        settings = self.detector.ensemble
        whole = {name: track_logit(logits_T, settings) for name, logits_T in means.items()}
        whole |= {kind: float(np.mean(logits)) for kind, logits in of_tracks.items()}
        members = self.detector.stack.members
        raw_M = np.array([whole.get(name, 0.0) for name in members])
        counted_M = [float(counted(logit, name, settings)) for name, logit in zip(members, raw_M, strict=True)]
        trusted = seen_well * length_trust(np.array([n_frames]), settings)
        return TrackScore(
            track=faces[0].track,
            shot=faces[0].shot,
            logit=float(self.line.logits(np.array([counted_M]), trusted)[0]),
            frame_logits=self._stacked(means),
            times_s=np.array([face.time_s for face in faces]),
            frame_indices=np.array([face.frame_index for face in faces]),
            boxes=_boxes(faces),
            member_logits=raw_M,
            trust=seen_well,
            sharpness=float(np.median([face.sharpness for face in faces])),
            n_frames=n_frames,
        )

    def _head_logits(
        self,
        heads: Mapping[str, TrackHead],
        faces: Sequence[StoredFace],
        logits_T: np.ndarray,
        features_TD: np.ndarray,
        work_dir: Path,
    ) -> dict[str, TrackLogit]:
        """What networks over tracks make of a track; PyTorch runs them, and is imported where there is one."""
        if not heads:
            return {}
        from deepfake.datasets.track_clips import split_tracks
        from deepfake.scoring.track_scorer import head_logits

        tracks = split_tracks(faces_table(faces[0].shard, faces), features_TD, logits_T, {}, work_dir)
        return {kind: head_logits(head, tracks, self.predict)[0] for kind, head in heads.items()}

    def video_logit(self, tracks: Sequence[TrackScore]) -> float:
        """Calibrated logit of a video by its tracks."""
        return judge(tracks, self.detector.stack, self.detector.ensemble).logit

    def p_fake(self, logits: np.ndarray) -> np.ndarray:
        """Probabilities of calibrated logits."""
        return expit(logits)


class Track:
    """A track's frames as they are scored by and by; no frame is shown to a network twice.

    `outputs` are what the frame networks return for all of them, where that is known. The track has `n_frames`,
    where that is more than the rows that are there to be scored. Which of its rows a member of a stride looks at
    depends on the rows alone, not on how many are asked for at once.
    """

    def __init__(
        self,
        scorer: VideoScorer,
        work_dir: Path,
        faces: Sequence[StoredFace],
        outputs: Outputs | None = None,
        n_frames: int | None = None,
    ) -> None:
        self.scorer, self.work_dir, self.faces = scorer, work_dir, faces
        self.n_frames = n_frames or len(faces)
        settings = scorer.detector.ensemble
        boxes, sharpness = _boxes(faces), np.array([face.sharpness for face in faces])
        self.seen_well = trust((boxes[:, 2:] - boxes[:, :2]).max(axis=1), sharpness, settings)
        self.counts = self.seen_well * float(length_trust(np.array(self.n_frames), settings))
        self.gate = SkipGate(settings.skip_difference)
        self.is_seen = {stride: np.full(len(faces), outputs is not None) for stride in sorted(set(scorer.strides))}
        self.outputs: list[Output | None] = [*outputs] if outputs else [None] * len(scorer.strides)

    def score(self, positions: np.ndarray) -> tuple[TrackScore, PartialScore]:
        """What is made of the track once these frames are seen."""
        size = self.scorer.predict.batch_size
        for stride, is_seen in self.is_seen.items():
            looks = looked_at(positions, len(self.faces), stride)
            looks = looks if stride == 1 else np.unique(looks)
            new = looks[~is_seen[looks]]
            for start in range(0, len(new), size):  # so that memory does not grow with the track
                self._score_new(new[start : start + size], stride)
        faces = [self.faces[i] for i in positions]
        outputs = [self._at(own, looked_at(positions, len(self.faces), n)) for own, n in self._each()]
        score = self.scorer.track_score(faces, outputs, self.work_dir, self.seen_well, self.n_frames)
        error = self.counts * self.scorer.line.slope * standard_error(score.frame_logits, self.n_frames)
        return score, PartialScore(score.logit, error, len(positions), self.n_frames)

    def _each(self) -> list[tuple[Output | None, int]]:
        return list(zip(self.outputs, self.scorer.strides, strict=True))

    @staticmethod
    def _at(outputs: Output | None, places: np.ndarray) -> Output:
        assert outputs is not None, "every network was shown the frames that it looks at"
        logits, features = outputs
        return logits[places], features[places]

    def _score_new(self, positions: np.ndarray, stride: int) -> None:
        pictures = [stored_picture(self.work_dir, self.faces[i]) for i in positions]
        names = [f"{self.faces[i].shard} at {self.faces[i].offset}" for i in positions]
        crops = [decode_crop(picture, name) for picture, name in zip(pictures, names, strict=True)]
        if stride > 1:
            self._keep(positions, self.scorer.frame_outputs(crops, stride), stride)
        else:
            sources = np.array([self.gate.source(int(i), crop) for i, crop in zip(positions, crops, strict=True)])
            own = np.flatnonzero(sources == positions)
            if len(own):
                made = self.scorer.outputs_of([pictures[i] for i in own], [crops[i] for i in own])
                self._keep(positions[own], made, stride)
            for outputs, n in self._each():
                for into in outputs if outputs is not None and n == 1 else ():
                    into[positions] = into[sources]
        self.is_seen[stride][positions] = True

    def _keep(self, positions: np.ndarray, made: Outputs, stride: int) -> None:
        """Write what the networks of a stride made of some frames to their places."""
        own = [place for place, n in enumerate(self.scorer.strides) if n == stride]
        for place, outputs in zip(own, made, strict=True):
            kept = self.outputs[place]
            if kept is None:
                kept = self.outputs[place] = _room(len(self.faces), *outputs)
            for into, values in zip(kept, outputs, strict=True):
                into[positions] = values


def _room(n_frames: int, logits_N: np.ndarray, features_ND: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return np.empty(n_frames, logits_N.dtype), np.empty((n_frames, features_ND.shape[1]), features_ND.dtype)
