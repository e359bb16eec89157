"""The networks that find faces, from facenet-pytorch's files (MIT) into the one that the package holds.

Made once; the same files give the same bytes. Another content has another SHA-256, and `NETWORKS_SHA256` of
`deepfake/faces/mtcnn_networks.py` has to name it: the command prints it.
"""

import argparse

from deepfake.commands.arguments import output_file


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=output_file, metavar="FILE", help="instead of the file in the package")
    return parser


def run(args: argparse.Namespace) -> None:
    import hashlib

    from deepfake.faces.mtcnn_networks import NETWORKS_FILE
    from deepfake.files import write_whole
    from lab.mtcnn_export import networks_file

    path = args.out or NETWORKS_FILE
    content = networks_file()
    write_whole(path, content)
    print(f"{path}: {len(content):,} bytes, SHA-256 {hashlib.sha256(content).hexdigest()}")
