"""Templates beside this module, filled so that no value can be markup and none can be missing."""

from __future__ import annotations

from pathlib import Path

import jinja2

HERE = Path(__file__).parent


def page_environment() -> jinja2.Environment:
    """Where the templates of whole pages are rendered; each page adds its own filters and globals."""
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
