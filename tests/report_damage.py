"""Print what becomes of 40 clips with 1 to 1,000 flipped bits: .venv/bin/python tests/report_damage.py (a minute)."""

from __future__ import annotations

import tempfile
from pathlib import Path

from damaged_clips import outcomes, table


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        print(table(list(outcomes(Path(folder)))))


if __name__ == "__main__":
    main()
