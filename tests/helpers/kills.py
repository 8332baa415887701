"""Processes that are killed at chosen moments and started again.

They come from the fork server of `processes`. What they run is a function of a
module, called with one tuple of arguments for each of the workers that belong
together.
"""

import dataclasses
import itertools
import os
import signal
import tempfile
import time
import traceback
from collections.abc import Callable, Iterable, Sequence
from multiprocessing import connection

from tests.helpers.processes import fork_server, keep_imports, redirect


@dataclasses.dataclass
class Ended:
    """How the workers of one attempt ended."""

    codes: list[int]  # exit codes, -9 for a process that was killed
    logs: list[str]  # what each printed
    killed: bool  # whether the kill came before the end
    seconds: float  # from the start to the last end

    def check(self) -> None:
        """Fails with the logs if a worker ended by itself, and not well."""
        bad = {i: code for i, code in enumerate(self.codes) if code not in (0, -9)}
        logs = "\n".join(self.logs[i] for i in bad)
        assert not bad, f"worker -> exit code: {bad}\n{logs}"


def run(
    target: Callable,
    workers: Sequence[tuple],
    kill: tuple[float, int] | None = None,
    *,
    grace: float = 1.0,
    timeout: float = 120.0,
) -> Ended:
    """Runs `target(*arguments)` in one process for each of `workers`, and waits.

    Args:
        target: a function of a module that the processes can import.
        workers: the arguments of each process.
        kill: (seconds after the start, number of the worker) of a SIGKILL.
        grace: seconds that the others have to end by themselves when one is dead;
            then they are killed too, as a launcher does.
        timeout: seconds after which all are killed and `TimeoutError` is raised.
    """
    context = fork_server()
    with tempfile.TemporaryDirectory() as folder:
        logs = [os.path.join(folder, str(i)) for i in range(len(workers))]
        processes = [
            context.Process(target=_logged, args=(log, target, arguments), daemon=True)
            for log, arguments in zip(logs, workers, strict=True)
        ]
        start = time.monotonic()
        try:
            for process in processes:
                process.start()
            killed = kill is not None and _kill(processes, start, *kill)
            late = not _wait(processes, start + timeout, grace)
            seconds = time.monotonic() - start
        finally:
            for process in processes:
                process.kill()
                process.join()
        ended = Ended(
            [process.exitcode for process in processes],
            [_read(log) for log in logs],
            killed,
            seconds,
        )
    if late:
        raise TimeoutError(f"{timeout} s: {ended.codes}\n" + "\n".join(ended.logs))
    return ended


def run_through_kills(
    target: Callable,
    workers: Callable[[int], Sequence[tuple]],
    kills: Iterable[tuple[float, int]],
    after_kill: Callable[[Ended], None] = lambda ended: None,
    **options,
) -> list[Ended]:
    """Kills and starts again until the workers come to their end.

    Args:
        target: as in `run`.
        workers: called with the number of the attempt, returns what `run` takes: so
            that each attempt can have ports of its own.
        kills: one for each attempt, as in `run`, asked for as it starts; after the
            last one they are left alone.
        after_kill: called after each kill, before the next start.
        **options: of `run`.

    Returns:
        How each attempt ended; the last one by itself.

    Raises:
        AssertionError: if a worker fails.
    """
    attempts = []
    for attempt, kill in enumerate(itertools.chain(kills, [None])):
        ended = run(target, workers(attempt), kill, **options)
        ended.check()
        attempts.append(ended)
        if not ended.killed:
            break
        after_kill(ended)
    return attempts


def _logged(log, target, arguments):
    open(log, "a").close()
    for stream in (1, 2):
        redirect(log, stream)
    keep_imports()
    try:
        target(*arguments)
    except Exception:
        traceback.print_exc()
        raise SystemExit(1) from None


def _kill(processes, start, seconds, number):
    """Returns whether the process, or one that belongs to it, was still at work."""
    sentinels = [process.sentinel for process in processes]
    pending = set(sentinels)
    while pending and (left := start + seconds - time.monotonic()) > 0:
        pending -= set(connection.wait(list(pending), left))
    if sentinels[number] not in pending:
        return False
    os.kill(processes[number].pid, signal.SIGKILL)
    processes[number].join()
    return processes[number].exitcode == -signal.SIGKILL


def _wait(processes, until, grace):
    """Returns whether all ended in time, or were ended as another had died."""
    pending = {process.sentinel: process for process in processes}
    died = False
    while pending:
        left = until - time.monotonic()
        ready = connection.wait(list(pending), min(left, grace) if died else left)
        if not ready:
            return died
        for sentinel in ready:
            process = pending.pop(sentinel)
            process.join()
            died = died or process.exitcode != 0
    return True


def _read(path):
    if not os.path.exists(path):
        return ""
    with open(path, errors="replace") as file:
        return file.read()
