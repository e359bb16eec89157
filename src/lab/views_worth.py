"""What each view of a crop is worth: accuracy and passes of every choice of views of a detector's members.

Every crop is shown to each network in each of its views once; a choice takes the mean of its own. Letters: V clips.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, combinations
from pathlib import Path

import numpy as np

from deepfake.commands.arguments import view_name
from deepfake.detector.file import open_detector
from deepfake.detector.judged import FORMAT
from deepfake.detector.labelled_clips import read_clips
from deepfake.detector.video_scorer import VideoScorer
from deepfake.evaluation.text_tables import show
from deepfake.files import digest, sha256_of
from deepfake.settings import Config, CropView, section_values
from lab.frames_sweep import Outputs, Point, Sweep, _Measured

Choice = tuple[tuple[CropView, ...], ...]  # of each member the views that it is shown


@dataclass(frozen=True)
class Worth:
    """One choice of views: how many times a crop goes through a network, and how good the scores are."""

    views: Mapping[str, str]  # by member, `-` for none
    passes: int
    point: Point


def choices(views: Sequence[Sequence[CropView]]) -> list[Choice]:
    """Every choice of views, the fewest first; a member may be left out, not all of them."""
    each = [list(chain.from_iterable(combinations(own, n) for n in range(len(own) + 1))) for own in views]
    found: list[Choice] = [()]
    for subsets in each:
        found = [(*choice, subset) for choice in found for subset in subsets]
    return sorted((one for one in found if any(one)), key=lambda one: sum(map(len, one)))


def measure(
    weights: Path, clips_dir: Path, labels: Path, frames: Sequence[int], cache_dir: Path, out: Path, config: Config
) -> Iterator[Worth]:
    """Yield what every choice is worth for each number of frames; what was shown to the networks is kept in `out`."""
    detector, sha256 = open_detector(weights, config.predict), sha256_of(weights)
    scorer = VideoScorer(detector, config.predict)
    names = [name for name, _, _ in scorer.members]
    views = [tuple(detector.ensemble.views_of(name)) for name in names]
    clips = read_clips(clips_dir, labels, detector.extract, cache_dir)
    by_view: list[dict[CropView, dict[str, tuple[np.ndarray, np.ndarray]]]] = [{} for _ in names]
    whole = None
    for number in range(max(map(len, views))):
        shown = [own[min(number, len(own) - 1)] for own in views]
        one = scorer.with_settings(member_views={name: (view,) for name, view in zip(names, shown, strict=True)})
        key = digest(
            [sha256, section_values(config, "predict"), scorer.networks_key, FORMAT, list(map(view_name, shown))]
        )
        sweep = Sweep(one, clips, detector.extract, out, key)
        whole = whole or sweep
        for place, view in enumerate(shown):
            by_view[place].setdefault(view, {video_id: own[place] for video_id, own in sweep.outputs.items()})
    assert whole is not None, "a detector has a member"

    def seeing(choice: Choice) -> dict[str, Outputs]:
        return {
            video_id: [
                _mean([by_view[place][view][video_id] for view in own], outputs[place])
                for place, own in enumerate(choice)
            ]
            for video_id, outputs in whole.outputs.items()
        }

    whole.outputs = seeing(tuple(views))
    measured = _Measured(whole, whole.stopped("off", 0.0), config)
    for choice in choices(views):
        whole.outputs = seeing(choice)
        for n_frames in frames:
            point = measured.point("-", n_frames, whole.at(n_frames), 0.0, 0.0)
            seen_by = {name: "; ".join(map(view_name, own)) or "-" for name, own in zip(names, choice, strict=True)}
            yield Worth(seen_by, sum(map(len, choice)), point)


def _mean(outputs: Outputs, alike: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """The mean logits of some views; of none zeros, which move no score."""
    if not outputs:
        return np.zeros_like(alike[0]), alike[1]
    return np.asarray(np.mean([logits for logits, _ in outputs], axis=0), np.float32), outputs[0][1]


def as_markdown(rows: Sequence[Worth]) -> str:
    """The rows for people; differences are to all views at the most frames."""
    titles = (
        *rows[0].views,
        "passes a crop",
        "frames",
        "AUC [95 %]",
        "difference",
        "log loss [95 %]",
        "difference",
        "verdicts changed",
    )
    lines = [f"| {' | '.join(titles)} |", f"|{' --- |' * len(titles)}"]
    for row in rows:
        point = row.point
        measures = (point.roc_auc, point.roc_auc_difference, point.log_loss, point.log_loss_difference)
        cells = [
            *row.views.values(),
            str(row.passes),
            str(point.n_frames),
            *(show(one.to_dict(), 3) for one in measures),
            f"{100 * point.verdicts_changed:.0f} %",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)
