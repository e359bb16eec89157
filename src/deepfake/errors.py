"""The one error that is a user's to mend."""

from __future__ import annotations


class UserError(ValueError):
    """A mistake its user can mend: printed without a traceback, exit code 2."""
