"""Measure networks over tracks on labelled clips they never learnt from, beside their frame network.

Prints a table with intervals resampled over people: AUC and log loss of each set, stacked and calibrated on the
other half of the people, and what it gains over the best single member. Then a line of submissions/ablations.md for
each member alone, with the families. Several runs make one table; only those named NAME/heads bring their heads.
"""

import argparse
from dataclasses import replace

from deepfake.cli import guarded, trial_parser, whole_number
from deepfake.config import Config, load_config

HEADS = "/heads"


def parse() -> argparse.Namespace:
    parser = trial_parser(__doc__)
    parser.add_argument("--frames", type=whole_number, default=32, metavar="N", help="a track's (32)")
    return parser.parse_args()


def settings_of(args: argparse.Namespace) -> list[Config]:
    """The settings of each run; of several, the heads of those that were asked for them."""
    silent = ["sequences.heads=[]"] if len(args.run) > 1 else []
    return [
        load_config(args.config, args.set if name.endswith(HEADS) else [*args.set, *silent], name.removesuffix(HEADS))
        for name in args.run
    ]


def main() -> None:
    args = parse()
    runs = settings_of(args)
    from deepfake import trials
    from deepfake.ensemble_table import as_markdown, compare
    from deepfake.head_trials import ask

    config = runs[0]
    clips = trials.read_clips(args.clips, args.labels, config.extract, args.cache)
    clips = replace(clips, faces=trials.some_frames(clips.faces, args.frames))
    asked = ask(runs, clips)
    print(as_markdown(compare(asked.evidence(clips), config.ensemble, config.validation)))
    print(f"\n{trials.HEADER}")
    members = asked.tracks.members
    sets = [[name] for name in members] + ([list(members)] if len(members) > 1 else [])
    for names in sets:
        trial = trials.measure(asked.tracks.of_members(names), clips, config.ensemble)
        print(trial.row(" + ".join(names), "-"))


if __name__ == "__main__":
    guarded(main)
