"""Measure what the signs of sound and mouth are worth: known shifts, others' sound, no voice, two faces, false alarms.

All clips of --clips with a face and sound are cut into windows and compared, as `deepfake check --evidence` does, with
their own sound, their own at known offsets, others' sounds, silence, noise and music.
"""

import argparse
from pathlib import Path

from deepfake.commands.arguments import output_folder, seconds
from deepfake.errors import UserError
from deepfake.files import default_cache


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=Path, metavar="DIR", help="folder of clips, some with sound")
    parser.add_argument(
        "--cost",
        type=Path,
        nargs="+",
        metavar="CLIP",
        help="in place of all that: what --evidence costs a check of each",
    )
    parser.add_argument("--labels", type=Path, metavar="CSV", help="file, label, source: who published it")
    parser.add_argument("--seconds", type=seconds, nargs="+", default=[7.0, 5.0, 3.5], metavar="S", help="of windows")
    parser.add_argument("--out", type=output_folder, required=True, metavar="DIR", help="where the tables go")
    parser.add_argument("--cache", type=output_folder, default=str(default_cache()), help="where crops are kept")
    return parser


def run(args: argparse.Namespace) -> None:
    import pandas as pd

    from deepfake.evaluation.labelled import read_labels
    from deepfake.files import write_whole
    from lab import sound
    from lab.evidence_cost import cost_table

    if args.cost:
        costs = cost_table(args.cost)
        write_whole(args.out / "cost.csv", costs.to_csv(index=False).encode())
        print(costs.to_string(index=False, float_format=lambda value: f"{value:.2f}"))
        return
    if args.clips is None:
        raise UserError("no --clips given; name a folder of clips, or clips by --cost")
    materials = sound.read_materials(args.clips, read_labels(args.labels) if args.labels else [], args.cache)
    parts = {length_s: sound.windows(materials, length_s) for length_s in args.seconds}
    first = parts[args.seconds[0]]
    tables = {
        "own sound": sound.own_table(first),
        "known shifts": sound.shift_table(first),
        "others' sound": pd.DataFrame([sound.swap_table(own, length_s) for length_s, own in parts.items()]),
        "halves of the sources": sound.half_table(first),
        "no voice": sound.without_voice_table(materials),
        "two faces": pd.DataFrame([sound.two_faces_table(first)]),
        "silent people with others' voices": sound.narrated_table(first, materials),
    }
    for title, table in tables.items():
        path = args.out / f"{title.replace(chr(39), '').replace(' ', '_')}.csv"
        write_whole(path, table.to_csv(index=False).encode())
        print(f"{title} -> {path}\n{table.to_string(index=False, float_format=lambda value: f'{value:.3g}')}\n")
