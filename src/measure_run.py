"""Measure networks on labelled clips they never learnt from: one line of submissions/ablations.md for each way.

--run NAME or NAME/STEP (a snapshot) of src/train_detector.py, several times for an ensemble too. AUC is of the
logits; log loss, ECE and the inconclusive share of probabilities fitted on the other half of the people. --table adds
what each run seen each way is worth alone, in pairs and together, with intervals of the gain over the best of them.
"""

import argparse

from deepfake.cli import crop_view, guarded, trial_parser, view_name, whole_number
from deepfake.config import CropView, load_config

POOLINGS = {
    "as set": {},
    "mean": {"top_weight": 0.0},
    "half mean, half top quarter": {"top_weight": 0.5},
    "top quarter": {"top_weight": 1.0},
    "worst frame": {"top_weight": 1.0, "top_ratio": 1e-6},
}

GAINS = {"AUC": "roc_auc", "log loss": "log_loss_clipped"}


def parse() -> argparse.Namespace:
    parser = trial_parser(__doc__)
    parser.add_argument("--frames", type=whole_number, nargs="+", default=[32], metavar="N", help="a track's (32)")
    parser.add_argument("--pooling", choices=["all"], help="a line for every way to pool frames")
    seen = parser.add_mutually_exclusive_group()
    seen.add_argument(
        "--view",
        type=crop_view,
        action="append",
        metavar="SIZE,VIEW[,mirror]",
        help="see the crops another way, as ensemble.views: ratios to how the network learnt; several: the mean",
    )
    seen.add_argument("--views-as-set", action="store_true", help="as ensemble.views and member_views say")
    parser.add_argument("--table", action="store_true", help="members: every run seen every way")
    return parser.parse_args()


def main() -> None:
    args = parse()
    config = load_config(args.config, args.set)
    from deepfake import trials
    from deepfake.ensemble_table import as_markdown, compare
    from deepfake.evaluation import show
    from deepfake.training import run_network

    folders = {name: run_network(config.run_dir.parent, name) for name in args.run}
    clips = trials.read_clips(args.clips, args.labels, config.extract, args.cache)
    views = args.view or [CropView()]
    seen = " + ".join(map(view_name, views)) if args.view else "views as set" if args.views_as_set else ""
    ways = {name: config.ensemble.views_of(name.replace("/", "-")) if args.views_as_set else views for name in folders}
    print(trials.HEADER)
    for n in args.frames:
        scores = {name: trials.frame_scores(path, clips, config, n, ways[name]) for name, path in folders.items()}
        sets = [{name: scores[name]} for name in scores] + ([scores] if len(scores) > 1 else [])
        for pooling, change in POOLINGS.items() if args.pooling else [("", {})]:
            settings = config.ensemble.model_copy(update=change)
            for members in sets:
                tracks = trials.member_tracks(members, clips, settings)
                notes = [" + ".join(members), f"{n} frames", pooling, seen]
                minutes = "+".join(trials.minutes_of(folders[name]) for name in members)
                print(trials.measure(tracks, clips, settings).row(", ".join(filter(None, notes)), minutes))
        if args.table:
            named = {view_name(view): view for view in views}
            if args.views_as_set:
                looks = {name: (path, ways[name]) for name, path in folders.items()}
            else:
                looks = {f"{name}, {way}": (path, [named[way]]) for name, path in folders.items() for way in named}
            found = trials.evidence(looks, clips, config, n)
            print(f"\n{n} frames\n\n{as_markdown(compare(found, config.ensemble, config.validation))}\n")
            for name, path in folders.items() if len(views) > 1 else []:
                for view, gain in trials.mean_over_each(path, named, clips, config, n).items():
                    gains = ", ".join(f"{what} {show(gain[key].to_dict())}" for what, key in GAINS.items())
                    print(f"{name}: mean over the views of every frame, less {view} alone: {gains}")


if __name__ == "__main__":
    guarded(main)
