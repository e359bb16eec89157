"""Measure how well copies are found: clips changed in twelve ways, asked of an index of their originals and of others.

--clips and --labels: one real clip of each identity, and synthesised heads. Of these --n are changed and asked for;
others are indexed beside them, and some are changed that nobody indexed. Two tables: descriptors by the hashes of
frames that show the same moment, and what `deepfake find like` says, a row a change.
--generated N: an index of N videos of ten seconds of invented hashes instead: bytes, seconds, memory.
--cost CLIP ...: what hashes cost beside extraction, made by it in passing or by decoding anew, instead.
"""

import argparse
from pathlib import Path

from deepfake.commands.arguments import natural_number, output_folder, whole_number


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=Path, metavar="DIR", help="folder of labelled clips")
    parser.add_argument("--labels", type=Path, metavar="CSV", help="file, label, identity, family, ...")
    parser.add_argument("--out", type=output_folder, required=True, metavar="DIR", help="copies, index and tables")
    parser.add_argument("--n", type=whole_number, default=40, metavar="N", help="clips that are changed (40)")
    parser.add_argument("--seed", type=natural_number, default=0, metavar="N", help="which ones (0)")
    parser.add_argument("--descriptors", action="store_true", help="compare descriptors, too: pdqhash, torch")
    parser.add_argument("--generated", type=whole_number, metavar="N", help="videos of invented hashes, instead")
    parser.add_argument(
        "--cost", type=Path, nargs="+", metavar="CLIP", help="what hashes cost beside extraction, instead"
    )
    return parser


def run(args: argparse.Namespace) -> None:
    from deepfake.errors import UserError
    from deepfake.files import write_whole
    from lab import copies, copy_descriptors

    if args.generated:
        print(copies.generated(args.generated, args.out))
        return
    if args.cost:
        from lab.copy_cost import cost

        print(cost(args.cost).to_string(index=False, float_format="{:.3f}".format))
        return
    if not (args.clips and args.labels):
        raise UserError("copies: name clips with their labels (--clips, --labels), or see --generated and --cost")
    chosen = copies.choose(args.clips, args.labels, args.n, args.seed)
    work = args.out / f"{args.n}-{args.seed}"  # what stands around an excerpt depends on which clips were chosen
    made = copies.make(chosen, work)
    tables = {"copies": copies.measure(chosen, made, work / "index")}
    if args.descriptors:
        tables["frames"] = copy_descriptors.compare(chosen, made)
    for name, table in tables.items():
        write_whole(args.out / f"{name}.csv", table.to_csv(index=False).encode())
        print(f"{name} -> {args.out / f'{name}.csv'}\n{table.to_string(index=False, float_format='{:.3f}'.format)}\n")
