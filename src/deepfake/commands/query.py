"""Ask the tables of a data set in SQL: who is in which clip, which shots look forged, what is missing.

    deepfake query --config configs/demo.yaml "SELECT video_id, p_fake FROM scores WHERE model = 'ensemble'"
    deepfake query --config configs/demo.yaml --out people.csv "FROM people"
    deepfake query --columns

One SELECT at a time: tables are only read, and SQL reaches no other file.
"""

import argparse
import logging
from pathlib import Path

from deepfake.commands.arguments import memory_mb, output_file

log = logging.getLogger(__name__)
EXTRA = "catalog"


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sql", nargs="?", metavar="SQL", help="one SELECT, in the dialect of DuckDB")
    parser.add_argument("--columns", action="store_true", help="list all views and their columns, and do no more")
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help="settings of the data set, such as configs/demo.yaml"
    )
    parser.add_argument(
        "--set", action="append", default=[], metavar="STAGE.KEY=VALUE", help="lay a value over the settings file"
    )
    parser.add_argument("--run", metavar="NAME", help="whose scores, instead of the settings file's run")
    parser.add_argument("--format", choices=("table", "csv", "json"), default="table", help="on the screen (table)")
    parser.add_argument("--out", type=output_file, metavar="FILE", help="write all rows there: .csv, .json or .parquet")
    parser.add_argument("--memory-mb", type=memory_mb, default=1000, metavar="MB", help="for the answer (1000)")
    return parser


def run(args: argparse.Namespace) -> None:
    import sys

    from deepfake.catalog.answers import print_answer, refuse_other_endings, write_answer
    from deepfake.catalog.query import describe, older_than_faces, open_catalog, tables_of
    from deepfake.catalog.views import views
    from deepfake.errors import UserError
    from deepfake.outputs import refuse_inputs
    from deepfake.settings_file import load_config

    if args.columns:
        print("\n".join(describe(view) for view in views()), end="")
        return
    if args.sql is None or args.config is None:
        raise UserError('query: say what to ask and of which data set: deepfake query --config FILE "SELECT ..."')
    config = load_config(args.config, args.set, args.run)
    places = tables_of(config)
    if args.out:
        refuse_other_endings(args.out)
        refuse_inputs(args.out, [path for files in places.values() for _, path in files])
    if older_than_faces(config):
        log.warning("the table people is older than faces: run `deepfake people --config %s` again", args.config)
    with open_catalog(places, f"data set {config.dataset!r}", args.memory_mb) as catalog:
        answer = catalog.batches(args.sql)
        if args.out:
            print(f"{write_answer(answer, args.out)} rows -> {args.out}")
        else:
            print_answer(answer, args.format, sys.stdout)
