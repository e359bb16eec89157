"""Draw the surest mistakes of a CSV of scores: reals that look forged, forgeries that look real -> one HTML page.

The faces are those that the shipped detector scores; crops of an earlier run (make predict) are read back.
The pictures are of real people: look at the page, do not publish it.
"""

import argparse
from pathlib import Path

from deepfake.commands.arguments import output_file, output_folder, whole_number
from deepfake.files import default_cache


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scores", type=Path, required=True, metavar="CSV", help="what make predict writes")
    parser.add_argument("--clips", type=Path, required=True, metavar="DIR", help="folder of the videos")
    parser.add_argument("--labels", type=Path, required=True, metavar="CSV", help="file, label; family, source, ...")
    parser.add_argument("--out", type=output_file, required=True, metavar="FILE.html", help="where the page goes")
    parser.add_argument("--most", type=whole_number, default=10, metavar="N", help="mistakes of each kind (10)")
    parser.add_argument("--weights", type=Path, metavar="FILE", help="detector file (the one in data/weights)")
    parser.add_argument("--cache", type=output_folder, default=str(default_cache()), help="where crops are kept")
    return parser


def run(args: argparse.Namespace) -> None:
    from deepfake.detector.header import read_detector
    from deepfake.detector.labelled_clips import read_clips
    from deepfake.evaluation.labelled import match, read_scores
    from deepfake.files import write_whole
    from deepfake.models.detector_file import shipped_weights
    from deepfake.outputs import refuse_inputs
    from lab.mistakes import mistakes_page

    refuse_inputs(args.out, [args.scores, args.labels])
    scores = read_scores(args.scores)
    extract = read_detector(args.weights or shipped_weights()).extract
    clips = read_clips(args.clips, args.labels, extract, args.cache)
    matched = match(scores, clips.labelled)
    ids = dict(zip((video.name for video in clips.labelled), clips.video_ids, strict=True))
    video_ids = [ids[video.name] for video in matched.videos]
    page = mistakes_page(matched.videos, video_ids, matched.p, clips.faces, clips.cache_dir, args.most)
    write_whole(args.out, page.encode())
    print(f"show-mistakes: {len(matched.videos)} scored videos -> {args.out}")
