"""One worker at a time on a training, of all machines that see one folder.

A claim is a file, `NAME.0001.json`. That it can be made by one worker alone is all
that the file system has to promise (`O_EXCL`, which network file systems have too).
Whoever made it writes it anew, whole, every tenth of the timeout: its heartbeat. When
that is older than the timeout, or the claim is marked as given back, another worker
makes the next, `NAME.0002.json`, and has the training from then on. Nothing is ever
removed, so that two workers cannot take over the same claim; one that was only asleep
finds the newer claim, and stops before it writes again.

Ages are differences of times that the file system gave, not this machine's clock.
"""

import contextlib
import os
import re
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

from tfhyper.whole_files import read_json, write_json

BEATS = 10  # in a timeout


class ClaimLostError(RuntimeError):
    """Another worker took the training over."""


class Claims:
    """The claims on the trainings of a folder.

    Args:
        folder: where they are, made if it is not there.
        timeout: seconds without a heartbeat after which a worker counts as dead. More
            than a minute where the folder is on a network, which may show a file of
            before for so long.
    """

    def __init__(self, folder: str, timeout: float):
        self.folder, self.timeout = folder, timeout

    def take(self, name: str) -> "Claim | None":
        """Returns a claim on a training, or `None` if another worker has it."""
        newest = self._newest(name)
        if self._holder(name, newest) is not None:
            return None
        # The one after that which was looked at: of all who saw it, one makes this.
        number = newest + 1
        os.makedirs(self.folder, exist_ok=True)
        try:
            claim = os.open(self.path(name, number), os.O_CREAT | os.O_EXCL)
        except FileExistsError:  # another one was faster
            return None
        os.close(claim)
        return Claim(self, name, number)

    def holder(self, name: str) -> dict[str, Any] | None:
        """Returns what the worker that has a training says; `None` if nobody has it."""
        return self._holder(name, self._newest(name))

    def _holder(self, name: str, number: int) -> dict[str, Any] | None:
        if not number:
            return None
        path = self.path(name, number)
        said = self._read(path)
        age = self._now() - os.stat(path).st_mtime
        if said.get("given_back") or age > self.timeout:
            return None
        return {**said, "seconds_ago": round(age, 1)}

    def is_newest(self, name: str, number: int) -> bool:
        """Returns whether no later claim on a training was made."""
        return self._newest(name) == number

    def path(self, name: str, number: int) -> str:
        """Returns the path of a claim."""
        return os.path.join(self.folder, f"{name}.{number:04d}.json")

    def _newest(self, name: str) -> int:
        """Returns the number of the newest claim, 0 without any."""
        form = re.compile(re.escape(name) + r"\.(\d{4,})\.json")
        try:
            names = os.listdir(self.folder)
        except FileNotFoundError:
            return 0
        found = map(form.fullmatch, names)
        return max((int(one[1]) for one in found if one), default=0)

    def _read(self, path: str) -> dict[str, Any]:
        try:
            return read_json(path) or {}
        except ValueError:  # made, and not written yet
            return {}

    def _now(self) -> float:
        """Returns the time of the file system."""
        thread = threading.get_ident()
        probe = f".now-{socket.gethostname()}-{os.getpid()}-{thread}"
        probe = os.path.join(self.folder, probe)
        os.close(os.open(probe, os.O_CREAT | os.O_WRONLY))
        try:
            os.utime(probe)
            return os.stat(probe).st_mtime
        finally:
            os.remove(probe)


class Claim:
    """A claim of this process; as a context it beats until its end, and is given back.

    Args:
        claims: of the folder.
        name: of the training.
        number: of the claim.
    """

    def __init__(self, claims: Claims, name: str, number: int):
        self.claims, self.name, self.number = claims, name, number
        self._ended = threading.Event()
        self._says = {
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "since": time.strftime("%Y-%m-%d %H:%M:%S"),
            "beats": 0,
        }

    def check(self) -> None:
        """Raises ClaimLostError if another worker has the training now."""
        if not self.claims.is_newest(self.name, self.number):
            raise ClaimLostError(
                f"Another worker took {self.name} over, as this one gave no sign for "
                f"{self.claims.timeout:g} s. Nothing more is written here."
            )

    @contextlib.contextmanager
    def held(self) -> Iterator["Claim"]:
        """Holds the claim, and gives it back."""
        self._beat()
        thread = threading.Thread(target=self._go_on, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._ended.set()
            thread.join()
            self._says["given_back"] = True
            self._beat()

    def _go_on(self) -> None:
        while not self._ended.wait(self.claims.timeout / BEATS):
            # A full disk, or a network that is away: the next beat may come through.
            with contextlib.suppress(OSError):
                self._beat()

    def _beat(self) -> None:
        self._says["beats"] += 1
        write_json(self.claims.path(self.name, self.number), self._says)
