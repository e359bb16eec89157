from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from deepfake import autoencoders
from deepfake.autoencoders import FORMS, Form, Progress, TrainedPainter, load_autoencoder, network_path, train_form
from deepfake.config import UserError
from deepfake.forgeries import Face
from deepfake.mixture import rebuilt_path
from deepfake.models.autoencoders import Autoencoder, PatchCritic
from deepfake.rebuilding import FIRST_TRAINED, PUBLISHED, Ways, plan, rebuild, rebuild_all

SMALL = replace(FORMS[0], bottleneck=4)


@dataclass
class Hills:
    """Smooth coloured pictures of 64 px, each another."""

    n: int

    def __len__(self) -> int:
        return self.n

    def face(self, i: int) -> Face:
        rng = np.random.default_rng(i)
        coarse = rng.integers(40, 216, (4, 4, 3)).astype(np.uint8)
        return Face(cv2.resize(coarse, (64, 64), interpolation=cv2.INTER_CUBIC), self.landmarks(i))

    def landmarks(self, i: int) -> np.ndarray:
        return np.zeros((5, 2))

    def rebuilt_name(self, i: int) -> str:
        return f"p{i}"

    def rebuilt(self, i: int, way: int) -> np.ndarray | None:
        return None

    def name(self, i: int) -> str:
        return f"picture {i}"

    def owner(self, i: int) -> str:
        return f"person {i}"


@pytest.fixture(autouse=True)
def small_patches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(autoencoders, "PATCH_PX", 32)
    monkeypatch.setattr(autoencoders, "BATCH", 4)


def quiet(progress: Progress) -> None:
    del progress


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    return train_form(SMALL, Hills(6), tmp_path / "autoencoders", 3, 0, quiet)


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
def test_every_form_gives_back_pictures_of_the_same_size(form: Form) -> None:
    network = Autoencoder(form.upsampling, form.levels, form.bottleneck)
    wide = torch.zeros(2, 3, 2 * network.multiple_px, 5 * network.multiple_px)
    with torch.inference_mode():
        assert network(wide).shape == wide.shape
        assert network.encoder(wide).shape == (2, form.bottleneck, 2, 5)


def test_the_forms_differ_in_how_they_enlarge_and_in_what_goes_through() -> None:
    assert len({form.upsampling for form in FORMS}) == len(FORMS) == len({form.name for form in FORMS})
    assert len({(form.levels, form.bottleneck) for form in FORMS}) >= 3


def test_too_many_halvings_are_refused() -> None:
    with pytest.raises(ValueError, match="levels: found 9, wanted 1 to 4"):
        Autoencoder("nearest", 9, 4)


def test_the_critic_judges_patches_of_eight_pixels() -> None:
    assert PatchCritic()(torch.zeros(1, 3, 64, 40)).shape == (1, 1, 8, 5)


def test_patches_are_cut_from_pictures_of_any_size(monkeypatch: pytest.MonkeyPatch) -> None:
    patches = autoencoders.draw_patches(Hills(3), np.random.default_rng(0))
    assert (patches.shape, patches.dtype) == ((4, 32, 32, 3), np.uint8)
    assert patches.std() > 10
    assert (autoencoders.draw_patches(Hills(3), np.random.default_rng(0)) == patches).all()
    monkeypatch.setattr(autoencoders, "PATCH_PX", 100)  # larger than the pictures: these are enlarged
    assert autoencoders.draw_patches(Hills(3), np.random.default_rng(0)).shape == (4, 100, 100, 3)


def test_it_learns_to_give_the_pictures_back() -> None:
    steps = [progress for progress, _ in autoencoders.learn(SMALL, Hills(6), 40, 0)]
    assert [progress.step for progress in steps] == list(range(40))
    first, last = (np.mean([progress.pixels for progress in part]) for part in (steps[:5], steps[-5:]))
    assert last < 0.8 * first
    assert all(progress.critic == 0 for progress in steps[:10])  # it joins after a quarter of the steps
    assert all(progress.critic > 0 for progress in steps[10:])


def test_the_same_seed_gives_the_same_weights_and_a_finished_one_is_left_alone(trained: Path, tmp_path: Path) -> None:
    again = train_form(SMALL, Hills(6), tmp_path / "again", 3, 0, quiet)
    other = train_form(SMALL, Hills(6), tmp_path / "other", 3, 1, quiet)
    weights = [load_autoencoder(path).state_dict() for path in (trained, again, other)]
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])
    assert not all(torch.equal(weights[0][key], weights[2][key]) for key in weights[0])
    told: list[Progress] = []
    assert train_form(SMALL, Hills(6), trained.parent, 3, 0, told.append) == trained
    assert not told
    train_form(SMALL, Hills(6), trained.parent, 4, 0, told.append)
    assert len(told) == 4  # other settings: trained anew


def test_files_that_are_no_autoencoder_are_named(tmp_path: Path, trained: Path) -> None:
    with pytest.raises(UserError, match=r"'.*nowhere\.safetensors' does not exist; run src/train_autoencoders\.py"):
        load_autoencoder(tmp_path / "nowhere.safetensors")
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(trained.read_bytes()[:100])
    with pytest.raises(UserError, match=r"cut\.safetensors': not readable .*delete it and train again"):
        load_autoencoder(cut)


def test_a_painter_paints_anew_and_the_middle_alone_is_its(trained: Path) -> None:
    painter = TrainedPainter("nearest", trained, 8)
    picture = Hills(1).face(0).picture
    painted = painter.paint(picture)
    assert (painted.shape, painted.dtype) == (picture.shape, np.uint8)
    assert abs(painted.mean((0, 1)) - picture.mean((0, 1))).max() < 4, "after three steps it knows no colour"
    twin = rebuild(picture, painter, np.random.default_rng(0))
    assert (twin[:6] == picture[:6]).all()
    assert (twin[6:-6, 6:-6] != picture[6:-6, 6:-6]).mean() > 0.5


def test_pictures_are_painted_in_processes_of_their_own_and_numbered_after_the_published_networks(
    trained: Path, tmp_path: Path
) -> None:
    ways = Ways((TrainedPainter("nearest", trained, 8), TrainedPainter("again", trained, 8)), FIRST_TRAINED)
    rows = plan(Hills(8), 1.0, ways)
    assert {way for _, way in rows} == {FIRST_TRAINED, FIRST_TRAINED + 1}
    assert len(list(rebuild_all(Hills(8), tmp_path, rows, 1, ways))) == 8
    assert all(rebuilt_path(tmp_path, f"p{i}", way).is_file() for i, way in rows)
    assert len(PUBLISHED.painters) == FIRST_TRAINED


def test_pictures_of_a_network_that_was_trained_anew_do_not_mix_with_its_old_ones(
    trained: Path, tmp_path: Path
) -> None:
    ways = Ways((TrainedPainter("nearest", trained, 8),), FIRST_TRAINED)
    rows = plan(Hills(2), 1.0, ways)
    assert len(list(rebuild_all(Hills(2), tmp_path, rows[:1], 1, ways))) == 1
    assert len(list(rebuild_all(Hills(2), tmp_path, rows[1:], 1, ways))) == 1
    train_form(SMALL, Hills(6), trained.parent, 4, 0, quiet)
    with pytest.raises(UserError, match=r"way4': painted by network .*delete that folder"):
        list(rebuild_all(Hills(2), tmp_path, rows, 1, ways))


def test_painters_without_weights_say_what_to_run(tmp_path: Path) -> None:
    ways = Ways(autoencoders.painters(tmp_path), FIRST_TRAINED)
    assert [painter.path for painter in autoencoders.painters(tmp_path)] == [network_path(tmp_path, f) for f in FORMS]
    with pytest.raises(UserError, match="train_autoencoders"):
        list(rebuild_all(Hills(1), tmp_path, [(0, FIRST_TRAINED)], 1, ways))
