"""Measure how often traces of editing are found where they were made, and told of clips that nobody edited.

--clips and --labels: clips as their publishers put them up. Of --n of them are made, below --out: what WhatsApp and
YouTube make of them (plainly coded anew), and copies that were edited in known ways. Thresholds are chosen on one half
of the publishers (column `chosen`) and every rate is of the other half, with its interval by Clopper and Pearson;
`used` is the product's threshold, which every rate is at. Started again, it goes on where it was.
"""

import argparse
from pathlib import Path

from deepfake.commands.arguments import output_folder, whole_number


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=Path, required=True, metavar="DIR", help="folder of labelled clips")
    parser.add_argument("--labels", type=Path, required=True, metavar="CSV", help="file, label, identity, source, ...")
    parser.add_argument("--out", type=output_folder, required=True, metavar="DIR", help="made clips and tables")
    parser.add_argument("--n", type=whole_number, default=88, metavar="N", help="clips that are changed (88)")
    return parser


def run(args: argparse.Namespace) -> None:
    from deepfake.files import write_whole
    from lab import traces, traces_clips

    chosen, everything = traces_clips.choose(args.clips, args.labels, args.n)
    values = traces.measure(list(traces_clips.make(chosen, everything, args.out / "clips")))
    for name, table in (("values", values), ("traces", traces.table(values)), ("wrong", traces.wrong(values))):
        write_whole(args.out / f"{name}.csv", table.to_csv(index=False).encode())
        if name != "values":
            print(f"{name} -> {args.out / f'{name}.csv'}\n{table.to_string(index=False)}\n")
