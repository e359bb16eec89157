"""Chromium through playwright for tests of pages: notes every fault and every request, and lets none leave the disk.

`CHROMIUM` is None where there is no browser; mark tests with `needs_browser`.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.base import AXE_SCRIPT
from playwright.sync_api import Browser, Page, sync_playwright

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
WHY_SKIPPED = "no Chromium: install it (Debian, Ubuntu: apt-get install chromium), then run the tests again"
needs_browser = pytest.mark.skipif(CHROMIUM is None, reason=WHY_SKIPPED)
FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--disable-dev-shm-usage"),
)
FROM_DISK = ("file:", "data:", "blob:")
ELSEWHERE = re.compile(r"^(?!file:|data:|blob:)")
NARROW_PX, WIDE_PX = 360, 1200
SEVERE = ("serious", "critical")
# Rings drawn by outline or by shadow both count; `-1` marks what only a script focuses.
FOCUSED = """() => {
  const e = document.activeElement;
  if (!e || e === document.body) return null;
  const s = getComputedStyle(e);
  const ring = (s.outlineStyle !== 'none' && parseFloat(s.outlineWidth) > 0) || s.boxShadow !== 'none';
  const box = e.getBoundingClientRect();
  const name = e.id || e.getAttribute('aria-label') || e.textContent.trim().slice(0, 40) || e.tagName;
  return {name: `${e.tagName.toLowerCase()} ${name}`, ring, seen: box.width > 0 && box.height > 0,
          number: [...document.querySelectorAll('*')].indexOf(e)};
}"""
# What a person with a mouse can use: each must be reached by the Tab key, or lie in a group that arrow keys walk.
USABLE = "a[href], button:not([disabled]), summary, input:not([disabled]), select, video[controls], [tabindex='0']"


@dataclass
class Opened:
    """A page with what happened on it: console errors, exceptions, and addresses that are not on this disk."""

    page: Page
    faults: list[str] = field(default_factory=list)
    asked_elsewhere: list[str] = field(default_factory=list)

    def overflow_px(self) -> int:
        """By how much the page is wider than its window."""
        return int(self.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth"))

    def severe_faults(self) -> list[str]:
        """What axe-core calls serious or critical: the rule, and the elements that break it."""
        self.page.evaluate(AXE_SCRIPT)
        audit = self.page.evaluate("axe.run(document, {resultTypes: ['violations']})")
        return [
            f"{fault['id']}: {node['target']} {node['html'][:160]} {node.get('failureSummary', '')}"
            for fault in audit["violations"]
            if fault["impact"] in SEVERE
            for node in fault["nodes"]
        ]

    def tab_through(self, most: int = 400) -> list[dict[str, Any]]:
        """What the Tab key reaches, in order, from the top of the page until it starts again."""
        stops: list[dict[str, Any]] = []
        numbers: set[int] = set()
        self.page.evaluate("document.activeElement && document.activeElement.blur()")
        for _ in range(most):
            self.page.keyboard.press("Tab")
            now = self.page.evaluate(FOCUSED)
            if now is None or (now["number"] in numbers and now["number"] != stops[-1]["number"]):
                break
            if now["number"] not in numbers:  # else another control inside the video
                stops.append(now)
            numbers.add(now["number"])
        return stops

    def usable(self) -> list[int]:
        """The numbers, as `tab_through` counts them, of all visible elements that a mouse can use."""
        return self.page.evaluate(
            f"""[...document.querySelectorAll('*')].map((e, i) => [e, i])
                .filter(([e]) => e.matches("{USABLE}") && e.checkVisibility() && e.tabIndex >= 0).map(([, i]) => i)"""
        )


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser with a fresh profile, for one module: playwright holds the thread's event loop while it runs."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def opened(browser: Browser, path: Path, width_px: int = WIDE_PX, theme: str = "light") -> Iterator[Opened]:
    """The page of a file, loaded, in a window of this width; `theme` is light or dark."""
    with _tab(browser, width_px, theme) as tab:
        tab.page.context.route(ELSEWHERE, lambda route: route.abort())
        tab.page.on("requestfailed", lambda request: tab.faults.append(f"{request.url[:200]}: {request.failure}"))
        tab.page.goto(path.resolve().as_uri(), wait_until="load")
        yield tab


@contextmanager
def visited(browser: Browser, address: str, width_px: int = WIDE_PX, theme: str = "light") -> Iterator[Opened]:
    """The page of a server on this machine, loaded; whatever is not below its address counts as elsewhere."""
    with _tab(browser, width_px, theme, (address, *FROM_DISK)) as tab:
        elsewhere = re.compile(f"^(?!{re.escape(address)}|data:|blob:)")
        tab.page.context.route(elsewhere, lambda route: route.abort())
        tab.page.goto(address, wait_until="domcontentloaded")
        yield tab


@contextmanager
def _tab(browser: Browser, width_px: int, theme: str, own: tuple[str, ...] = FROM_DISK) -> Iterator[Opened]:
    size = {"width": width_px, "height": 900}
    context = browser.new_context(viewport=size, color_scheme=theme, reduced_motion="reduce")
    try:
        tab = Opened(context.new_page())
        context.on("request", lambda request: _note(request.url, own, tab.asked_elsewhere))
        tab.page.on("console", lambda said: tab.faults.append(said.text) if said.type == "error" else None)
        tab.page.on("pageerror", lambda error: tab.faults.append(str(error)))
        yield tab
    finally:
        context.close()


def _note(address: str, own: tuple[str, ...], elsewhere: list[str]) -> None:
    if not address.startswith(own):
        elsewhere.append(address)
