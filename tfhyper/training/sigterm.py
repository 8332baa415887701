"""SIGTERM, with which clusters and containers ask a process to end."""

import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any


class SigtermStop:
    """Notes a SIGTERM, so that the process ends where nothing is half done.

    As a context it holds the handler, and puts back the one before it at the end.
    Outside of the main thread, where Python lets nobody set one, and where SIGTERM is
    ignored, it does nothing.

    Args:
        message: what is printed to stderr before the process ends.

    Example:

    >>> with SigtermStop("stopped by SIGTERM") as stop:
    ...     for step in range(3):
    ...         stop.check()
    ...         print("step", step)
    step 0
    step 1
    step 2
    """

    def __init__(self, message: str):
        self.message = message
        self.requested = False
        self._before: Callable[[int, FrameType | None], Any] | int | None = None

    def __enter__(self) -> "SigtermStop":
        if threading.current_thread() is threading.main_thread():
            before = signal.getsignal(signal.SIGTERM)
            # None: set by another language, and could not be put back.
            if before not in (None, signal.SIG_IGN):
                signal.signal(signal.SIGTERM, self._note)
                self._before = before
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._before is not None:
            signal.signal(signal.SIGTERM, self._before)
        if kind is None:
            self.check()

    def check(self) -> None:
        """Ends the process, with 128 + 15 as shells do, if SIGTERM has come."""
        if self.requested:
            print(self.message, file=sys.stderr, flush=True)
            raise SystemExit(128 + signal.SIGTERM)

    def _note(self, number: int, frame: FrameType | None) -> None:
        # An exception raised from here could land in a `__del__` and be lost.
        self.requested = True
