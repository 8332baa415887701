"""When the bar of long work is shown."""

import contextlib
import io

from tfhyper.posterior.running import loop


class Output(io.StringIO):
    """What is written, where somebody looks or not."""

    def __init__(self, seen):
        super().__init__()
        self.isatty = lambda: seen


def said(verbose, seen=True):
    """Returns what three draws say."""
    output = Output(seen)
    with contextlib.redirect_stdout(output):
        bar = loop.ProgressBar("predict", 3, verbose)
        for done in (1, 2, 3):
            bar.update(done, finalize=done == 3)
    return output.getvalue()


def test_a_bar_appears_where_work_takes_long_and_is_looked_at(monkeypatch):
    assert not said("auto")
    monkeypatch.setattr(loop, "PATIENCE", -1.0)
    found = said("auto")
    assert found.count("predict: 3 draws") == 1 and "3/3" in found
    assert not said("auto", seen=False)


def test_what_is_asked_for_comes_at_once_and_nothing_is_silent():
    found = said(1, seen=False)
    assert found.startswith("predict: 3 draws\n") and "3/3" in found
    assert not said(0)
