"""Train small autoencoders on the photos and real clips of a settings file, of which learning by forging makes fakes.

Needs the tables of stages 01 and 02. Writes data/work/<dataset>/autoencoders, one file a form of up-sampling and
bottleneck; what lies there with the same settings stays. About five minutes each on 2 cores. Then
src/rebuild_pictures.py --by autoencoders paints the pictures with them.
"""

import argparse
from functools import partial

from tqdm import tqdm

from deepfake.cli import guarded, stage_parser, whole_number
from deepfake.config import UserError, load_config


def parse() -> argparse.Namespace:
    parser = stage_parser(__doc__)
    parser.add_argument("--steps", type=whole_number, default=800, metavar="N", help="of each autoencoder (800)")
    return parser.parse_args()


def main() -> None:
    args = parse()
    config = load_config(args.config, args.set, args.run)
    from deepfake.autoencoders import FORMS, Progress, network_path, train_form
    from deepfake.mixture import read_mixture
    from deepfake.stages import alone

    sources = read_mixture(config, config.frames.seed).sources
    pictures = sources.photos if sources.photos is not None and len(sources.photos) else sources.reals
    if not len(pictures):
        raise UserError("train_autoencoders: no real picture in the tables and no frames.selfblend.photos_csv")
    folder = config.work_dir / "autoencoders"

    def tell(bar: tqdm, at: Progress) -> None:
        bar.update()
        bar.set_postfix(pixels=f"{at.pixels:.1f}", features=f"{at.features:.2f}", critic=f"{at.critic:.2f}")

    with alone(folder):
        for number, form in enumerate(FORMS):
            if args.force:
                network_path(folder, form).unlink(missing_ok=True)
            with tqdm(total=args.steps, desc=form.name, unit="step") as bar:
                seed = 1000 * config.frames.seed + number
                path = train_form(form, pictures, folder, args.steps, seed, partial(tell, bar))
            print(f"train_autoencoders: {form.name} -> {path}")


if __name__ == "__main__":
    guarded(main)
