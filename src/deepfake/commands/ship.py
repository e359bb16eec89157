"""Ship networks as one detector: runs of `deepfake train` -> data/weights/<name>.safetensors, or --out.

Weighs and calibrates them on labelled clips they never learnt from, and prints what that gives with every
clip scored by a fit on the other half of the people. In half precision, unless that moves a logit by more than 0.01;
with --half whatever it moves: what counts is the file, which `deepfake recalibrate` calibrates as it is.
Write the model card data/weights/<name>.md beside it: sources, terms, recipe, figures, what it cannot see.
"""

import argparse
from pathlib import Path

from deepfake.commands.arguments import file_stem, output_file, trial_parser
from deepfake.errors import UserError
from deepfake.files import PROJECT_ROOT
from deepfake.outputs import try_file

EXTRA = "train"


def arguments() -> argparse.ArgumentParser:
    parser = trial_parser(__doc__)
    parser.add_argument("--name", type=file_stem, required=True, help="name of the detector")
    parser.add_argument("--out", type=output_file, metavar="FILE", help="data/weights/NAME.safetensors unless given")
    parser.add_argument("--half", action="store_true", help="in half precision, whatever it moves a logit by")
    return parser


def run(args: argparse.Namespace) -> None:
    from deepfake.settings_file import load_config

    config = load_config(args.config, args.set)
    out: Path = args.out or PROJECT_ROOT / "data/weights" / f"{args.name}.safetensors"
    try_file(out)
    from deepfake.detector import file, fitting, labelled_clips
    from deepfake.training.train import run_network

    parts = [file.Part(name.replace("/", "-"), run_network(config.run_dir.parent, name)) for name in args.run]
    ensemble = config.ensemble
    named = {*ensemble.one_sided_members, *ensemble.member_views, *ensemble.member_strides}
    strangers = sorted(named - {part.name for part in parts})
    if strangers:
        raise UserError(
            "ensemble.one_sided_members, ensemble.member_views and ensemble.member_strides: "
            f"{strangers[0]!r} is no member, those given by --run are {', '.join(part.name for part in parts)}; rename "
            "one or the other"
        )
    clips = labelled_clips.read_clips(args.clips, args.labels, config.extract, args.cache)
    n_frames = config.extract.frames_per_video
    scores = {p.name: fitting.member_scores(p.frames, p.name, clips, config, n_frames) for p in parts}
    tracks = fitting.member_tracks(scores, clips, config.ensemble)
    trial = fitting.measure(tracks, clips, config.ensemble)
    stack = fitting.final_stack(tracks, clips, trial, config.ensemble)
    file.save_detector(out, args.name, parts, stack, config)
    moved = file.half_precision_error(parts, out, config.work_dir, config.predict)
    if moved > file.MAX_HALF_DIFFERENCE and not args.half:
        file.save_detector(out, args.name, parts, stack, config, half=False)
        print(f"half precision would move logits by up to {moved:.4f}: written in full")
        moved = file.half_precision_error(parts, out, config.work_dir, config.predict)
    print(f"{fitting.HEADER}\n{trial.row(' + '.join(scores), '-')}")
    print(f"stack {stack.to_dict()}")
    print(f"{out}: {out.stat().st_size / 2**20:.1f} MB; the file moves logits by up to {moved:.4f}")
