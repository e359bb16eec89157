"""Imports go down this list of layers, never up; a new module is one new line here."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "src" / "deepfake"
LAYERS = (
    {"errors"},
    {"registry"},
    {"config", "labels"},
    {"check"},
    {"devices", "files", "clips", "hashes", "duplicates", "workers", "bitstream", "sampling", "pixels", "shots"},
    {"detector_file"},
    {"tables", "arrays", "costs"},
    {"demux"},
    {"decode"},
    {"video", "shards"},
    {"file_facts", "extracted"},
    {"index"},
    {"faces", "mesh", "crops"},
    {"tracks", "track_scenes", "library_trackers"},
    {"video_faces"},
    {"reading"},
    {"read_ahead", "extraction"},
    {"blend", "augment", "degrade", "motion"},
    {"tubes"},
    {"forgeries", "distortions"},
    {"forged_clips"},
    {"demo_data", "datasets"},
    {"track_inputs"},
    {"mixture"},
    {"source_check"},
    {
        "models",
        "models.depthwise",
        "models.frames",
        "models.heads",
        "models.sequences",
        "models.motion",
        "models.two_stream",
        "models.clips",
        "models.inflated",
        "models.no_compiler",
    },
    {"checkpoints"},
    {"scoring", "averaging"},
    {"track_scoring"},
    {"forged_tracks"},
    {"metrics", "folds", "budget"},
    {"metadata_classifier"},
    {"aggregate", "calibration"},
    {"early_exit"},
    {"ensemble"},
    {"evaluation"},
    {"dependence"},
    {"ensemble_table"},
    {"report", "report.plots", "report.contact_sheet", "report.strips", "report.templates", "submission", "bundle"},
    {"training"},
    {"report.inputs", "report.plain", "report.groups", "report.abstaining", "report.frames_needed", "report.leakage"},
    {"report.worst", "report.mistakes", "report.against", "report.csv_tables", "report.page", "report.validation"},
    {"kaggle_setup"},
    {"kaggle"},
    {"decision", "detector"},
    {"spans"},
    {"spliced"},
    {"kaggle_run", "report.tracks"},
    {"notebooks", "two_passes"},
    {"verdict"},
    {"evidence", "demo_verdicts"},
    {"report.check"},
    {"checking"},
    {"trials"},
    {"head_trials", "recalibration"},
    {"robustness", "sweep"},
    {"report.robustness", "report.frames_curve"},
    {"benchmark_clips", "benchmark_extraction", "benchmark_tracks"},
    {"benchmark_learning"},
    {"stages"},
    {"report.stage_diagram"},
    {"benchmark"},
    {"cli"},
)
DOORS = {
    "av": {"demux", "decode", "pixels", "clips", "degrade"},
    "decord": {"decode"},
    "scenedetect": {"shots"},
    "facenet_pytorch": {"faces"},
    "albumentations": {"augment"},
    "accelerate": {"training"},
    "trackers": {"library_trackers"},
    "motrics": {"benchmark_tracks"},
}

COMMANDS = {"cli", "checking"}
EXPERIMENTS = {"bundle", "detector", "scoring", "track_scoring", "training", "two_passes"}


def modules() -> list[str]:
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        parts = parts[:-1] if parts[-1] == "__init__" else parts
        if parts:
            found.append(".".join(parts))
    return found


def imports(module: str) -> set[str]:
    path = PACKAGE / (module.replace(".", "/") + ".py")
    path = path if path.exists() else PACKAGE / module.replace(".", "/") / "__init__.py"
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def level(module: str) -> int:
    for index, layer in enumerate(LAYERS):
        if module in layer:
            return index
    raise AssertionError(f"module {module!r} stands in no layer; add it to LAYERS in {__file__}")


@pytest.mark.parametrize("module", modules())
def test_imports_go_down_the_layers(module: str) -> None:
    own = {name.removeprefix("deepfake.") for name in imports(module) if name.startswith("deepfake.")}
    for name in sorted(own & set(modules())):
        parent = module.split(".")[0] == name.split(".")[0]
        assert level(name) < level(module) or parent, f"{module} imports {name}, which is not below it"


@pytest.mark.parametrize("module", modules())
def test_each_outside_library_has_one_door(module: str) -> None:
    for name in imports(module):
        library = name.split(".")[0]
        assert module in DOORS.get(library, {module}), f"{module} imports {library}; use {sorted(DOORS[library])}"


def test_extraction_workers_load_no_scipy() -> None:
    """It would cost each of them 36 MB and 0.4 s."""
    wanted, seen = ["extraction"], set()
    while wanted:
        module = wanted.pop()
        seen.add(module)
        names = imports(module)
        assert not any(name.split(".")[0] == "scipy" for name in names), f"{module} imports scipy"
        wanted += sorted({n.removeprefix("deepfake.") for n in names} & set(modules()) - seen)
    assert "tracks" in seen


@pytest.mark.parametrize("module", modules())
def test_only_commands_print(module: str) -> None:
    path = PACKAGE / (module.replace(".", "/") + ".py")
    path = path if path.exists() else PACKAGE / module.replace(".", "/") / "__init__.py"
    names = [node.id for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Name)]
    assert "print" not in names or module in COMMANDS, f"{module} prints; return what is to be said to its command"


@pytest.mark.parametrize("module", [module for module in modules() if module.startswith("report")])
def test_reports_show_what_others_measured(module: str) -> None:
    """No scoring, no network and no training behind a page."""
    for name in imports(module):
        assert name.split(".")[0] not in ("torch", "sklearn", "timm"), f"{module} imports {name}"
        assert name not in {f"deepfake.{one}" for one in EXPERIMENTS}, f"{module} imports {name}"
