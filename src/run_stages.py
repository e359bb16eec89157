"""Run all stages in order, each in a process of its own; stages that are up to date are skipped at once.

Takes the flags of a stage and hands them on. Stopped at any moment, the same command goes on.
"""

import os
import subprocess
import sys
import time

from deepfake.commands.arguments import stage_parser
from deepfake.commands.guard import guarded
from deepfake.settings_file import load_config
from deepfake.stages import STAGES, is_current


def main() -> int:
    parser = stage_parser(__doc__)
    args = parser.parse_args()
    config = load_config(args.config, args.set, args.run)
    start = time.monotonic()
    for stage in STAGES.values():
        if not args.force and is_current(stage, config, args.limit):
            print(f"{stage.name}: up to date", flush=True)
            continue
        done = subprocess.run([sys.executable, str(stage.script), *sys.argv[1:]], env=os.environ.copy())
        if done.returncode:
            return done.returncode
    print(f"all stages: {time.monotonic() - start:.1f} s\n  -> {config.submission_dir / 'submission.csv'}")
    print(f"  -> {config.submission_dir / 'report.html'}")
    return 0


if __name__ == "__main__":
    guarded(main)
