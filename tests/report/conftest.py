"""The invented report, for every test of a page."""

from invented_report import inputs, report

__all__ = ["inputs", "report"]
