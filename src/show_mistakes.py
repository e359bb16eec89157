"""Draw the surest mistakes of a CSV of scores: reals that look forged, forgeries that look real -> one HTML page.

The faces are those the shipped detector looks at; those found before (make predict) are read back.
The pictures are of real people: look at the page, do not publish it.
"""

import argparse
from pathlib import Path

from deepfake.cli import guarded, whole_number
from deepfake.config import PROJECT_ROOT


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scores", type=Path, required=True, metavar="CSV", help="what make predict writes")
    parser.add_argument("--clips", type=Path, required=True, metavar="DIR", help="folder of the videos")
    parser.add_argument("--labels", type=Path, required=True, metavar="CSV", help="file, label; family, source, ...")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.html", help="where the page goes")
    parser.add_argument("--most", type=whole_number, default=10, metavar="N", help="mistakes of each kind (10)")
    parser.add_argument("--weights", type=Path, metavar="FILE", help="detector file (the one in data/weights)")
    parser.add_argument("--cache", type=Path, default=PROJECT_ROOT / "data/work/predict", help="where crops are kept")
    return parser.parse_args()


def main() -> None:
    args = parse()
    from deepfake.bundle import find_weights, load_detector
    from deepfake.evaluation import match, read_scores
    from deepfake.files import write_whole
    from deepfake.report.mistakes import mistakes_page
    from deepfake.trials import read_clips

    scores = read_scores(args.scores)
    extract = load_detector(args.weights or find_weights(PROJECT_ROOT / "data/weights")).extract
    clips = read_clips(args.clips, args.labels, extract, args.cache)
    found = match(scores, clips.labelled)
    ids = dict(zip((video.name for video in clips.labelled), clips.video_ids, strict=True))
    video_ids = [ids[video.name] for video in found.videos]
    page = mistakes_page(found.videos, video_ids, found.p, clips.faces, clips.cache_dir, args.most)
    write_whole(args.out, page.encode())
    print(f"show_mistakes: {len(found.videos)} scored videos -> {args.out}")


if __name__ == "__main__":
    guarded(main)
