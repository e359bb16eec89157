"""What `make demo` ends with: the shipped detector's verdicts beside the true labels, and how the new run did.

The true labels of the demo's test videos lie in test_labels.csv, which no stage reads; they are joined here, after
all scores are made.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from deepfake.demo.build import KNOWN_TO_SHIPPED
from deepfake.detector.check import FORGED, NO_FACE, REAL, UNREADABLE
from deepfake.detector.file import TrainedDetector
from deepfake.detector.score_videos import Scored
from deepfake.detector.verdict import verdict_of
from deepfake.errors import UserError
from deepfake.evaluation.labelled import Labelled

GOOD_AUC = 0.75  # below it the demo says why
COLUMNS = ("file", "verdict", "p_fake", "truth")


@dataclass(frozen=True)
class Judged:
    """One test video: its verdict and its label.

    `truth` is REAL, or FAKE and the way it was forged. `p_fake` is None without a score. `is_known`: the detector was
    calibrated on real clips of the person.
    """

    file: str
    verdict: str
    p_fake: float | None
    is_fake: bool
    truth: str
    is_known: bool

    @property
    def is_decided(self) -> bool:
        """Whether the detector committed itself."""
        return self.verdict in (FORGED, REAL)

    @property
    def is_right(self) -> bool:
        """Whether it did so rightly."""
        return self.is_decided and (self.verdict == FORGED) == self.is_fake


def judge(scored: Iterable[Scored], labelled: Sequence[Labelled], detector: TrainedDetector) -> list[Judged]:
    """Scores beside true labels, sorted by file; every labelled file has a score.

    `labelled` has the columns family and identity of test_labels.csv.
    """
    by_file = {result.video_id: result for result in scored}
    judged = []
    for video in sorted(labelled, key=lambda video: video.name):
        if video.name not in by_file:
            raise UserError(f"demo video {video.name!r}: has a true label and no score; build it again with --force")
        result = by_file[video.name]
        people = set(video.columns["identity"].split("+"))
        judged.append(
            Judged(
                file=video.name,
                verdict=verdict_of(result, detector)[0],
                p_fake=None if result.fallback else result.p_fake,
                is_fake=video.label == 1,
                truth=f"FAKE ({video.columns['family']})" if video.label else "REAL",
                is_known=bool(people & KNOWN_TO_SHIPPED),
            )
        )
    return judged


def table(judged: Sequence[Judged]) -> str:
    """A line a video under a heading: file, verdict, p_fake, true label; a star where the person is known."""
    rows = [COLUMNS]
    for video in judged:
        p_fake = "-" if video.p_fake is None else f"{video.p_fake:.2f}"
        mark = " *" if video.is_known and video.p_fake is not None else ""
        rows.append((video.file, video.verdict, p_fake, video.truth + mark))
    widths = [max(len(row[column]) for row in rows) for column in range(len(COLUMNS))]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)


def tally(judged: Sequence[Judged]) -> str:
    """How many of the decided videos are right, in words, and what became of the others."""
    decided = [video for video in judged if video.is_decided]
    right = sum(video.is_right for video in decided)
    fakes = [video for video in judged if video.is_fake and video.p_fake is not None]
    rest = {
        "no face": sum(video.verdict == NO_FACE for video in judged),
        "unreadable": sum(video.verdict == UNREADABLE for video in judged),
    }
    n_open = len(judged) - len(decided) - sum(rest.values())
    others = "".join(f", {count} {words}" for words, count in rest.items() if count)
    return (
        f"decided: {len(decided)} of {len(judged)}, {right} of them rightly; inconclusive: {n_open}{others}; "
        f"fakes found: {sum(video.is_right for video in fakes)} of {len(fakes)}"
    )


def caution(judged: Sequence[Judged]) -> str | None:
    """What must stand beside the table where the detector is not new to the people; None where it is."""
    if not any(video.is_known and video.p_fake is not None for video in judged):
        return None
    return (
        "* Real clips of this person, other seconds or files, are among the 174 that chose the shipped "
        "detector\n  (its networks learnt from none of them), and one of its networks learnt from forgeries made by "
        "recipes akin to these:\n  expect less of strangers and of other forgeries. data/weights/selfblend.md has the "
        "figures."
    )


def outcome(report: Mapping[str, Any]) -> str:
    """How the freshly trained run did out of fold, by its report.json; and why not better, where it did badly."""
    auc = report["models"][0]["metrics"]["roc_auc"]
    value, low, high = auc["value"], auc["low"], auc["high"]
    if value is None:
        return f"out-of-fold AUC: none, {auc['reason']}"
    interval = "" if low is None or high is None else f" [{low:.2f}, {high:.2f}]"
    n_groups = report["counts"]["groups"]
    line = f"out-of-fold AUC {value:.2f}{interval}, {report['counts']['scored']} videos of {n_groups} groups of people"
    if value >= GOOD_AUC:
        return line
    return (
        f"{line}\nThat is below {GOOD_AUC:g}: every fold learns from fewer than {n_groups} groups, and what tells the "
        "forgeries of\nfew people need not tell those of others. More people help; more training of these does not."
    )
