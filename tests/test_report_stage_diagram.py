"""The picture of the stages says what the registry says, and the page about the code shows the present one."""

from xml.etree import ElementTree

from deepfake.config import PROJECT_ROOT, parse_config
from deepfake.report.stage_diagram import described, files_of, stage_diagram
from deepfake.stages import STAGES

CONFIG = parse_config({})
SVG = "{http://www.w3.org/2000/svg}"


def file(name: str):
    return next(found for found in files_of(CONFIG) if found.name == name)


def test_a_file_runs_from_its_maker_to_all_its_readers() -> None:
    folds = file("folds.parquet")
    names = list(STAGES)
    assert folds.folder == "work" and names[folds.made] == "03_make_folds"
    readers = [names[row] for row in folds.read]
    assert readers[0] == "04_train_frames" and readers[-1] == "08_validate"
    assert file("submission.csv").read == ()


def test_the_networks_of_all_folds_are_one_line() -> None:
    models = [found.name for found in files_of(CONFIG) if found.name.startswith("frames/")]
    assert models == ["frames/fold*/model.safetensors"]


def test_the_picture_is_one_svg_with_every_stage_and_every_file_once() -> None:
    root = ElementTree.fromstring(stage_diagram(CONFIG))
    texts = [found.text for found in root.iter(f"{SVG}text")]
    for name in [*STAGES, *(found.name for found in files_of(CONFIG))]:
        assert texts.count(name) == 1, name
    rings = sum(len(found.read) for found in files_of(CONFIG))
    assert sum("read" in (c.get("class") or "") for c in root.iter(f"{SVG}circle")) == rings


def test_everything_lies_inside_the_picture() -> None:
    root = ElementTree.fromstring(stage_diagram(CONFIG))
    width, height = map(float, (root.get("viewBox") or "").split()[2:])
    for circle in root.iter(f"{SVG}circle"):
        assert 0 < float(circle.get("cx") or -1) < width and 0 < float(circle.get("cy") or -1) < height


def test_the_words_for_those_who_do_not_see_it_name_what_each_stage_reads_and_makes() -> None:
    assert "01_index_videos reads the videos and makes videos.parquet. 02_extract_faces reads" in described(CONFIG)


def test_the_page_about_the_code_shows_the_present_stages() -> None:
    shown = PROJECT_ROOT / "notebooks/pictures/stages.svg"
    assert shown.read_text() == stage_diagram(CONFIG), "the stages changed: make pictures"
    assert "](../notebooks/pictures/stages.svg)" in (PROJECT_ROOT / "src/README.md").read_text()
