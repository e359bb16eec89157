"""Measure what 10-bit HEVC of 1080p, 4K and 8K, with B-frames and four references, costs a check: seconds and memory.

Clips of a drawn face of 3 s, checked by `deepfake check` within its default limits. One that gets no score makes the
exit code 1.
"""

import argparse
import tempfile
from pathlib import Path


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="1080p,4K,8K", help="some of: %(default)s")
    parser.add_argument("--weights", type=Path, metavar="FILE", help="detector file (the one in data/weights)")
    return parser


def run(args: argparse.Namespace) -> int:
    from deepfake.errors import UserError
    from deepfake.models.detector_file import shipped_weights
    from lab import large_pictures

    names = [name.strip() for name in args.sizes.split(",")]
    unknown = [name for name in names if name not in large_pictures.SIZES_PX]
    if unknown:
        raise UserError(f"--sizes {unknown[0]!r}: no such size; choose from {', '.join(large_pictures.SIZES_PX)}")
    weights = (args.weights or shipped_weights()).absolute()
    with tempfile.TemporaryDirectory(prefix="large-") as folder:
        rows = list(large_pictures.measure(names, Path(folder), weights))
    print(large_pictures.as_markdown(rows))
    return 1 if any(row.is_fault for row in rows) else 0
