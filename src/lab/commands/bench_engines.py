"""Measure what may run a detector's frame networks on a processor: PyTorch, ONNX Runtime and, if installed, OpenVINO.

Prints how far each one's logits lie from PyTorch's in fp32, and milliseconds an image by threads and batch. They take
turns in one run; on a machine that does other things, too, the ratios count. `make bench` measures the whole check.
"""

import argparse
import os
from pathlib import Path

from deepfake.commands.arguments import whole_number, whole_numbers


def arguments() -> argparse.ArgumentParser:
    """The flags."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, help="detector file with graphs (the one in data/weights)")
    parser.add_argument(
        "--crops", type=Path, metavar="DIR", help="pictures of faces, 200 of which are asked about, too"
    )
    parser.add_argument("--threads", type=whole_numbers, default="1,2", help="numbers of threads (1,2)")
    parser.add_argument("--batches", type=whole_numbers, default="1,8,32", help="images in a call (1,8,32)")
    parser.add_argument("--rounds", type=whole_number, default=5, help="rounds, the best of which counts (5)")
    return parser


def run(args: argparse.Namespace) -> None:
    """Measure and print both tables."""
    from deepfake.models.detector_file import shipped_weights
    from lab.bench import engines

    networks = engines.networks_of(args.weights or shipped_weights())
    have, missing = engines.installed()
    for name in missing:
        print(f"{name}: not installed, not measured")
    print(f"ONEDNN_MAX_CPU_ISA={os.environ.get('ONEDNN_MAX_CPU_ISA', '(all that the processor has)')}\n")
    print("| engine | network | crops | n | largest difference of a logit from PyTorch fp32 |\n|---|---|---|---|---|")
    for row in engines.differences(networks, have, args.crops):
        print(f"| {' | '.join(row)} |", flush=True)
    names = ("network", "threads", "batch", "engine", "ms an image", "CPU ms", "of PyTorch's", "CPU")
    print(f"\n| {' | '.join(names)} |\n{'|---' * len(names)}|")
    for one in engines.time_engines(networks, have, args.threads, args.batches, args.rounds):
        cells = (one.network, one.threads, one.batch, one.engine)
        times = (f"{one.ms:.1f}", f"{one.cpu_ms:.1f}", f"{one.ratio:.2f}", f"{one.cpu_ratio:.2f}")
        print(f"| {' | '.join(map(str, (*cells, *times)))} |", flush=True)
