"""`deepfake watch`: opens the source, loads the networks, watches, and says what came of it."""

from __future__ import annotations

import argparse
import json
import logging
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from deepfake.commands.watch_shown import shown, try_report
from deepfake.detector.header import DetectorHeader, Networks, read_detector
from deepfake.detector.verdict import exit_code
from deepfake.ensemble.promise import Rule, of_verdict, short_words
from deepfake.errors import UserError
from deepfake.faces.extractor import detector_of
from deepfake.files import printable
from deepfake.live.addresses import read_source
from deepfake.live.annotations import schema
from deepfake.live.budget import Budget, Paces
from deepfake.live.hub import Hub
from deepfake.live.looking import Looker
from deepfake.live.offline import OfflineWatch
from deepfake.live.sources import LiveSource
from deepfake.live.watch import Settings, Sink, Summary, Watch, embedding_here
from deepfake.live.writing import Captions, JsonLines, Status, in_words
from deepfake.media.live_streams import Opening, StreamError, cameras
from deepfake.media.remux import Recorder, refuse_recording
from deepfake.models.detector_file import shipped_weights
from deepfake.outputs import SCREEN, try_file
from deepfake.settings import Predict

if TYPE_CHECKING:
    from types import FrameType

log = logging.getLogger(__name__)


def print_schema() -> int:
    """Print the JSON schema of a row."""
    sys.stdout.write(json.dumps(schema(), indent=1) + "\n")
    return 0


def watch(args: argparse.Namespace, predict: Predict) -> int:
    """Watch a source to its end and return the exit code."""
    opening = read_source(args.source, args.stall_s, args.give_up_s)
    as_offline = args.budget_ms is None and opening.kind == "file"
    if as_offline and args.record is not None:
        raise UserError(f"--record: {opening.name!r} is a file already; leave it out, or give a budget")
    if args.record is not None:
        refuse_recording(args.record)
        try_file(args.record)
    report = try_report(args, Path(opening.url) if opening.kind == "file" else None, datetime.now())
    rules = read_detector(args.weights or shipped_weights())
    looker = Looker(Networks(rules, predict).scorer, Paces())
    looker.warm_up()
    hub = Hub()
    with _stopped_by_signals(), shown(hub, args, rules, opening.name, report) as more:
        settings = _settings(args, with_pictures=more.with_pictures)
        recorder = Recorder(args.record) if args.record is not None else None
        sinks = [*_sinks(args, recorder), *more.sinks]
        watched = Watch(rules, looker, detector_of(rules.extract), settings, hub, sinks)
        for line in start_lines(rules, opening, watched, looker):
            watched.tell("notice", line)
        summary = (
            OfflineWatch(Path(opening.url), watched, detector_of(rules.extract)).run()
            if as_offline
            else watched.run(_started(opening, recorder, args))
        )
    _print_summary(summary, recorder)
    return exit_code(summary.verdicts)


def _settings(args: argparse.Namespace, with_pictures: bool) -> Settings:
    embed = None if args.no_people else embedding_here()
    if embed is not None:
        embed(np.zeros((64, 64, 3), np.uint8), np.array([[20, 25], [44, 25], [32, 38], [24, 48], [40, 48]], float))
    budget = Budget(args.budget_ms, args.first_verdict_s, args.every_s)
    return Settings(budget, alarm_above=args.alarm_above, embed=embed, with_pictures=with_pictures)


def _sinks(args: argparse.Namespace, recorder: Recorder | None) -> list[Sink]:
    sinks: list[Sink] = [Status()]
    if args.json == SCREEN:
        sinks.append(JsonLines(sys.stdout, is_ours=False))
    elif args.json is not None:
        sinks.append(JsonLines(open(args.json, "w", encoding="utf-8")))  # noqa: SIM115, PTH123 - it closes it
    if recorder is not None:
        sinks.append(Captions(recorder))
    return sinks


def _started(opening: Opening, recorder: Recorder | None, args: argparse.Namespace) -> LiveSource:
    source = LiveSource(opening, recorder, args.give_up_s)
    try:
        source.start()
    except StreamError as error:
        there = cameras() if opening.kind == "camera" else []
        listed = f"; there is {', '.join(there)}" if there else ""
        raise UserError(f"{error}{listed}") from None
    return source


def start_lines(rules: DetectorHeader, opening: Opening, watched: Watch, looker: Looker) -> list[str]:
    """What to know of a watch before it begins."""
    threshold = watched.persons.threshold
    engine = looker.scorer.engine.words
    lines = [f"watching {printable(opening.name)} with {rules.name} ({engine})"]
    worth = short_words(rules.promise, "inconclusive")
    if worth:
        rule = Rule(rules.ensemble.error_rate, rules.ensemble.fake_share)
        said = of_verdict(rules.promise, "likely forged", rule) if rules.promise is not None else ""
        lines.append(f"every verdict will be inconclusive: {worth}. {said}".strip())
    if threshold is None:
        lines.append("no alarm will be raised: the detector has no bound for one; --alarm-above P sets yours")
    else:
        whose = (
            "yours: what it is worth was never tested" if watched.settings.alarm_above is not None else "the detector's"
        )
        lines.append(f"alarm above {threshold:.2f} ({whose})")
    if watched.settings.embed is None:
        lines.append("faces are not compared: who leaves and returns is somebody new")
    return lines


@contextmanager
def _stopped_by_signals() -> Iterator[None]:
    """What a service manager sends ends a session as Ctrl-C does."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _print_summary(summary: Summary, recorder: Recorder | None) -> None:
    out = sys.stderr
    out.write(f"ended: {printable(summary.reason)}\n")
    ages = ""
    if summary.ages_ms and max(summary.ages_ms) > 0:
        p50, p95, p99 = np.percentile(summary.ages_ms, [50, 95, 99])
        ages = f"; frames {p50:.0f} ms old at their rows (p95 {p95:.0f}, p99 {p99:.0f})"
    out.write(
        f"{summary.seconds:.1f} s, {summary.n_frames} frames, {summary.n_updates} updates, {summary.n_dropped} frames "
        f"not looked at{ages}\n"
    )
    out.writelines(f"  {in_words(person)}, {person.n_scored} crops\n" for person in summary.persons)
    if not summary.persons:
        out.write("  no face\n" if summary.n_frames else "  no frame came\n")
    for path in recorder.finished if recorder is not None else []:
        out.write(f"  recorded: {path}, captions: {path.with_suffix('.vtt')}\n")
    out.flush()
