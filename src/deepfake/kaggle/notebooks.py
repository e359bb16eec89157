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
SPARK = (
    """
    # Videos on Spark: probe, chunks, shots, faces, tracks, scores

    Each step is a Transformer of `pyspark.ml`: it adds columns to rows, or makes new rows of them. Paths travel,
    pictures do not. The session is the one that is active (Databricks, spark-submit), or two cores of this machine.
    Clips are the demo's (`make demo`), or those of the settings in `DEEPFAKE_CONFIG`; `pip install 'deepfake[spark]'`
    brings Spark and a Java.

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

    from deepfake.engines import transformers
    from deepfake.engines.session import spark_session
    from deepfake.report import pipeline
    from deepfake.settings_file import load_config

    config = load_config(PROJECT / os.environ.get("DEEPFAKE_CONFIG", "configs/demo.yaml"))
    clips = config.path(config.index.root).absolute()
    spark = spark_session("local[2]")
    """,
    """
    ## Paths

    `binaryFile` lists them; the bytes themselves are never asked for. A table with a column of paths does as well.
    """,
    """
    files = spark.read.format("binaryFile").option("recursiveFileLookup", True).option("pathGlobFilter", "*.mp4")
    paths = files.load(str(clips)).select("path").orderBy("path").limit(12).cache()
    paths.show(3, truncate=False)
    """,
    """
    ## Probe: what the files hold

    From their packets alone: nothing is decoded. A file that is no video stays a row, with the reason.
    """,
    """
    indexed = transformers.VideoIndexer(root=str(clips)).transform(paths).cache()
    indexed.select("video_id", "video.codec", "video.width_px", "video.duration_s", "reason").toPandas()
    """,
    """
    ## Chunks: which frames, and where long videos are cut

    Frames are chosen once for a whole video. One that is longer than `chunkFromS` is cut at keyframes: here after 3 s,
    so that there is something to see. The tracks are the same however it is cut.
    """,
    """
    planner = transformers.ChunkPlanner(chunkFromS=3.0, chunkS=2.0)
    print(planner.explainParam("chunkS"))
    chunks = planner.transform(indexed).cache()
    chunks.selectExpr("video_id", "chunk.number", "chunk.from_s", "chunk.to_s", "size(chunk.frames) frames").toPandas()
    """,
    """
    ## Shots

    Each chunk says how its frames change; cuts are found once for each video, from what all of its chunks say.
    """,
    """
    shots = transformers.ShotDetector().transform(chunks).cache()
    shots.selectExpr("video_id", "chunk.number", "cuts.time_s cuts_s", "chunk.uncut", "reason").toPandas()
    """,
    """
    ## Faces: paths in, boxes out
    """,
    """
    faces = transformers.FaceDetector().transform(shots).cache()
    rows = [row.asDict(recursive=True) for row in faces.where("frame is not null").collect()]
    counts = faces.selectExpr("video_id", "size(faces) n").groupBy("video_id").sum("n").orderBy("sum(n)", "video_id")
    VIDEO = counts.tail(1)[0]["video_id"]
    display(HTML(pipeline.frames_with_boxes([row for row in rows if row["video_id"] == VIDEO])))
    """,
    """
    ## Tracks: one person in one shot

    Linked once for each video, from all of its boxes: the cutting leaves no seam.
    """,
    """
    tracks = transformers.TrackLinker().transform(faces).cache()
    found = [row.asDict(recursive=True) for row in tracks.where("track is not null").collect()]
    display(HTML(pipeline.tracks([row for row in found if row["video_id"] == VIDEO])))
    """,
    """
    ## Scores

    For a video up to half a minute `p_fake` is what `deepfake predict` gives. Where there is no score it is the prior,
    and `fallback` says why.
    """,
    """
    scored = transformers.ForgeryScorer().transform(tracks).orderBy("p_fake", "video_id", ascending=[False, True])
    scores = scored.select("video_id", "p_fake", "n_tracks", "n_faces", "fallback").toPandas()
    scores
    """,
    """
    p_fake = scores[scores["fallback"].isna()].set_index("video_id")["p_fake"].to_dict()
    shown = [*list(p_fake)[:2], *list(p_fake)[-2:]]  # the most and the least forged
    display(HTML(pipeline.tracks([row for row in found if row["video_id"] in shown], p_fake)))
    """,
    """
    ## The same as one Pipeline, saved and loaded
    """,
    """
    import tempfile

    from pyspark.ml import Pipeline, PipelineModel

    stages = [
        transformers.VideoIndexer(root=str(clips)),
        transformers.ChunkPlanner(),
        transformers.ShotDetector(),
        transformers.FaceDetector(),
        transformers.TrackLinker(),
        transformers.ForgeryScorer(),
    ]
    with tempfile.TemporaryDirectory() as folder:
        Pipeline(stages=stages).fit(paths).write().overwrite().save(f"{folder}/model")
        model = PipelineModel.load(f"{folder}/model")
    model.transform(paths.limit(2)).select("video_id", "p_fake", "fallback").toPandas()
    """,
)
NOTEBOOKS = {"kaggle_inference.ipynb": KAGGLE, "explore_tracks.ipynb": EXPLORE, "spark_pipeline.ipynb": SPARK}
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
