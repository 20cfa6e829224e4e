"""Takes the pictures of the panel in ``pictures/``: the demo, with its week of mail, in Chromium.

    python docs/pictures.py            all of them
    python docs/pictures.py outbox     those whose name begins so

The pictures of the layers, the tables and the benchmarks are drawn by other programs.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from playwright.sync_api import Page, sync_playwright

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # the demo is beside the package, and not installed

from example_app.seed import PASSWORD  # noqa: E402

FOLDER = ROOT / "docs" / "pictures"
WIDTHS = (1280, 360)
LONGEST = 1700  # pixels; who wants to see more of a list runs the demo
ADMINISTRATOR = "amoreau"
# The first one draws no windows of its own.
PROGRAMS = ("chromium-headless-shell", "chromium", "google-chrome")
# In a picture of the whole page the buttons would lie in the middle of the form.
_AT_THE_END = """() => document.querySelectorAll(".im-actions-sticky").forEach(bar => {
  bar.style.position = "static";
})"""
_SITE = re.compile(r"^The site runs at (\S+) until", re.MULTILINE)

Steps = Callable[[Page], object]


def test_settings(page: Page) -> None:
    page.get_by_role("button", name="Test Settings").click()
    page.locator("#im-test [data-im-verdict=passed]").wait_for()


def open_a_refused_message(page: Page) -> None:
    page.get_by_role("row").filter(has_text="failed").first.get_by_role("link").first.click()
    page.get_by_role("heading", name="Why these people").wait_for()


def open_a_revision(page: Page) -> None:
    page.locator("main a[href*='/history/']").last.click()


def explain(page: Page) -> None:
    page.get_by_label("Location").first.fill("Firm List")
    page.get_by_role("button", name="Explain").click()


def show_only_the_message(page: Page) -> None:
    page.set_content(page.locator(".im-html-wide").get_attribute("srcdoc") or "")


# Each picture: the page, and what is done there before.
PICTURES: dict[str, tuple[str, Steps | None]] = {
    "panel": ("admin/messaging/", None),
    "test-result": ("admin/messaging/", test_settings),
    "outbox": ("admin/messaging/outbox/", None),
    "message": ("admin/messaging/outbox/?status=failed", open_a_refused_message),
    "activity": ("admin/messaging/activity/", None),
    "returned-mail": ("admin/messaging/returned/", None),
    "explain": ("admin/messaging/explain/", explain),
    "coverage": ("admin/messaging/coverage/", None),
    "templates": ("admin/messaging/templates/", None),
    "template": ("admin/messaging/templates/preview/merge_request", None),
    "merge-request": ("admin/messaging/templates/preview/merge_request", show_only_the_message),
    "history": ("admin/messaging/history/", None),
    "revision": ("admin/messaging/history/", open_a_revision),
}


def main(beginnings: tuple[str, ...]) -> None:
    wanted = [name for name in PICTURES if not beginnings or name.startswith(beginnings)]
    with demo() as url, chromium() as browser:
        context = browser.new_context(
            viewport={"width": WIDTHS[0], "height": 900},
            locale="en-GB",
            timezone_id="Europe/Berlin",
        )
        page = context.new_page()
        page.set_default_timeout(15_000)
        log_in(page, url)
        for name in wanted:
            where, steps = PICTURES[name]
            page.goto(url + where)
            if steps is not None:
                steps(page)
            take(page, name)
            print(name)


def log_in(page: Page, url: str) -> None:
    page.goto(url + "login")
    page.get_by_label("Login").fill(ADMINISTRATOR)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    page.wait_for_url(url)


def take(page: Page, name: str) -> None:
    """Write the page at both widths, without the end of a long one."""
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 900})
        page.wait_for_timeout(400)  # frames and charts take their new size
        page.evaluate(_AT_THE_END)
        suffix = "" if width == WIDTHS[0] else f"-{width}"
        height = min(page.evaluate("document.documentElement.scrollHeight"), LONGEST)
        part = {"x": 0, "y": 0, "width": width, "height": height}
        page.screenshot(path=FOLDER / f"{name}{suffix}.png", full_page=True, clip=part)
    page.set_viewport_size({"width": WIDTHS[0], "height": 900})


@contextmanager
def demo() -> Iterator[str]:
    """Serve the demo from a folder of its own; give its URL."""
    with tempfile.TemporaryDirectory(prefix="pictures-") as folder:
        process = subprocess.Popen(
            [sys.executable, "-u", "-m", "example_app.demo", "--port", "0"],
            cwd=folder,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            yield _site(process.stdout)
        finally:
            process.terminate()
            process.communicate(timeout=40)


def _site(said: IO[str] | None) -> str:
    heard = ""
    for line in said or ():
        heard += line
        if found := _SITE.search(heard):
            return found[1]
    raise RuntimeError(f"the demo has not come up:\n{heard}")


@contextmanager
def chromium() -> Iterator[Any]:
    program = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, PROGRAMS)), None)
    if program is None:
        raise RuntimeError(f"there is no Chromium: apt-get install {PROGRAMS[0]}")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=program, args=["--no-sandbox", "--disable-gpu", "--no-proxy-server"]
        )
        yield browser
        browser.close()


if __name__ == "__main__":
    main(tuple(sys.argv[1:]))
