"""One training at a time in a folder."""

import contextlib
import json
import os
import socket
from collections.abc import Iterator
from types import ModuleType

from tfhyper.whole_files import check_own, read_json

try:
    import fcntl as _fcntl
except ImportError:  # Windows
    fcntl: ModuleType | None = None
else:
    fcntl = _fcntl

_held: set[int] = set()  # descriptors of the locks of this process


class WorkdirInUseError(ValueError):
    """Another training is at work in the folder; nothing in it was touched.

    The message names the process that holds it and its host.

    Example:

    >>> workdir = tfhyper.training.Workdir("runs/wrn", {"epochs": 20})
    >>> with folder_lock("runs/wrn/training.lock"):  # as another training does
    ...     try:
    ...         tfhyper.training.fit_in_workdir(workdir, build, data, 20)
    ...     except tfhyper.training.WorkdirInUseError as error:
    ...         print(error)
    `workdir` is in use: one training at a time can be at work in a folder, ...
    """


@contextlib.contextmanager
def folder_lock(path: str) -> Iterator[None]:
    """Holds a lock file; at the end it is removed.

    The lock is the system's, and ends with the process however that ends: the file
    of a dead one is taken over. Where the system has none (Windows, some network file
    systems), or the file cannot be made, nothing is locked.

    Args:
        path: the lock file, in the folder that it stands for.

    Raises:
        WorkdirInUseError: if another holds it, in this process or in another.
        ValueError: if there is something at `path` that is no file of its own.

    Example:

    >>> with folder_lock("training.lock"):
    ...     print("nobody else trains here")
    nobody else trains here
    """
    descriptor = _take(path)
    try:
        yield
    finally:
        # Not in a process that was forked meanwhile.
        if descriptor in _held:
            _held.remove(descriptor)
            with contextlib.suppress(OSError):
                os.remove(path)
            os.close(descriptor)


def _take(path: str) -> int | None:
    """Returns the descriptor that holds the lock; `None` where none is to be had."""
    while fcntl is not None:
        # Through a link, another file would be written.
        with contextlib.suppress(FileNotFoundError):
            check_own(path)
        try:
            flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW
            descriptor = os.open(path, flags, 0o666)
        except OSError:
            return None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(descriptor)
            if isinstance(error, BlockingIOError):
                raise WorkdirInUseError(
                    "`workdir` is in use: one training at a time can be at work in a "
                    f"folder, and {_holder(path)} is; nothing in it is touched. "
                    f"Received: workdir={os.path.dirname(path)!r}"
                ) from None
            return None
        if _is_at(path, descriptor):
            _held.add(descriptor)
            holder = {"pid": os.getpid(), "host": socket.gethostname()}
            with contextlib.suppress(OSError):  # a full disk: the lock holds
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, json.dumps(holder).encode(), 0)
            return descriptor
        # The holder before removed it between the opening and the lock.
        os.close(descriptor)
    return None


def _is_at(path: str, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.stat(path), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _holder(path: str) -> str:
    try:
        holder = read_json(path) or {}
        return f"process {holder['pid']} on {holder['host']}"
    except (OSError, ValueError, KeyError, TypeError):  # just taken, or just let go
        return "another process"


def _let_go() -> None:
    """Closes what a forked process inherited: it could outlive the one that trains."""
    while _held:
        os.close(_held.pop())


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_let_go)
