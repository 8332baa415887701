"""The page of examples/serve, in a real browser."""

import contextlib
import pathlib
import sys

import pytest

FOLDER = pathlib.Path(__file__).parents[2] / "examples" / "serve" / "page"


@contextlib.contextmanager
def modules_of_the_page():
    """Within it, modules beside the page can be imported by their names."""
    sys.path.insert(0, str(FOLDER))
    try:
        yield
    finally:
        sys.path.remove(str(FOLDER))


def require_browser():
    """Returns the page's module `browser`, or skips where there is no browser."""
    with modules_of_the_page():
        import browser
    if browser.find() is None:
        pytest.skip("no Chromium or Chrome is installed")
    return browser
