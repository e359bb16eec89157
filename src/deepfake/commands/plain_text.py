"""What is printed where the screen or the pipe cannot show every character: plain ones instead of an error."""

from __future__ import annotations

import codecs
import io
import sys

HANDLER = "deepfake.plain"
# Bars stay bars: the more ink, the higher.
PLAIN = {**dict(zip("▁▂▃▄▅▆▇█", "_.:-=+*#", strict=True)), "±": "+-", "−": "-", "–": "-", "…": "...", "²": "^2"}


def fall_back_to_plain() -> None:
    """Print what a stream's encoding (cp1252, latin-1, ascii) lacks by plain characters or escapes.

    Other ways to deal with it, such as `PYTHONIOENCODING=ascii:replace`, stay as they were asked for.
    """
    codecs.register_error(HANDLER, _plain)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and _fails(stream):
            stream.reconfigure(errors=HANDLER)


def _fails(stream: io.TextIOWrapper) -> bool:
    """Whether some character would end the command; in UTF-8 halves of characters, out of names that are no text."""
    is_utf8 = codecs.lookup(stream.encoding).name.startswith("utf")
    return stream.errors in ("strict", "backslashreplace") or (stream.errors == "surrogateescape" and not is_utf8)


def _plain(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    missing = error.object[error.start : error.end]
    return "".join(PLAIN.get(c) or c.encode("ascii", "backslashreplace").decode() for c in missing), error.end
