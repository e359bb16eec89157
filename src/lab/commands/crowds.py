"""Measure how scores bear crowds: real ones, and ones with a single forged face among 1 to 9.

First with scores: clips of one face each are put together at random, each score by a calibration fitted on the other
half of the people, by the shipped rule and by others. Then, with --grids, with pictures: grids of faces are written
as videos and checked as any file is. Stopped and started again it goes on where it was.
"""

import argparse
from pathlib import Path

from deepfake.commands.arguments import output_folder, whole_number, whole_numbers
from deepfake.files import default_cache

SIZES = [1, 2, 3, 4, 6, 9]


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=Path, required=True, metavar="DIR", help="folder of labelled clips")
    parser.add_argument("--labels", type=Path, required=True, metavar="CSV", help="file, label, identity")
    parser.add_argument("--out", type=output_folder, required=True, metavar="DIR", help="where tables and grids go")
    parser.add_argument("--faces", type=whole_numbers, default=SIZES, metavar="N,N", help=f"crowd sizes ({SIZES})")
    parser.add_argument("--draws", type=whole_number, default=4000, metavar="N", help="crowds of each size (4000)")
    parser.add_argument("--grids", type=whole_number, metavar="N", help="videos of each size and kind (none)")
    parser.add_argument("--frames", type=whole_number, default=16, metavar="N", help="of a grid's video (16)")
    parser.add_argument("--weights", type=Path, metavar="FILE", help="detector file (the one in data/weights)")
    parser.add_argument("--cache", type=output_folder, default=str(default_cache()), help="where crops are kept")
    return parser


def run(args: argparse.Namespace) -> None:
    from deepfake.detector import recalibration
    from deepfake.detector.verdict import check_videos
    from deepfake.files import sha256_of, write_whole
    from deepfake.models.detector_file import shipped_weights
    from deepfake.settings import Predict
    from deepfake.stages import alone
    from lab import crowds

    path = args.weights or shipped_weights()
    asked = recalibration.ask(path, args.clips, args.labels, args.cache)
    detector, clips = asked.detector, asked.clips
    tracks = recalibration.member_tracks(detector, asked.networks, clips, Predict())
    singles = crowds.single_logits(tracks, clips, detector.ensemble)
    stack = detector.stack
    table = crowds.simulated(singles, stack.band, stack.prior, args.faces, args.draws)
    with alone(args.out):
        write_whole(args.out / "crowds.csv", table.round(4).to_csv(index=False).encode())
        print(f"{table.round(2).to_string(index=False)}\n  -> {args.out / 'crowds.csv'}")
        if args.grids:
            counts = dict.fromkeys(args.faces, args.grids)
            grids = crowds.draw_grids(singles, counts, args.out / "grids")
            crowds.compose(grids, clips, args.frames)
            paths, results = [grid.path for grid in grids], {}
            for place, scored, check in check_videos(paths, detector, sha256_of(path), args.out / "cache"):
                if check.p_fake is not None:
                    worst = max(track.p_fake for _, track in check.tracks if track.decides)
                    results[paths[place].name] = (scored.p_fake, worst, check.n_faces_counted)
            print(crowds.tally(grids, results, stack.band))
