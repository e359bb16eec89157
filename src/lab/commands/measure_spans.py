"""Measure how often a short forgery is found at the right moment: spans forged into the real clips of a settings file.

A share of each clip's time is forged, the rest stays real, and all of it is damaged alike. Found: the second
that a network suspects most lies in the span. Take clips the run's networks never learnt from: --set dataset=NAME.
--spliced forges nothing: each span shows the clip's forged version, where the data hold both (sampled by time).
"""

import argparse
from pathlib import Path

from deepfake.commands.arguments import share, stage_parser, whole_number


def arguments() -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = stage_parser(__doc__)
    parser.add_argument("--weights", type=Path, metavar="FILE", help="a whole detector instead of a run's networks")
    parser.add_argument("--ratio", type=share, default=0.2, metavar="R", help="share of the clip (0.2: 2 s of 10 s)")
    parser.add_argument("--versions", type=whole_number, default=1, metavar="N", help="forgeries of each clip (1)")
    parser.add_argument("--spliced", action="store_true", help="spans of the forged clips that lie beside their reals")
    return parser


def run(args: argparse.Namespace) -> None:
    from deepfake.settings_file import load_config

    config = load_config(args.config, args.set, args.run)
    from deepfake.datasets.pairs import read_all
    from deepfake.detector.file import load_detector
    from deepfake.detector.video_scorer import VideoScorer
    from deepfake.models.checkpoints import fold_folder
    from deepfake.scoring.frame_scorer import open_scorer
    from deepfake.scoring.run_heads import load_head
    from lab.spans import find_spans, rates, suspect_by_detector, suspect_by_run, usable_heads
    from lab.spliced import find_splices

    data = read_all(config.work_dir, args.limit)
    if args.weights is not None:
        suspect = suspect_by_detector(VideoScorer(load_detector(args.weights), config.predict))
    else:
        checkpoint, some_faces = fold_folder(config.run_dir, "frames", None), data.faces.head(100)
        scorer = open_scorer(checkpoint, config.predict, some_faces, config.work_dir)
        heads = {name: load_head(config, name, None) for name in usable_heads(config)}
        suspect = suspect_by_run(scorer, heads, config)
    find = find_splices if args.spliced else find_spans
    findings = list(find(config, data, suspect, args.ratio, args.versions))
    print(rates(findings).round(2).to_string(index=False))
