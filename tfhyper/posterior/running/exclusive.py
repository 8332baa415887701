"""Something that one thread at a time may do."""

import threading
from typing import Any


class Exclusive:
    """A context that one thread at a time is in; the others wait.

    Args:
        name: what is done in it, a method's name.

    Raises:
        RuntimeError: on entering it again from within, which would never end.
    """

    def __init__(self, name: str):
        self._name = name
        self._lock = threading.Lock()
        self._owner: int | None = None

    def __enter__(self) -> None:
        if self._owner == threading.get_ident():
            raise RuntimeError(
                f"`{self._name}` must not be called by the data that it reads. "
                "Received: such a call"
            )
        self._lock.acquire()
        self._owner = threading.get_ident()

    def __exit__(self, *error: Any) -> None:
        self._owner = None
        self._lock.release()
