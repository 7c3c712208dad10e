"""A browser for tests of pages, which are skipped without one."""

import os
import shutil
from contextlib import contextmanager

import pytest

sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright", exc_type=ImportError)

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
needs_browser = pytest.mark.skipif(BROWSER is None, reason="needs Chromium or Chrome on the PATH")


@contextmanager
def launched():
    """Start a headless browser."""
    # As root, as in a container, Chromium runs only without its sandbox.
    options = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
    with sync_api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=BROWSER, args=options)
        yield started
        started.close()


def wait(page, expression):
    """Wait until a JavaScript expression is true; fail after ten seconds."""
    # page.wait_for_function is blocked by the page's content security policy.
    for _ in range(400):
        if page.evaluate(f"Boolean({expression})"):
            return
        page.wait_for_timeout(25)
    pytest.fail(f"{expression} was not true in time")
