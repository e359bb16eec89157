"""Write a detector's file with graphs of its frame networks, for ONNX Runtime to score with on processors.

They lie in the same file, bound to its weights: `deepfake ship`, `recalibrate` and 07_ensemble write them too. Refused
where ONNX Runtime moves a logit of 50 made-up crops by more than 0.001 against PyTorch in fp32. Needs PyTorch and the
package onnx (pip install 'deepfake[train]'); to score with the file needs neither.
"""

import argparse
from pathlib import Path

from deepfake.commands.arguments import output_file

EXTRA = "train"


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, required=True, metavar="FILE", help="the detector's .safetensors")
    parser.add_argument("--out", type=output_file, metavar="FILE", help="detector file to write (the same)")
    return parser


def run(args: argparse.Namespace) -> None:
    from deepfake.models.detector_file import read_header

    read_header(args.weights)  # the likeliest mistake first
    from deepfake.detector.graphs import N_CROPS, add_graphs

    out = args.out or args.weights
    print(f"{'network':10} {'px':>5}  largest difference from PyTorch of {N_CROPS} made-up crops: logit, feature, map")
    for one in add_graphs(args.weights, out):
        print(f"{one.network:10} {one.side_px:5}  {one.logit:.1e}  {one.feature:.1e}  {one.map_logit:.1e}")
    print(f"  -> {out}")
