"""What people add: one file outside the package is a head, a pseudo-fake and a sampling mode of the settings."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from clip_factory import Coding, write
from deepfake import registry
from deepfake.config import Extract, UserError, default_config, load_config, parse_config
from deepfake.registry import Registry, built_in_names
from deepfake.workers import Limits, run_each

OWN = """
import numpy as np
import torch
from torch import nn

from deepfake.forgeries import Forged, register_forgery
from deepfake.models.heads import Start, TrackHead, register_head
from deepfake.sampling import register_sampling


@register_head("loudest")
class Loudest(TrackHead):
    inputs = ("features",)

    @classmethod
    def begin(cls, start: Start) -> "Loudest":
        return cls(start.n_features)

    def __init__(self, n_features: int) -> None:
        super().__init__()
        self.settings = {"n_features": n_features}
        self.scale = nn.Parameter(torch.ones(n_features))

    def frame_logits(self, *inputs):
        features_BTD, mask_BT, logits_BT = inputs
        loud_BT = (features_BTD * self.scale).amax(dim=2) * mask_BT
        return loud_BT.amax(dim=1), loud_BT


@register_forgery("negative")
def negative(face, material, rng):
    return Forged(255 - face.picture, np.ones(face.picture.shape[:2], np.float32), "negative")


@register_sampling("first_frames")
def first_frames(candidates):
    return np.arange(min(candidates.n_frames, len(candidates.keys)))


@register_sampling("backwards")
def backwards(candidates):
    return np.array([2, 1, 0])
"""
SETTINGS = """
plugins: [own_ideas]
extract: {sampling: first_frames, frames_per_video: 3}
sequences: {heads: [loudest]}
frames: {selfblend: {families: {negative: 1.0}}}
"""


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A settings file that names a module which lies beside it; afterwards nobody knows what it registered."""
    from deepfake.forgeries import FAMILIES
    from deepfake.models import HEADS
    from deepfake.sampling import MODES

    (tmp_path / "own_ideas.py").write_text(OWN)
    (tmp_path / "settings.yaml").write_text(SETTINGS)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(registry, "_plugins", [])
    for one in (FAMILIES, HEADS, MODES):
        monkeypatch.setattr(one, "_entries", dict(one._entries))
        monkeypatch.setattr(one, "_makers", dict(one._makers))
    yield tmp_path / "settings.yaml"
    sys.modules.pop("own_ideas", None)


def test_a_head_of_ones_own_is_chosen_in_the_settings_and_gives_logits(settings: Path) -> None:
    from deepfake.models import build, new_head

    config = load_config(settings)
    (name,) = config.sequences.heads
    head = new_head(name, 2, config.sequences)
    features_BTD = torch.tensor([[[1.0, 3.0], [2.0, 0.5]], [[5.0, 0.0], [9.0, 9.0]]])
    mask_BT = torch.tensor([[True, True], [True, False]])
    assert head(features_BTD, mask_BT, torch.zeros(2, 2)).tolist() == [3.0, 5.0]
    assert type(build(name, head.settings)) is type(head)  # as a checkpoint does


def test_a_pseudo_fake_of_ones_own_is_drawn_by_its_share(settings: Path) -> None:
    from deepfake.forgeries import Face, Material, forge

    selfblend = load_config(settings).frames.selfblend
    assert selfblend is not None
    face = Face(np.full((64, 64, 3), 10, np.uint8), np.array([[22, 24], [42, 24], [32, 34], [25, 44], [39, 44.0]]))
    forged = forge(face, selfblend.families, Material(), np.random.default_rng(0))
    assert forged.family == "negative" and (forged.picture == 245).all() and (forged.mask == 1).all()


def test_a_sampling_mode_of_ones_own_chooses_the_frames(settings: Path, tmp_path: Path) -> None:
    from deepfake.video import sample

    extract = load_config(settings).extract
    clip = write(tmp_path / "clip.mp4", Coding(n_frames=12))
    with sample(clip, extract.sampling, extract.frames_per_video) as sampled:
        assert [frame.index for frame in sampled] == [0, 1, 2]
    with pytest.raises(UserError, match=r"'backwards' chose \[2, 1, 0\]; wanted rising positions in 0..11"):
        sample(clip, "backwards")


def test_worker_processes_know_it_too(settings: Path) -> None:
    load_config(settings)
    assert [outcome for _, outcome in run_each(_names, ["sampling"], Limits(1, 120))] == [["first_frames", "backwards"]]


def _names(kind: str) -> list[str]:
    from deepfake.sampling import MODES

    return [name for name in MODES.names() if name not in built_in_names(kind)]


def test_it_can_be_named_by_an_override_alone(settings: Path) -> None:
    config = default_config(["plugins=[own_ideas]", "sequences.heads=[loudest, motion]"])
    assert config.sequences.heads == ("loudest", "motion")


def test_a_misspelt_name_is_an_error_with_what_it_may_have_meant(settings: Path) -> None:
    with pytest.raises(
        UserError, match=r"sequences.heads.0: found 'motoin'; no head is called .*did you mean 'motion'"
    ):
        load_config(settings, ["sequences.heads=[motoin]"])
    with pytest.raises(UserError, match="did you mean 'loudest'"):
        load_config(settings, ["sequences.heads=[lowdest]"])
    with pytest.raises(UserError, match=r"extract.sampling: found 'unifrom'; no sampling .*did you mean 'uniform'"):
        load_config(settings, ["extract.sampling=unifrom"])
    with pytest.raises(UserError, match=r"families.*no forgery is called 'negativ'; did you mean 'negative'"):
        load_config(settings, ["frames.selfblend.families={negativ: 1.0}"])


def test_only_the_settings_of_the_user_name_modules(settings: Path) -> None:
    """A detector's file holds settings of extraction, and a whole run's settings may be handed about."""
    with pytest.raises(ValueError, match="no sampling is called 'first_frames'"):
        Extract.model_validate({"sampling": "first_frames"})
    with pytest.raises(UserError, match="no head is called 'loudest'"):
        parse_config({"plugins": ["own_ideas"], "sequences": {"heads": ["loudest"]}})
    assert "own_ideas" not in sys.modules


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("plugins: [no_such_module_here]", "there is no module 'no_such_module_here'; put its folder on PYTHONPATH"),
        ("plugins: [../own_ideas]", r"plugins.0: found '../own_ideas'"),
        ("plugins: own_ideas", "plugins: found 'own_ideas'"),
    ],
)
def test_a_module_that_is_not_there_is_an_error_at_once(settings: Path, text: str, message: str) -> None:
    settings.write_text(text)
    with pytest.raises(UserError, match=message):
        load_config(settings)


def test_a_module_that_breaks_is_named(settings: Path, tmp_path: Path) -> None:
    (tmp_path / "own_ideas.py").write_text("1 / 0")
    with pytest.raises(UserError, match="plugins: 'own_ideas' cannot be imported: ZeroDivisionError"):
        load_config(settings)


def test_a_name_is_registered_by_one_and_may_be_by_the_same_again() -> None:
    shapes: Registry[type] = Registry("shape")

    class Round: ...

    class Square: ...

    assert shapes.register("round")(Round) is Round
    shapes.register("round")(Round)
    with pytest.raises(UserError, match=r"shape 'round' is registered twice, by .*Round and by .*Square; rename one"):
        shapes.register("round")(Square)
    with pytest.raises(UserError, match="wanted a name of small letters"):
        shapes.register("Round one")(Round)
    assert shapes["round"] is Round and shapes.names() == ["round"] and len(shapes) == 1


def test_the_source_names_what_the_package_registers() -> None:
    """The settings trust it, so as not to import torch."""
    from deepfake.forgeries import FAMILIES
    from deepfake.models import HEADS
    from deepfake.sampling import MODES

    for one in (HEADS, FAMILIES, MODES):
        assert set(built_in_names(one.kind)) == set(one.names())


def test_settings_are_loaded_without_torch_and_without_their_plugin(settings: Path, tmp_path: Path) -> None:
    settings.write_text("plugins: [own_ideas]\nsequences: {heads: [slowfast, motion]}\n")
    code = (
        f"import sys; sys.path.append({str(tmp_path)!r}); from pathlib import Path; import deepfake.config as c;"
        f"c.load_config(Path({str(settings)!r}));"
        "print(sorted({'torch', 'cv2', 'numpy', 'own_ideas'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd="src", check=True)
    assert done.stdout.strip() == "[]"
