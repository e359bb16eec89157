"""Generate the odd clips of the conformance suite and tell what each backend and sampling mode made of them.

Prints a Markdown table, or writes it with --out. Exits with 1 when any frame was not the one it claimed to be.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="Markdown file to write; without it the table is printed")
    parser.add_argument("--only", default="", help="only kinds of clips whose name holds this text")
    arguments = parser.parse_args()

    os.environ.setdefault("SVT_LOG", "1")  # the AV1 encoder tells its settings otherwise
    from conformance import KINDS, table
    from deepfake import files

    kinds = [kind for kind in KINDS if arguments.only.lower() in kind.name.lower()]
    if not kinds:
        print(f"no kind of clip holds {arguments.only!r} in its name", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as folder:
        text, n_wrong = table(kinds, Path(folder))
    if arguments.out is None:
        print(text)
    else:
        files.write_whole(arguments.out, text.encode())
    return int(n_wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
