"""Ship networks as one detector: runs of train_detector.py -> data/weights/<name>.safetensors.

Weighs and calibrates them on labelled clips they never learnt from, and prints what that gives with every
clip scored by a fit on the other half of the people. In half precision, unless that moves a logit by more than 0.01.
Write the model card data/weights/<name>.md beside it: sources, terms, recipe, figures, what it cannot see.
"""

import argparse

from deepfake.cli import file_stem, guarded, trial_parser
from deepfake.config import PROJECT_ROOT, UserError, load_config


def parse() -> argparse.Namespace:
    parser = trial_parser(__doc__)
    parser.add_argument("--name", type=file_stem, required=True, help="name of the file in data/weights")
    return parser.parse_args()


def main() -> None:
    args = parse()
    config = load_config(args.config, args.set)
    from deepfake import bundle, trials
    from deepfake.training import run_network

    parts = [bundle.Part(name.replace("/", "-"), run_network(config.run_dir.parent, name)) for name in args.run]
    strangers = sorted({*config.ensemble.accusers, *config.ensemble.member_views} - {part.name for part in parts})
    if strangers:
        raise UserError(
            f"ensemble.accusers and ensemble.member_views: {strangers[0]!r} is no member, those given by --run are "
            f"{', '.join(part.name for part in parts)}; rename one or the other"
        )
    clips = trials.read_clips(args.clips, args.labels, config.extract, args.cache)
    n_frames, views = config.extract.frames_per_video, config.ensemble.views_of
    scores = {p.name: trials.frame_scores(p.frames, clips, config, n_frames, views(p.name)) for p in parts}
    tracks = trials.member_tracks(scores, clips, config.ensemble)
    trial = trials.measure(tracks, clips, config.ensemble)
    stack = trials.final_stack(tracks, clips, trial, config.ensemble)
    out = PROJECT_ROOT / "data/weights" / f"{args.name}.safetensors"
    bundle.save_detector(out, args.name, parts, stack, config)
    moved = bundle.half_precision_error(parts, out, config.work_dir, config.predict)
    if moved > bundle.MAX_HALF_DIFFERENCE:
        bundle.save_detector(out, args.name, parts, stack, config, half=False)
        print(f"half precision would move logits by up to {moved:.4f}: written in full")
        moved = bundle.half_precision_error(parts, out, config.work_dir, config.predict)
    print(f"{trials.HEADER}\n{trial.row(' + '.join(scores), '-')}")
    print(f"stack {stack.to_dict()}")
    print(f"{out}: {out.stat().st_size / 2**20:.1f} MB; the file moves logits by up to {moved:.4f}")


if __name__ == "__main__":
    guarded(main)
