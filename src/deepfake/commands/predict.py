"""Score every video below a folder with the shipped detector -> CSV, one row a file.

Columns: filename, label (p_fake, 0 real to 1 fake), n_faces, n_tracks, fallback (why a file has the
prior instead of a score). Stopped and started again it goes on where it was.
"""

import argparse
import os
from dataclasses import replace
from functools import partial
from pathlib import Path

from deepfake.commands.arguments import (
    add_engine,
    add_limits,
    engine_given,
    folder_or_url,
    limits_given,
    output_file,
    output_folder,
    predict_given,
    whole_number,
)
from deepfake.files import default_cache


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "videos", type=folder_or_url, help="folder of videos, searched with all folders below it, or its URL (s3://...)"
    )
    parser.add_argument("--out", type=output_file, default="predictions.csv", help="CSV to write (predictions.csv)")
    parser.add_argument("--weights", type=Path, help="detector file (the one in data/weights)")
    parser.add_argument("--cache", type=output_folder, default=str(default_cache()), help="where crops are kept")
    parser.add_argument(
        "--early-exit", choices=["off", "on", "forced"], help="stop once the verdict is settled (on: decode less)"
    )
    add_limits(parser)
    add_engine(parser)
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="engine.KEY=VALUE",
        help="where the work is done, as in the stages: engine.kind=spark",
    )
    parser.add_argument(
        "--workers", type=whole_number, default=max((os.cpu_count() or 2), 1), help="processes that read videos"
    )
    return parser


def run(args: argparse.Namespace) -> None:
    from deepfake.media.listing import list_folder, listed_store, video_id_of
    from deepfake.models.detector_file import shipped_weights
    from deepfake.outputs import refuse_inputs

    engine = engine_given(args.set)
    store = listed_store(engine.model_copy(update={"videos": args.videos})) if isinstance(args.videos, str) else None
    listing = None if store else list_folder(args.videos)  # the likeliest mistake first
    weights = args.weights or shipped_weights()
    refuse_inputs(args.out, [*(listing.videos if listing else ()), weights])

    from deepfake.detector.header import read_detector
    from deepfake.detector.score_videos import predict_paths, score_videos, summary_lines
    from deepfake.detector.two_passes import score_in_two_passes
    from deepfake.files import sha256_of

    predict = predict_given(args)
    detector = read_detector(weights).within(limits_given(args))
    if args.early_exit:
        changed = detector.ensemble.model_copy(update={"early_exit": args.early_exit})
        detector = replace(detector, ensemble=changed)
    score = score_in_two_passes if detector.ensemble.early_exit == "on" else score_videos
    if engine.kind != "local" or store:
        from deepfake.detector.score_apart import score_apart
        from deepfake.engines import open_runner

        score = partial(score_apart, run=open_runner(engine, args.cache), stored=store.videos if store else None)
    sha256 = sha256_of(weights)
    paths = {video_id_of(path, args.videos): path for path in listing.videos} if listing else {}
    paths |= {name: Path(name) for name in store.videos} if store else {}
    scored = predict_paths(paths, args.out, detector, sha256, args.cache, args.workers, score, predict)
    print("\n".join([*summary_lines(scored, args.out), *(listing.summary_lines() if listing else ())]))
