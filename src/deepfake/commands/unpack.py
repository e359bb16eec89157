"""Take a detector's file apart: each member's frame network becomes a finished network of a run of its name.

They lie in data/runs/<member>/frames/all then, to be measured (`python -m lab measure`, `measure-spans`), to train on
from (frames.start_run) or to train others beside them (`deepfake train-heads`). Other networks stay, unless --force.
"""

import argparse
from pathlib import Path

from deepfake.commands.arguments import output_file

EXTRA = "train"


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, required=True, metavar="FILE", help="settings: where runs lie")
    parser.add_argument("--weights", type=Path, required=True, metavar="FILE", help="the detector's .safetensors")
    parser.add_argument("--member", metavar="NAME", help="this one alone")
    parser.add_argument("--snapshot", type=output_file, metavar="FILE", help="write --member there, .safetensors")
    parser.add_argument("--force", action="store_true", help="replace other networks of those runs")
    return parser


def run(args: argparse.Namespace) -> None:
    from deepfake.detector.file import load_detector, unpack_frames
    from deepfake.errors import UserError
    from deepfake.files import sha256_of
    from deepfake.models.checkpoints import fold_folder
    from deepfake.models.frames import FrameClassifier
    from deepfake.models.members import pick_member
    from deepfake.packs.snapshots import save_snapshot
    from deepfake.settings_file import load_config
    from deepfake.stages import alone

    members = load_detector(args.weights).members
    if args.member is not None:
        members = [pick_member(members, args.member, args.weights)]
    if args.snapshot is not None:
        if args.member is None and len(members) > 1:
            names = ", ".join(sorted({member.name for member in members}))
            raise UserError(f"--snapshot holds one network; {args.weights} has {names}: say which with --member")
        assert isinstance(members[0].frames, FrameClassifier), "load_detector's are torch's"
        save_snapshot(args.snapshot, members[0].frames, {"name": members[0].name, "of": sha256_of(args.weights)})
        print(f"unpack: {members[0].name} -> {args.snapshot}")
        return
    for name in sorted({member.name for member in members}):
        run_dir = load_config(args.config, run=name).run_dir
        folder = fold_folder(run_dir, "frames", None)
        with alone(run_dir):
            unpack_frames(args.weights, folder, name, args.force)
        print(f"unpack: {name} -> {folder}")
