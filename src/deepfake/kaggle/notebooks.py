"""The notebooks as this package writes them: thin cells, logic stays in the package.

`make kaggle` writes them into `notebooks/`, without outputs; a test fails where the files there differ from these.
"""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent
from typing import Any

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from deepfake.files import write_whole

KAGGLE = (
    """
    # Deepfake Detection Challenge: score the test videos

    Attach two data sets: the competition's data, and the bundle that `make kaggle` built. Internet stays off; a GPU
    helps a little, more processor cores help more. PyTorch runs the networks on a GPU; on processors ONNX Runtime does,
    if the bundle brings a wheel of it for this Python. `submission.csv` is whole from the start, with the prior for
    every video, and gets better while videos are scored; `details.csv` beside it says what stands behind each row. A
    run that was stopped goes on where it was, as long as the session lives.

    This notebook is generated (`src/deepfake/kaggle/notebooks.py`); settings are in the bundle's `configs/kaggle.yaml`.
    """,
    """
    import os
    import sys
    import time
    from pathlib import Path

    STARTED_S = time.monotonic()
    attached = Path("/kaggle/input")
    depths = ("*", "*/*", "*/*/*")
    setups = [path for depth in depths for path in attached.glob(f"{depth}/src/deepfake/kaggle/setup.py")]
    named = os.environ.get("DEEPFAKE_BUNDLE")
    bundles = [Path(named)] if named else [path.parents[3] for path in setups]
    if len(bundles) != 1:
        raise FileNotFoundError(f"{len(bundles)} bundles below {attached}; attach the one that make kaggle built")
    BUNDLE = bundles[0]
    sys.path.insert(0, str(BUNDLE / "src"))
    """,
    """
    ## Check the bundle, install its wheels, find the folders
    """,
    """
    from deepfake.settings_file import load_config
    from deepfake.kaggle.setup import check_bundle, find_places, install

    manifest = check_bundle(BUNDLE)
    print("detector:", manifest["detector"], "\\ninstalled:", *install(BUNDLE))
    places = find_places(BUNDLE, os.environ)
    config = load_config(BUNDLE / "configs/kaggle.yaml", os.environ.get("DEEPFAKE_SET", "").split())
    print(f"test videos: {places.competition}\\nresults: {places.out}\\nkept for another run: {places.work}")
    """,
    """
    ## Score

    32 frames a video, fewer where the time would not do for all of them. A video that is broken or hangs costs itself
    alone.
    """,
    """
    from deepfake.kaggle.run import examples, open_scorer, prepare, run, summary

    scorer = open_scorer(places, config)
    job = prepare(places, scorer)
    records = run(job, scorer, STARTED_S, report=print)
    """,
    """
    ## What came out
    """,
    """
    from IPython.display import HTML, display

    display(HTML(summary(job, records, time.monotonic() - STARTED_S)))
    """,
    """
    ## Three videos

    Crops of the face that decided, each with what its frame alone would give. A score is evidence, not proof.
    """,
    """
    display(HTML(examples(job, scorer, records)))
    """,
)
EXPLORE = (
    """
    # Faces, tracks and scores of one data set

    Reads the tables of stages 01 to 04 in `data/work/<dataset>` and `data/runs/<run>`; `make demo` makes them for the
    demo. Frames of one person in one shot make a track; its crops are what the networks see.

    This notebook is generated (`src/deepfake/kaggle/notebooks.py`) and kept without outputs, which would show
    people's faces.
    """,
    """
    import os
    import sys
    from pathlib import Path

    PROJECT = Path.cwd() if (Path.cwd() / "src/deepfake").is_dir() else Path.cwd().parent
    sys.path.insert(0, str(PROJECT / "src"))

    from IPython.display import HTML, display

    from deepfake.settings_file import load_config
    from deepfake.report import tracks

    config = load_config(PROJECT / os.environ.get("DEEPFAKE_CONFIG", "configs/demo.yaml"))
    material = tracks.read_material(config)
    """,
    """
    ## What there is
    """,
    """
    display(HTML(tracks.overview(material)))
    tracks.video_table(material)
    """,
    """
    ## Tracks of a video

    Set `VIDEO` to a row of the table above; by default the one with most tracks. Under each crop stand its time and,
    where the frame network has scored it out of fold, its `p_fake` before calibration.
    """,
    """
    VIDEO = tracks.busiest_video(material)
    display(HTML(tracks.track_strips(material, VIDEO)))
    """,
    """
    display(HTML(tracks.timeline(material, VIDEO)))
    """,
    """
    ## Scores of frames

    Of all frames scored out of fold, by the label of their video.
    """,
    """
    display(HTML(tracks.frame_scores(material)))
    """,
)
NOTEBOOKS = {"kaggle_inference.ipynb": KAGGLE, "explore_tracks.ipynb": EXPLORE}
KERNEL = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}


def notebook_text(name: str) -> str:
    """A notebook as JSON text; a cell is text where it starts with a heading, code otherwise."""
    cells = []
    for number, text in enumerate(NOTEBOOKS[name]):
        source = dedent(text).strip()
        new_cell: Any = new_markdown_cell if source.startswith("#") else new_code_cell
        cells.append(new_cell(source, id=f"cell-{number}"))
    notebook = new_notebook(cells=cells, metadata=KERNEL)
    nbformat.validate(notebook)
    return str(nbformat.writes(notebook)) + "\n"


def write_notebooks(folder: Path) -> list[Path]:
    """Write all notebooks; return their paths."""
    for name in NOTEBOOKS:
        write_whole(folder / name, notebook_text(name).encode())
    return [folder / name for name in NOTEBOOKS]
