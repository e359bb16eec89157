"""Questions in SQL: answers by hand over tables made by hand, what is refused, and how answers are written."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from deepfake import tables
from deepfake.catalog.answers import table_text, write_answer
from deepfake.catalog.people import numbered
from deepfake.catalog.query import Catalog, open_catalog, tables_of
from deepfake.catalog.views import views
from deepfake.commands.main import main
from deepfake.errors import UserError
from deepfake.files import PROJECT_ROOT
from deepfake.settings import Config
from invented_people import faces_frame, people_rows, videos_frame, write_table
from run_command import run

VIEWS = {view.name: view for view in views()}


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    """Three videos: in a.mp4 two people share a shot, and one of them is in b.mp4, too; c.mp4 cannot be read.

    Its folder has a name that DuckDB would take for a pattern.
    """
    folder = tmp_path_factory.mktemp("data [1]* it's")
    made = Config(data_dir=folder, dataset="drawn", run="tiny")
    work, scores = made.work_dir, made.run_dir
    videos = videos_frame(
        {"video_id": "a.mp4", "label": 0},
        {"video_id": "b.mp4", "label": 1, "original": "a.mp4"},
        {"video_id": "c.mp4", "status": "bad", "reason": "cut short"},
    )
    write_table(tables.VIDEOS, videos, work)
    faces = faces_frame(
        *(("a.mp4", 0, 0, frame) for frame in (0, 10, 20)),
        *(("a.mp4", 0, 1, frame) for frame in (0, 10)),
        ("a.mp4", 1, 2, 30),
        *(("b.mp4", 0, 0, frame) for frame in (5, 15)),
    )
    write_table(tables.FACES, faces, work)
    people = people_rows(("a.mp4", 0, 0), ("a.mp4", 1, 90), ("a.mp4", 2, None), ("b.mp4", 0, 5))
    write_table(tables.PEOPLE, numbered(people, 0.5), work)
    write_table(tables.COPIES, tables.empty(tables.COPIES), work)
    frames = faces[["video_id", "track", "frame_index"]].assign(model="frames", logit=0.0)
    frames.loc[(frames["video_id"] == "b.mp4"), "logit"] = [1.0, 3.0]
    write_table(tables.FRAME_SCORES, frames, scores, "frames_oof")
    heads = pd.DataFrame([{"model": "sequences", "video_id": "b.mp4", "track": 0, "n_frames": 2, "logit": 4.0}])
    write_table(tables.TRACK_SCORES, heads, scores, "sequences_oof")
    whole = [("a.mp4", 0.2, None), ("b.mp4", 0.8, None), ("c.mp4", 1.0, "unreadable")]
    rows = [
        {"model": "ensemble", "video_id": v, "p_fake": p, "n_faces": 1, "n_tracks": 1, "fallback": why}
        for v, p, why in whole
    ]
    write_table(tables.VIDEO_SCORES, pd.DataFrame(rows), scores, "oof_video_scores")
    return made


@pytest.fixture(scope="module")
def catalog(config: Config):
    with open_catalog(tables_of(config), "data set 'drawn'") as opened:
        yield opened


def asked(catalog: Catalog, sql: str) -> list[tuple[object, ...]]:
    return [tuple(row.values()) for row in catalog.ask(sql).to_pylist()]


def test_videos_come_with_what_later_stages_know_and_without_it_where_they_have_not_run(catalog: Catalog) -> None:
    found = asked(catalog, "SELECT video_id, label, original, reason, n_tracks, fold FROM videos ORDER BY 1")
    assert found == [
        ("a.mp4", 0, None, None, None, None),
        ("b.mp4", 1, "a.mp4", None, None, None),
        ("c.mp4", None, None, "cut short", None, None),
    ]


def test_a_track_has_its_time_size_person_and_the_mean_of_its_frames(catalog: Catalog) -> None:
    sql = "SELECT track, shot, person, from_s, to_s, n_frames, face_px, p_frames FROM tracks"
    assert asked(catalog, f"{sql} WHERE video_id = 'a.mp4' ORDER BY 1") == [
        (0, 0, 0, 0.0, 2.0, 3, 100.0, 0.5),
        (1, 0, 1, 0.0, 1.0, 2, 100.0, 0.5),
        (2, 1, None, 3.0, 3.0, 1, 100.0, 0.5),
    ]
    (forged,) = asked(catalog, f"{sql} WHERE video_id = 'b.mp4'")
    assert forged[:7] == (0, 0, 0, 0.5, 1.5, 2, 100.0) and forged[7] == pytest.approx(1 / (1 + np.exp(-2)))


def test_a_shot_counts_its_people(catalog: Catalog) -> None:
    sql = "SELECT video_id, shot, from_s, to_s, n_tracks, n_people FROM shots ORDER BY 1, 2"
    assert asked(catalog, sql) == [
        ("a.mp4", 0, 0.0, 2.0, 2, 2),
        ("a.mp4", 1, 3.0, 3.0, 1, 1),
        ("b.mp4", 0, 0.5, 1.5, 1, 1),
    ]


def test_scores_are_of_videos_and_of_tracks_by_any_model(catalog: Catalog) -> None:
    sql = "SELECT model, track, scored, n_frames, logit, p_fake FROM scores WHERE video_id = 'b.mp4' ORDER BY model"
    whole, frames, heads = asked(catalog, sql)
    assert whole[:4] == ("ensemble", None, "oof", None)
    assert whole[4:] == (pytest.approx(np.log(4)), 0.8)
    assert frames == ("frames", 0, "oof", 2, 2.0, None) and heads == ("sequences", 0, "oof", 2, 4.0, None)


def test_a_score_of_exactly_one_has_a_logit_all_the_same(catalog: Catalog) -> None:
    ((p_fake, logit, why),) = asked(catalog, "SELECT p_fake, logit, fallback FROM scores WHERE video_id = 'c.mp4'")
    assert p_fake == 1.0 and logit > 20 and why == "unreadable"


def test_the_same_person_in_another_clip_is_found(catalog: Catalog) -> None:
    sql = """SELECT x.video_id, y.video_id, x.person FROM people x JOIN people y USING (person)
        WHERE x.video_id < y.video_id"""
    assert catalog.ask(sql).to_pylist() == [{"video_id": "a.mp4", "video_id_1": "b.mp4", "person": 0}]


@pytest.mark.parametrize("name", VIEWS)
def test_each_view_has_the_columns_that_are_documented_in_their_order(catalog: Catalog, name: str) -> None:
    if name == "failures":
        pytest.skip("no such table here; the next test")
    assert [row[0] for row in asked(catalog, f"DESCRIBE {name}")] == list(VIEWS[name].columns)


def test_failures_have_theirs(tmp_path: Path) -> None:
    made = Config(data_dir=tmp_path)
    failed = pd.DataFrame([{"stage": "02_extract_faces", "video_id": "c.mp4", "reason": "cut short"}])
    write_table(tables.FAILURES, failed, made.work_dir)
    with open_catalog(tables_of(made), "data set 'demo'") as catalog:
        assert catalog.ask("FROM failures").schema.names == list(VIEWS["failures"].columns)


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM '/etc/passwd'",
        "SELECT * FROM 'other.parquet'",
        "SELECT * FROM read_csv('/etc/passwd')",
        "SELECT * FROM read_text('/etc/passwd')",
        "SELECT * FROM read_parquet('other.parquet')",
        "SELECT * FROM glob('/*')",
        "SELECT * FROM parquet_metadata('other.parquet')",
    ],
)
def test_sql_that_reads_files_is_refused(catalog: Catalog, sql: str) -> None:
    with pytest.raises(UserError, match="SQL that reads or writes files is refused"):
        catalog.ask(sql)


@pytest.mark.parametrize(
    ("sql", "found"),
    [
        ("COPY videos TO 'out.csv'", "COPY"),
        ("EXPLAIN ANALYZE COPY videos TO 'out.csv'", "EXPLAIN"),
        ("CREATE TABLE mine AS FROM videos", "CREATE"),
        ("DROP VIEW videos", "DROP"),
        ("ATTACH 'other.db'", "ATTACH"),
        ("INSTALL httpfs", "LOAD"),
        ("SET memory_limit = '100GB'", "SET"),
        ("PRAGMA database_list", "PRAGMA"),
        ("CALL pragma_version()", "CALL"),
        ("SELECT 1; SELECT 2", "SELECT and SELECT"),
        ("", "nothing"),
        ("-- nothing to ask", "nothing"),
    ],
)
def test_whatever_is_no_single_question_is_refused(catalog: Catalog, sql: str, found: str) -> None:
    with pytest.raises(UserError, match=rf"SQL: found {found}, wanted one SELECT"):
        catalog.ask(sql)


def test_no_table_can_be_written_over_not_even_one_that_may_be_read(config: Config, catalog: Catalog) -> None:
    before = (config.work_dir / "videos.parquet").read_bytes()
    ((paths,),) = asked(catalog, "SELECT current_setting('allowed_paths')")
    assert paths
    for path in paths:
        with pytest.raises(UserError):
            catalog.ask(f"COPY (SELECT 1) TO '{path}' (FORMAT parquet, USE_TMP_FILE false)")
    assert (config.work_dir / "videos.parquet").read_bytes() == before


def test_the_configuration_is_locked_and_no_variable_of_ours_is_a_table(catalog: Catalog) -> None:
    settings = "enable_external_access", "lock_configuration", "python_enable_replacements"
    found = asked(catalog, f"SELECT {', '.join(f'current_setting({name!r})' for name in settings)}")
    assert found == [(False, True, False)]
    with pytest.raises(UserError, match="there is no table 'sql'"):
        catalog.ask("FROM sql")


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("SELECT * FROM video", "there is no table 'video'; did you mean videos?"),
        ("SELECT * FROM nothing_like_it", "there are videos, faces, people, copies, tracks, shots, scores, failures"),
        ("SELECT nope FROM videos", 'column "nope" not found.*`deepfake query --columns` lists'),
        ("SELEC 1", "syntax error.*`deepfake query --columns`"),
        ("SELECT 1 / 'a'", "SQL: "),
        ("SELECT '\udcff'", "SQL: "),
    ],
)
def test_a_mistake_in_sql_is_said_in_one_sentence(catalog: Catalog, sql: str, said: str) -> None:
    with pytest.raises(UserError, match=said) as caught:
        catalog.ask(sql)
    assert "\n" not in str(caught.value)


def test_a_missing_table_names_what_makes_it(tmp_path: Path) -> None:
    made = Config(data_dir=tmp_path)
    write_table(tables.VIDEOS, videos_frame({"video_id": "a.mp4"}), made.work_dir)
    with open_catalog(tables_of(made), "data set 'demo'") as catalog:
        assert asked(catalog, "SELECT video_id FROM videos") == [("a.mp4",)]
        for name, how in {
            "people": "deepfake people",
            "tracks": "src/02_extract_faces.py",
            "scores": "src/07_ensemble.py",
        }.items():
            with pytest.raises(UserError, match=f"is not there; run `{how}` with the same --config first"):
                catalog.ask(f"FROM {name}")


def test_a_table_of_another_version_or_none_at_all_is_named(tmp_path: Path) -> None:
    made = Config(data_dir=tmp_path)
    write_table(tables.FAILURES, tables.empty(tables.FAILURES), made.work_dir, "videos")
    with pytest.raises(UserError, match=r"table videos: .* other columns .* --force"):
        open_catalog(tables_of(made), "").__enter__()
    (made.work_dir / "videos.parquet").write_bytes(b"PAR1 cut short")
    with pytest.raises(UserError, match=r"table videos: .* not a readable Parquet file"):
        open_catalog(tables_of(made), "").__enter__()


def test_an_answer_that_needs_too_much_memory_is_given_up(config: Config) -> None:
    with (
        open_catalog(tables_of(config), "data set 'drawn'", 40) as catalog,
        pytest.raises(UserError, match=r"more memory than it may have; .*--memory-mb"),
    ):
        catalog.ask("SELECT list(md5(a.range::VARCHAR || b.range)) FROM range(3000) a, range(1000) b")


def test_nothing_is_left_behind(config: Config) -> None:
    import tempfile

    before = set(Path(tempfile.gettempdir()).glob("deepfake-query-*"))
    with open_catalog(tables_of(config), "") as catalog:
        catalog.ask("FROM videos")
    assert set(Path(tempfile.gettempdir()).glob("deepfake-query-*")) <= before


def test_a_table_on_the_screen_shows_the_first_rows_and_says_that_there_are_more(catalog: Catalog) -> None:
    text = table_text(catalog.batches("SELECT range AS n, 'x' || range AS name FROM range(5)"), 3)
    assert text.splitlines() == [
        "n  name",
        "-  ----",
        "0  x0",
        "1  x1",
        "2  x2",
        "... the first 3 rows; --out FILE.csv writes all",
    ]
    assert table_text(catalog.batches("SELECT 1 AS n WHERE false")).splitlines() == ["n", "-", "no rows"]
    odd = table_text(catalog.batches("SELECT 'a' || chr(10) || chr(27) AS t, NULL AS e, [1, 2, 3, 4] AS l, 0.1 + 0.2"))
    assert odd.splitlines()[2].split() == ["a\\n\\x1b", "[4", "values]", "0.3"]


def test_answers_are_written_as_the_ending_says_with_equal_contents(catalog: Catalog, tmp_path: Path) -> None:
    sql = "SELECT video_id, track, person, embedding FROM people ORDER BY 1, 2"
    for ending in ("csv", "json", "parquet"):
        assert write_answer(catalog.batches(sql), tmp_path / f"a.{ending}") == 4
    as_json = json.loads((tmp_path / "a.json").read_text())
    assert pq.read_table(tmp_path / "a.parquet").to_pylist() == as_json
    rows = list(csv.DictReader(io.StringIO((tmp_path / "a.csv").read_text())))
    assert [row["video_id"] for row in rows] == [row["video_id"] for row in as_json]
    assert json.loads(rows[0]["embedding"]) == as_json[0]["embedding"] and rows[2]["embedding"] == ""
    with pytest.raises(UserError, match=r"wanted \.csv, \.json, \.parquet"):
        write_answer(catalog.batches(sql), tmp_path / "a.txt")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.csv", "a.json", "a.parquet"]


def test_an_answer_without_rows_still_has_its_columns(catalog: Catalog, tmp_path: Path) -> None:
    sql = "FROM videos WHERE false"
    assert write_answer(catalog.batches(sql), tmp_path / "a.csv") == 0
    assert (tmp_path / "a.csv").read_text().startswith('"video_id","sha256"')
    write_answer(catalog.batches(sql), tmp_path / "a.parquet")
    assert pq.read_schema(tmp_path / "a.parquet").names == list(VIEWS["videos"].columns)
    assert write_answer(catalog.batches(sql), tmp_path / "a.json") == 0
    assert json.loads((tmp_path / "a.json").read_text()) == []


def test_json_has_null_for_numbers_that_it_has_no_word_for(catalog: Catalog, tmp_path: Path) -> None:
    write_answer(
        catalog.batches("SELECT 'nan'::DOUBLE AS a, [1, 'inf'::DOUBLE] AS b, DATE '2026-01-02' AS c"),
        tmp_path / "a.json",
    )
    assert json.loads((tmp_path / "a.json").read_text()) == [{"a": None, "b": [1, None], "c": "2026-01-02"}]


def test_an_answer_that_fails_leaves_the_older_file(catalog: Catalog, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("older")
    with pytest.raises(UserError):
        write_answer(catalog.batches("SELECT nope FROM videos"), path)
    assert path.read_text() == "older" and list(tmp_path.iterdir()) == [path]


def ended(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    """Exit code, output and errors of `deepfake query`, run in this process."""
    with pytest.raises(SystemExit) as caught:
        main(["query", *map(str, arguments)])
    said = capsys.readouterr()
    return int(caught.value.code or 0), said.out, said.err


def test_the_command_answers_and_ends_with_two_on_a_mistake(config: Config, tmp_path: Path, capsys) -> None:
    settings = tmp_path / "mine.yaml"
    settings.write_text(json.dumps({"dataset": "drawn", "run": "tiny", "data_dir": str(config.data_dir)}))
    of_it, out, inside = ("--config", settings), tmp_path / "a.parquet", config.work_dir / "videos.parquet"
    assert ended(capsys, *of_it, "SELECT count(*) AS n FROM faces") == (0, "n\n-\n8\n", "")
    assert ended(capsys, *of_it, "--out", out, "FROM tracks") == (0, f"4 rows -> {out}\n", "")
    assert pq.read_table(out).num_rows == 4
    code, _, said = ended(capsys, *of_it, "--out", inside, "FROM tracks")
    assert code == 2 and "is read by this command" in said
    code, _, said = ended(capsys, "FROM tracks")
    assert code == 2 and said.startswith("error: query: say what to ask and of which data set")
    code, listed, _ = ended(capsys, "--columns")
    assert code == 0 and all(f"  {view.name}: a row is {view.row}\n" in listed for view in views())


def test_the_command_in_a_process_of_its_own_writes_csv_on_the_screen(config: Config, tmp_path: Path) -> None:
    settings = tmp_path / "mine.yaml"
    settings.write_text(json.dumps({"dataset": "drawn", "run": "tiny", "data_dir": str(config.data_dir)}))
    done = run("deepfake.query", "--config", settings, "--format", "csv", "SELECT count(*) AS n FROM faces")
    assert (done.returncode, done.stdout, done.stderr) == (0, '"n"\n8\n', "")


def test_the_questions_on_the_page_of_settings_can_be_asked(catalog: Catalog) -> None:
    page = (PROJECT_ROOT / "configs/README.md").read_text()
    questions = re.findall(r"^```sql\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    assert len(questions) == 7
    for question in questions:
        assert catalog.ask(question).num_columns > 1
    (alike,) = asked(catalog, questions[3].replace("test_videos/oyeqiibaav.mp4", "b.mp4").replace("LIMIT 5", "LIMIT 1"))
    assert alike == ("a.mp4", 0, 1.0), "5 degrees lie between them"
    assert asked(catalog, questions[6]) == [("cut short", 1)]


def test_clips_of_which_only_excerpts_are_left_share_seconds_and_none_holds_the_other(tmp_path: Path) -> None:
    made = Config(data_dir=tmp_path, dataset="drawn", run="tiny")
    lengths = {"a.mp4": 5.0, "b.mp4": 6.0, "part_of_a.mp4": 2.0}
    write_table(
        tables.VIDEOS, videos_frame(*({"video_id": v, "duration_s": s} for v, s in lengths.items())), made.work_dir
    )
    # The last three seconds of a are the first of b; all of the third is in a.
    shared = [("a.mp4", "b.mp4", 2.0, 5.0, 0.0, 3.0), ("a.mp4", "part_of_a.mp4", 1.0, 3.0, 0.0, 2.0)]
    both_ways = [*shared, *((b, a, *other, *own) for a, b, *ends in shared for own, other in [(ends[:2], ends[2:])])]
    names = ["video_id", "other_id", "from_s", "to_s", "other_from_s", "other_to_s"]
    copies = pd.DataFrame(both_ways, columns=names).assign(speed=1.0, is_mirrored=False, n_frames=8, bits=9.0)
    write_table(tables.COPIES, copies, made.work_dir)
    page = (PROJECT_ROOT / "configs/README.md").read_text()
    question = re.findall(r"^```sql\n(.*?)^```", page, re.MULTILINE | re.DOTALL)[4]
    with open_catalog(tables_of(made), "data set 'drawn'") as opened:
        assert asked(opened, question) == [("a.mp4", "b.mp4", 3.0, 5.0, 6.0)]
