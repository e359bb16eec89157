"""CLIP's image tower with three bits a weight, as a network that `deepfake train --pack` goes on from.

Its blocks are packed one after the other so that what they make of real pictures moves least. Prints how much of what
tells other pictures apart is lost. The encoder is the file that `python -m lab class-tokens --help` names.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from deepfake.commands.arguments import output_file, whole_number


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoder", type=Path, required=True, metavar="ONNX", help="CLIP's image tower")
    parser.add_argument("--pack", type=Path, required=True, metavar="FILE", help="a part of a pack: real pictures")
    parser.add_argument("--blocks", type=whole_number, default=8, metavar="N", help="the first N of 12 (8)")
    parser.add_argument("--pictures", type=whole_number, default=96, metavar="N", help="to pack by (96)")
    parser.add_argument("--out", type=output_file, required=True, metavar="FILE", help="the network")
    return parser


def run(args: argparse.Namespace) -> None:
    import torch

    from deepfake.models.class_tokens import ClassTokens
    from deepfake.models.frames import FrameClassifier
    from deepfake.packs.file import read_pack
    from deepfake.packs.snapshots import save_snapshot
    from lab.token_lines import INPUT_PX, VIEW_RATIO, Encoder, damaged_pictures
    from lab.weight_packing import left_unexplained, pack_blocks

    network = ClassTokens(args.blocks)
    encoder = Encoder(args.encoder)
    pack = read_pack(args.pack)
    to_pack_by, others = torch.split(
        encoder.normal(damaged_pictures(pack, args.pictures + args.pictures // 2)), args.pictures
    )
    wanted = encoder.tokens_of(others)
    for number in pack_blocks(network, encoder.weights, to_pack_by):
        print(f"block {number} of {args.blocks} packed", flush=True)
    with torch.inference_mode():
        found = network(others)
    lost = left_unexplained(wanted[:, args.blocks - 1], found / found.norm(dim=1, keepdim=True))
    print(f"lost of what tells {len(others)} pictures apart: {lost:.2f}")
    model = FrameClassifier(f"clip_b16_token{args.blocks}", INPUT_PX, view_ratio=VIEW_RATIO, maps=True)
    model.backbone.load_state_dict(network.state_dict())
    about = {"name": "packed", "encoder": encoder.key, "lost": round(lost, 4)}
    save_snapshot(args.out, model, about)
    print(f"{args.out}: {args.out.stat().st_size / 2**20:.1f} MB")
