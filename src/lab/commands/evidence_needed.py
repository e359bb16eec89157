"""Measure how much of a face a verdict needs: wrong verdicts on labelled clips of few frames, small or blurred faces.

A row for each number of successive frames, then one for each size and blur. The settings ensemble.verdict_frames,
verdict_s, verdict_face_px and verdict_sharpness are set by it; here none of them is asked for. Stopped and started
again it goes on where it was.
"""

import argparse
from pathlib import Path

from deepfake.commands.arguments import output_folder, whole_number
from deepfake.files import default_cache


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=Path, required=True, metavar="DIR", help="folder of labelled clips")
    parser.add_argument("--labels", type=Path, required=True, metavar="CSV", help="file, label, identity")
    parser.add_argument("--frames", type=whole_number, default=4, metavar="N", help="of the damaged crops a clip (4)")
    parser.add_argument("--limit", type=whole_number, metavar="N", help="so many clips, half of them real (all)")
    parser.add_argument("--weights", type=Path, metavar="FILE", help="detector file (the one in data/weights)")
    parser.add_argument("--cache", type=output_folder, default=str(default_cache()), help="where crops are kept")
    return parser


def run(args: argparse.Namespace) -> None:
    from deepfake.detector import recalibration
    from deepfake.models.detector_file import shipped_weights
    from deepfake.settings import Predict
    from lab import evidence_needed

    asked = recalibration.ask(args.weights or shipped_weights(), args.clips, args.labels, args.cache, args.limit)
    networks, clips = asked.networks, asked.clips
    judge = evidence_needed.Judge(asked.detector, dict(zip(clips.video_ids, clips.labels.tolist(), strict=True)))
    logits = recalibration.face_logits(asked.detector, networks, clips, Predict())
    print(evidence_needed.as_markdown(evidence_needed.frames_table(judge, clips, logits)))
    rows = list(evidence_needed.damage_table(judge, clips, args.frames, networks, Predict()))
    print(f"\n{evidence_needed.as_markdown(rows)}")
