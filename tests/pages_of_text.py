"""The Markdown pages of this repository, for tests that read them."""

from deepfake.files import PROJECT_ROOT

FOLDERS = (
    ".",
    "src",
    "src/lab",
    "configs",
    "configs/plans",
    "data",
    "data/weights",
    "notebooks",
    "submissions",
    "tests",
)
PAGES_OF_TEXT = [page for folder in FOLDERS for page in sorted((PROJECT_ROOT / folder).glob("*.md"))]
