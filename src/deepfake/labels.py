"""The one reader of the CSV files that people write: labels, scores, groups, photos.

Tolerant about form: UTF-8, UTF-16 or Windows-1252, with or without a byte order mark; commas, semicolons or tabs; blank
lines, spaces after separators, empty cells at the end of lines, backslashes, headings in capitals. Strict about what is
said: no label is guessed, lost or overwritten; a mistake is an error with its line.
"""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from deepfake.errors import UserError
from deepfake.files import printable

NAME_HEADINGS = ("file", "filename", "video_id", "name", "path")
LABEL_HEADINGS = ("label", "target", "is_fake", "class")
OTHER_HEADINGS = ("original", "identity", "manipulation", "family", "generator", "source", "p_fake")
WORDS = {"real": 0, "0": 0, "0.0": 0, "fake": 1, "1": 1, "1.0": 1}
TRUTHS = {"false": 0, "true": 1}  # of is_fake alone: a label `true` may say that a video is genuine
SEPARATORS = ",;\t"
MOST_SHOWN = 200  # characters of headings in an error: a web page may be one line
# UTF-32 first: its mark begins like one of UTF-16.
MARKS = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


@dataclass(frozen=True)
class Row:
    """A line's cells by heading, without the spaces around them; `line` counts from 1."""

    line: int
    cells: Mapping[str, str]


@dataclass(frozen=True)
class Table:
    """A CSV file: its headings, those known here in small letters, and its rows that are not blank."""

    path: Path
    headings: list[str]
    rows: list[Row]

    def heading(self, names: Sequence[str]) -> str:
        """The first of these names that is a heading."""
        heading = next((name for name in names if name in self.headings), None)
        if heading is None:
            have = ", ".join(self.headings) or "none"
            raise UserError(f"{self.path}: found columns {have}; wanted {' or '.join(names)}")
        return heading

    def where(self, row: Row) -> str:
        """What errors call a row."""
        return f"{self.path} line {row.line}"


@dataclass(frozen=True)
class Label:
    """What a file says of one video: its name, 1 for fake, 0 for real, None for nothing, and all cells."""

    name: str
    label: int | None
    row: Row


def read_labels(path: Path) -> list[Label]:
    """The videos of a labels file, none twice; columns of NAME_HEADINGS and LABEL_HEADINGS, and any others."""
    table = read_table(path, NAME_HEADINGS, LABEL_HEADINGS)
    name_heading, label_heading = table.heading(NAME_HEADINGS), table.heading(LABEL_HEADINGS)
    by_name: dict[str, Label] = {}
    for row in table.rows:
        name = name_of(row.cells[name_heading], table.where(row))
        if name in by_name:
            raise UserError(f"{table.where(row)}: {name!r} stands there twice; give one label a video")
        label = label_of(row.cells[label_heading], label_heading, f"{table.where(row)}: {name!r}")
        by_name[name] = Label(name, label, row)
    return list(by_name.values())


def label_of(value: object, heading: str, where: str) -> int | None:
    """1 for fake, 0 for real, None for nothing, of what stands below one of LABEL_HEADINGS."""
    text = "" if value is None or value != value else str(value).strip().lower()  # a NaN differs from itself
    words = WORDS | TRUTHS if heading == "is_fake" else WORDS
    if text and text not in words:
        raise UserError(f"{where} has label {value!r}; wanted REAL, FAKE, 0 or 1")
    return words[text] if text else None


def headings_of(names: Iterable[str], where: str) -> dict[str, str]:
    """The names that stand for labels by their heading here; UserError where two stand for one."""
    found: dict[str, str] = {}
    for name in names:
        heading = name.strip().lower()
        if heading in LABEL_HEADINGS:
            if heading in found:
                raise UserError(f"{where}: {found[heading]!r} and {name!r} both name the label; keep one")
            found[heading] = name
    return found


def name_of(text: str, where: str) -> str:
    """A file's name or path with forward slashes, as short as it can be written."""
    name = text.strip().replace("\\", "/")
    if not name:
        raise UserError(f"{where}: no file name")
    return str(PurePosixPath(name))


def read_table(path: Path, *wanted: Sequence[str]) -> Table:
    """The rows of a CSV file that has one heading out of each of `wanted`, and a cell for it in every row."""
    text = _decoded(path)
    separator, text, skipped = _named_separator(text)
    tables = [_split(path, text, sign, wanted, skipped) for sign in (separator or SEPARATORS)]
    fitting = [table for table in tables if isinstance(table, Table)]
    if fitting:
        return fitting[0]
    # None has the headings: the one with most of them, and else with most cells, shows best what is wrong.
    raise max(
        (error for error in tables if isinstance(error, _Unfit)), key=lambda error: (error.n_found, error.n_cells)
    )


class _Unfit(UserError):
    """Why a file is no table by a separator, and how many of the wanted headings, and headings at all, it has by it."""

    def __init__(self, message: str, n_found: int, n_cells: int = 0) -> None:
        super().__init__(message)
        self.n_found, self.n_cells = n_found, n_cells


def _decoded(path: Path) -> str:
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise UserError(f"{path} does not exist; wanted a CSV file") from None
    except OSError as error:
        raise UserError(f"{path}: not readable ({error})") from None
    marked = next((name for mark, name in MARKS.items() if data.startswith(mark)), None) or _unmarked_utf_16(data)
    if marked is None and b"\0" in data:
        raise UserError(f"{path}: not readable as text; save it as CSV in UTF-8, a spreadsheet's own format is none")
    for encoding in [marked] if marked else ["utf-8", "cp1252"]:
        try:
            return data.decode(encoding).lstrip("\ufeff")  # a file saved twice has two marks
        except UnicodeDecodeError:
            continue
    raise UserError(f"{path}: not readable as {marked or 'UTF-8 or Windows-1252'} text; save it as CSV in UTF-8")


def _unmarked_utf_16(data: bytes) -> str | None:
    """UTF-16 as some programs write it, without a mark: every other byte of the headings is 0."""
    head = data[:16]
    even, odd = set(head[::2]), set(head[1::2])
    if len(data) % 2 or len(head) < 8:
        return None
    return "utf-16-le" if odd == {0} and 0 not in even else "utf-16-be" if even == {0} and 0 not in odd else None


def _named_separator(text: str) -> tuple[str, str, int]:
    """The separator that Excel's first line `sep=;` names, the text without that line, and how many lines that took."""
    named = re.match(r"sep=([,;\t])\r?\n", text, re.IGNORECASE)
    return (named[1], text[named.end() :], 1) if named else ("", text, 0)


def _split(path: Path, text: str, separator: str, wanted: Sequence[Sequence[str]], skipped: int) -> Table | _Unfit:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=True, strict=True)
    headings: list[str] = []
    rows: list[Row] = []
    try:
        for cells in reader:
            cells = [cell.strip() for cell in cells]
            while cells and not cells[-1] and len(cells) > len(headings):
                cells.pop()
            if not any(cells):
                continue
            where = f"{path} line {reader.line_num + skipped}"
            if headings:
                rows.append(Row(reader.line_num + skipped, _cells(headings, cells, wanted, where)))
                continue
            headings = _headings(cells)
            n_found = sum(any(name in headings for name in names) for names in wanted)
            if n_found < len(wanted):
                lacking = [names for names in wanted if not any(name in headings for name in names)]
                missing = ", and ".join(_either(names) for names in lacking)
                found = f"found columns {printable(', '.join(headings)[:MOST_SHOWN])}"
                return _Unfit(f"{where}: {found}; wanted {missing}{_hint(headings)}", n_found, len(headings))
            repeated = sorted({name for name in headings if name and headings.count(name) > 1})
            if repeated:
                raise UserError(f"{path}: column {repeated[0]!r} stands there twice; keep one")
    except csv.Error as error:
        return _Unfit(
            f"{path} line {reader.line_num + skipped}: not valid CSV: {error}", len(wanted) if headings else 0
        )
    if not headings:
        return _Unfit(f"{path} is empty; wanted a line of headings and a line for each file", 0)
    return Table(path, headings, rows)


def _hint(headings: Sequence[str]) -> str:
    """What may have gone wrong where the first line that is not blank holds none of the headings."""
    if len(headings) == 1 and re.search(r"[|,;: ]", headings[0]):
        return ". Separate cells by commas, semicolons or tabs, and quote single cells, not lines"
    if any(cell.lower() in WORDS for cell in headings):
        return ". The first line has to hold the headings, such as file,label"
    return ""


def _either(names: Sequence[str]) -> str:
    return " or ".join(names)


def _headings(cells: Sequence[str]) -> list[str]:
    known = {*NAME_HEADINGS, *LABEL_HEADINGS, *OTHER_HEADINGS}
    return [cell.lower() if cell.lower() in known else cell for cell in cells]


def _cells(headings: Sequence[str], cells: list[str], wanted: Sequence[Sequence[str]], where: str) -> dict[str, str]:
    if len(cells) > len(headings):
        raise UserError(f"{where}: {len(cells)} cells, wanted {len(headings)}; quote what holds a separator")
    row = dict(zip(headings, cells, strict=False))
    for names in wanted:
        heading = next(name for name in names if name in headings)
        if heading not in row:
            raise UserError(f"{where}: {len(cells)} cells, wanted {len(headings)}; there is none for {heading!r}")
    return dict.fromkeys(headings, "") | row
