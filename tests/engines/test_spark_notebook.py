"""The notebook of the pipeline, run to its end on clips of drawn people."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from deepfake.kaggle.notebooks import notebook_text
from deepfake.report import pipeline
from drawn_faces import write_person
from moving_squares import moving

ROOT = Path(__file__).parents[2]
RUN = """
import sys, nbformat
from nbclient import NotebookClient
from traitlets.config import Config
cells = nbformat.read(sys.argv[1], as_version=4)
settings = Config({"KernelManager": {"transport": "ipc"}})
client = NotebookClient(cells, timeout=500, startup_timeout=300, kernel_name="python3", config=settings)
try:
    client.execute()
finally:
    nbformat.write(cells, sys.argv[2])
"""


def test_frames_and_tracks_are_shown_with_what_they_are(square_clip: object, tmp_path: Path) -> None:
    path = square_clip(moving, n_frames=16, name="a <b>.mp4")  # type: ignore[operator]
    box = {"x0_px": 20.0, "y0_px": 30.0, "x1_px": 44.0, "y1_px": 54.0}
    faces = [{**box, "frame_index": i, "time_s": i / 8} for i in range(16)]
    frames = [
        {"path": f"file:{path}".replace(" ", "%20"), "video_id": "a <b>.mp4", "faces": [face]}
        | {"frame": {"frame_index": i, "time_s": i / 8, "shot": 0}}
        for i, face in enumerate(faces)
    ]
    shown = pipeline.frames_with_boxes(frames, most=4)
    assert shown.count("data:image/jpeg;base64,") == 4 and "16 frames sampled" in shown and "a &lt;b&gt;.mp4" in shown
    track = {"number": 0, "shot": 0, "from_s": 0.0, "to_s": 1.875, "faces": faces}
    strip = pipeline.tracks([{**frames[0], "track": track}], {"a <b>.mp4": 0.25})
    assert strip.count("data:image/jpeg;base64,") == 8
    assert "shot 0, 0.0 to 1.9 s, 16 faces, p_fake of the video 0.25" in strip


@pytest.mark.slow
def test_the_notebook_of_the_pipeline_runs(tmp_path: Path) -> None:
    pytest.importorskip("pyspark")
    clips = tmp_path / "data/raw/drawn"
    for person in (1, 2, 3):
        write_person(clips / f"{person}.mp4", person, (False, True)[: 1 + person % 2], n_frames=24 * 4)
    (clips / "text.mp4").write_text("no video")
    values = {"dataset": "drawn", "data_dir": str(tmp_path / "data"), "index": {"root": str(clips)}}
    (tmp_path / "drawn.yaml").write_text(json.dumps(values))
    (tmp_path / "src").symlink_to(ROOT / "src")
    source, out = tmp_path / "spark_pipeline.ipynb", tmp_path / "out.ipynb"
    source.write_text(notebook_text("spark_pipeline.ipynb"))
    environment = {**os.environ, "DEEPFAKE_CONFIG": str(tmp_path / "drawn.yaml"), "HOME": str(tmp_path)}
    environment |= {"IPYTHONDIR": str(tmp_path / "i"), "JUPYTER_RUNTIME_DIR": str(tmp_path / "r")}
    (tmp_path / "r").mkdir(mode=0o700)
    command = [sys.executable, "-c", RUN, str(source), str(out)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path, timeout=580)
    assert done.returncode == 0, re.sub(r"\x1b\[[0-9;]*m", "", done.stderr)[-4000:]

    cells = nbformat.read(out, as_version=4).cells
    outputs = [output for cell in cells for output in cell.get("outputs", ())]
    text = "\n".join(str(output.get("text") or output.get("data", {}).get("text/html", "")) for output in outputs)
    assert "found text" in text and "chunkS: Seconds of such a part at most" in text
    assert len(re.findall("data:image/jpeg;base64,", text)) > 20
    assert "1.mp4, track 1" in text and "unreadable: video" in text
    assert not [output for output in outputs if output.output_type == "error"]
