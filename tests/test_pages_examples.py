"""What the pages say to type works: commands are accepted as they stand, and worked examples run."""

import importlib
import json
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from clip_factory import Coding, write
from deepfake import api, registry, tables
from deepfake.commands.main import COMMANDS
from deepfake.files import PROJECT_ROOT
from drawn_faces import write_person
from invented_people import videos_frame, write_table
from lab.__main__ import COMMANDS as RESEARCH
from pages_of_text import PAGES_OF_TEXT

TYPED = re.compile(r"^(?:\s*|\s*PYTHONPATH=\. )(?:(deepfake)|python -m (lab)) ([a-z].*)$")
CODE = (PROJECT_ROOT / "src/README.md").read_text()
# The log shows commands of its time.
OF_TODAY = [page for page in PAGES_OF_TEXT if page.name not in ("ablations.md", "CHANGELOG.md")]


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def typed() -> Iterator[tuple[str, str, str]]:
    for page in OF_TODAY:
        for line in page.read_text().splitlines():
            match = TYPED.match(line)
            if match:
                yield page.name, match[1] or match[2], match[3]


@pytest.mark.parametrize(("page", "program", "rest"), sorted(set(typed())))
def test_a_command_is_accepted_as_it_stands(page: str, program: str, rest: str) -> None:
    name, *flags = shlex.split(rest, comments=True)
    assert name in (COMMANDS if program == "deepfake" else RESEARCH), f"{page}: there is no {program} {name}"
    home = "deepfake.commands" if program == "deepfake" else "lab.commands"
    importlib.import_module(f"{home}.{name.replace('-', '_')}").arguments().parse_args(flags)


def test_every_command_is_on_a_page() -> None:
    pages = "\n".join(page.read_text() for page in OF_TODAY)
    assert [name for name in COMMANDS if f"deepfake {name}" not in pages] == []
    lab = (PROJECT_ROOT / "src/lab/README.md").read_text()
    assert [name for name in RESEARCH if f"`{name}`" not in lab] == []


@pytest.fixture
def my_ideas(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The worked examples of src/README.md in one module, and settings that choose from it."""
    from deepfake.forging.families import FAMILIES
    from deepfake.media.sampling import MODES
    from deepfake.models.heads import HEADS

    examples = [block for block in blocks(CODE, "python") if block.startswith("# my_ideas.py")]
    assert len(examples) == 3
    (tmp_path / "my_ideas.py").write_text("\n".join(examples))
    merged = "plugins: [my_ideas]\nextract: {sampling: beginning}\nsequences: {heads: [sequences, convolution]}\n"
    (tmp_path / "mine.yaml").write_text(
        merged + "frames: {selfblend: {families: {self_blend: 0.8, soft_mouth: 0.2}}}\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(registry, "_plugins", [])
    for one in (FAMILIES, HEADS, MODES):
        monkeypatch.setattr(one, "_entries", dict(one._entries))
        monkeypatch.setattr(one, "_makers", dict(one._makers))
    yield tmp_path / "mine.yaml"
    sys.modules.pop("my_ideas", None)


def test_the_worked_examples_work(my_ideas: Path, tmp_path: Path) -> None:
    from deepfake.forging.families import Face, Material, forge
    from deepfake.media.video import sample
    from deepfake.models.build import build, new_head
    from deepfake.settings_file import load_config

    config = load_config(my_ideas)
    head = new_head("convolution", 8, config.sequences).eval()
    logits_BT, mask_BT = torch.randn(2, 6), torch.tensor([[True] * 6, [True] * 3 + [False] * 3])
    logits_B = head(torch.randn(2, 6, 8), mask_BT, logits_BT)
    assert torch.allclose(logits_B, torch.stack([logits_BT[0].mean(), logits_BT[1, :3].mean()]))  # before it has learnt
    assert type(build("convolution", head.settings)) is type(head)

    rng = np.random.default_rng(0)
    points = np.array([[22, 24], [42, 24], [32, 34], [25, 44], [39, 44.0]])
    face = Face(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8), points)
    forged = forge(face, {"soft_mouth": 1.0}, Material(), rng)
    changed = np.abs(forged.picture.astype(int) - face.picture).sum(2) > 0
    assert forged.family == "soft_mouth" and changed[44, 32] and not changed[:16].any() and forged.mask.max() == 1

    with sample(write(tmp_path / "clip.mp4", Coding(n_frames=12)), config.extract.sampling, 3) as sampled:
        assert [frame.index for frame in sampled] == [0, 1, 2]


@pytest.mark.slow
@pytest.mark.parametrize("page", ["README.md", "src/README.md"])
def test_the_examples_of_the_api_run(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(api, "default_cache", lambda: tmp_path / "cache")
    for name in ("clip.mp4", "a.mp4", "b.mp4"):
        write_person(tmp_path / name, 0)
    (tmp_path / "mine.yaml").write_text(json.dumps({"dataset": "mine", "data_dir": str(tmp_path / "data")}))
    write_table(tables.VIDEOS, videos_frame({"video_id": "clip.mp4"}), tmp_path / "data/work/mine")
    examples = [
        block for block in blocks((PROJECT_ROOT / page).read_text(), "python") if block.startswith("import deep")
    ]
    assert examples
    for example in examples:
        exec(compile(example, page, "exec"), {"__name__": "example"})
        assert capsys.readouterr().out


def test_the_map_of_the_code_names_every_module() -> None:
    rows = dict(re.findall(r"^\| `(\w+)/` \|.*\| `([^`]*)` \|$", CODE, re.MULTILINE))
    for package in sorted(path.parent for path in (PROJECT_ROOT / "src/deepfake").glob("*/__init__.py")):
        if package.name != "commands":
            files = {path.stem for path in package.glob("*.py")} - {"__init__"}
            folders = {f"{path.parent.name}/" for path in package.glob("*/__init__.py")}
            assert set(rows[package.name].split()) == files | folders, f"src/README.md: modules of {package.name}"
