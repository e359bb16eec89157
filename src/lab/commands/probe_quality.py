"""Whether noise and detail alone tell forged clips: on left-out sources, and on another collection.

A line through statistics of crops learns from --clips and --crops (but split `fresh`, which is never read). High on
sources left out of these and .5 on --other: it learnt how clips were gathered, and so may a network.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from deepfake.commands.arguments import output_folder
from deepfake.files import default_cache


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, required=True, metavar="FILE", help="settings: extraction")
    parser.add_argument("--clips", type=Path, required=True, metavar="DIR", help="labelled clips to learn from")
    parser.add_argument("--other", type=Path, required=True, metavar="DIR", help="those of another collection")
    parser.add_argument("--labels", type=Path, required=True, metavar="CSV", help="file, label, identity, family, ...")
    parser.add_argument("--crops", type=Path, required=True, metavar="CSV", help="further clips to learn from: crops")
    parser.add_argument("--cache", type=output_folder, default=str(default_cache()), help="where crops are kept")
    return parser


def run(args: argparse.Namespace) -> None:
    import numpy as np
    import pandas as pd

    from deepfake.detector.labelled_clips import read_clips
    from deepfake.detector.listed_crops import read_crops
    from deepfake.settings_file import load_config
    from lab.labelled_crops import FRESH, MORE, seen_clips
    from lab.quality_probe import clip_features, probe

    extract = load_config(args.config).extract
    splits = sorted(set(pd.read_csv(args.crops, usecols=["split"], dtype=str)["split"]) - {FRESH})
    sets = [
        (read_clips(args.clips, args.labels, extract, args.cache), ""),
        (read_crops(args.crops, splits, extract, args.cache), MORE),
        (read_clips(args.other, args.labels, extract, args.cache), ""),
    ]
    tables, features = [], []
    for clips, prefix in sets:
        kept = seen_clips(clips, prefix)
        tables.append(kept)
        features.append(clip_features(clips, kept["clip"].tolist()))
    table = pd.concat(tables, ignore_index=True)
    is_other = np.arange(len(table)) >= len(tables[0]) + len(tables[1])
    found = probe(table, np.concatenate(features), is_other)
    print(f"left-out sources of {int((~is_other).sum())} clips: AUC {found.left_out}")
    others = ", ".join(f"{family} {auc:.2f}" for family, auc in found.other.items())
    print(f"{int(is_other.sum())} clips of the other collection: AUC {others}")
