"""Measure how well faces tell people apart: false matches by similarity, persons found beside known identities.

--clips and --labels: labelled clips with a column identity; pairs of tracks, and persons among real clips, among each
family of forgeries and among all. --photos: a CSV of photos with identity and landmarks; pairs of single pictures.
Persons that bear several identities are listed: the same person under two names, or two people taken for one.
"""

import argparse
from pathlib import Path

from deepfake.commands.arguments import output_folder, share
from deepfake.files import default_cache


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=Path, metavar="DIR", help="folder of labelled clips")
    parser.add_argument("--labels", type=Path, metavar="CSV", help="file, label, identity, family, ...")
    parser.add_argument("--photos", type=Path, metavar="CSV", help="file, identity, lm0_x ... lm4_y")
    parser.add_argument("--out", type=output_folder, required=True, metavar="DIR", help="where the tables go")
    parser.add_argument("--similarity", type=share, metavar="S", help="of the list of persons (that of the settings)")
    parser.add_argument("--cache", type=output_folder, default=str(default_cache()), help="where crops are kept")
    return parser


def run(args: argparse.Namespace) -> None:
    from deepfake.detector.header import read_detector
    from deepfake.detector.labelled_clips import read_clips
    from deepfake.errors import UserError
    from deepfake.files import write_whole
    from deepfake.models.detector_file import shipped_weights
    from deepfake.settings import People
    from lab import people

    if not args.photos and not (args.clips and args.labels):
        raise UserError("people: name clips with their labels (--clips, --labels), photos (--photos) or both")
    tables = {}
    if args.photos:
        photos = people.known_photos(args.photos)
        tables["pairs of photos"] = people.pair_table(photos)
        tables["pairs of photos of two collections"] = people.pair_table(photos, across_kinds=True)
    if args.clips and args.labels:
        extract = read_detector(shipped_weights()).extract
        settings = People()
        known = people.known_tracks(read_clips(args.clips, args.labels, extract, args.cache), settings)
        real = known.only(known.kind_N == "real")
        tables["pairs of tracks, real clips"] = people.pair_table(real)
        tables["persons, real clips"] = people.grouping_table(real)
        for kind in sorted({*known.kind_N.tolist()} - {"real"}):
            tables[f"persons, {kind}"] = people.grouping_table(known.only(known.kind_N == kind))
        tables["persons, all clips"] = people.grouping_table(known)
        tables["persons of several identities, real clips"] = people.merged_identities(
            real, args.similarity or settings.min_similarity
        )
        tables["persons of several identities"] = people.merged_identities(
            known, args.similarity or settings.min_similarity
        )
    for title, table in tables.items():
        path = args.out / f"{title.replace(',', '').replace(' ', '_')}.csv"
        write_whole(path, table.to_csv(index=False).encode())
        print(f"{title} -> {path}\n{table.to_string(index=False, float_format=lambda value: f'{value:.5g}')}\n")
