"""Python in processes of its own: scripts, code, and functions that may be killed.

Importing TensorFlow, Keras and TensorFlow Probability takes longer than most of what
the tests run in a process. So these processes come from a fork server, which has
imported all of it once and run none of it: a start takes milliseconds.
"""

import atexit
import functools
import gc
import multiprocessing
import os
import pathlib
import runpy
import signal
import subprocess
import sys
import tempfile
import traceback
import types

import tfhyper

ROOT = pathlib.Path(tfhyper.__file__).parents[1]
# pytest: the main module of the tests, which every process imports.
PRELOAD = [
    "pytest",
    "tensorflow",
    "tensorflow_probability.python.distributions",
    "keras",
    "h5py",
    "matplotlib.pyplot",
    "scipy.stats",
    "sklearn.metrics",
    "tfhyper",
]
# What is read from the environment while modules are imported starts so.
READ_AT_IMPORT = ("KERAS_", "TF_", "XLA_", "JAX_", "OMP_", "PYTHON")


@functools.cache
def fork_server():
    """Returns the context of the fork server, which has imported all."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOAD)
    first = context.Process(target=os.getpid)
    first.start()
    first.join()
    return context


def run_python(
    *command: object,
    input: str = "",
    cwd: str | os.PathLike = ROOT,
    env: dict[str, str] | None = None,
    fresh: bool = False,
    check: bool = False,
    timeout: float = 600.0,
) -> subprocess.CompletedProcess[str]:
    """Runs what stands behind `python` on a command line, and waits for its end.

    Args:
        *command: a script and its arguments, or "-c", code and its arguments, or
            "-m", a module and its arguments.
        input: what the process reads from its standard input.
        cwd: the folder that it runs in.
        env: variables beside those of this process.
        fresh: start a new interpreter, which imports everything by itself: for what
            depends on imports, and for variables that are read during them. Without
            it the process is forked from one that has imported TensorFlow.
        check: fail with the output if the exit code is not 0.
        timeout: seconds after which the process is killed and
            `subprocess.TimeoutExpired` is raised.

    Returns:
        Exit code and output, as of `subprocess.run`.
    """
    words = [str(word) for word in command]
    env = env or {}
    path = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path), **env}
    if fresh:
        ended = subprocess.run(
            [sys.executable, *words],
            input=input,
            capture_output=True,
            text=True,
            errors="replace",
            cwd=cwd,
            env=environment,
            timeout=timeout,
        )
    else:
        early = [name for name in env if name.startswith(READ_AT_IMPORT)]
        assert not early, f"{early} are read at import: these need `fresh=True`."
        ended = _run_forked(words, input, os.fspath(cwd), environment, timeout)
    if check:
        assert ended.returncode == 0, ended.stdout[-6000:] + ended.stderr[-6000:]
    return ended


def _run_forked(words, input, folder, environment, timeout):
    with tempfile.TemporaryDirectory() as streams:
        files = [os.path.join(streams, name) for name in ("in", "out", "err")]
        for file, text in zip(files, (input, "", ""), strict=True):
            pathlib.Path(file).write_text(text)
        process = fork_server().Process(
            target=_main, args=(words, files, folder, environment)
        )
        process.start()
        process.join(timeout)
        late = process.exitcode is None
        if late:
            process.kill()
            process.join()
        output, errors = (
            pathlib.Path(file).read_text(errors="replace") for file in files[1:]
        )
    if late:
        raise subprocess.TimeoutExpired(words, timeout, output, errors)
    return subprocess.CompletedProcess(words, process.exitcode, output, errors)


def _main(words, files, folder, environment):
    """Does in a forked process what `python` does with these words."""
    redirect(files[0], 0)
    redirect(files[1], 1)
    redirect(files[2], 2)
    sys.stdin = open(0, closefd=False)
    keep_imports()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    try:
        if words[0] == "-c":
            sys.argv = ["-c", *words[2:]]
            sys.path.insert(0, "")
            main = sys.modules["__main__"] = types.ModuleType("__main__")
            exec(compile(words[1], "<string>", "exec"), main.__dict__)
        elif words[0] == "-m":
            sys.argv = words[1:]
            sys.path.insert(0, "")
            runpy.run_module(words[1], run_name="__main__", alter_sys=True)
        else:
            sys.argv = words
            sys.path.insert(0, os.path.dirname(os.path.abspath(words[0])))
            runpy.run_path(words[0], run_name="__main__")
    except Exception:
        traceback.print_exc()
        raise SystemExit(1) from None
    finally:
        # A process of `multiprocessing` ends without them.
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()


def keep_imports() -> None:
    """Takes what is imported out of the search for garbage, a quarter of the time."""
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)


def redirect(path: str | os.PathLike, stream: int) -> None:
    """Makes a file the standard input (0), output (1) or error output (2)."""
    file = os.open(path, os.O_RDONLY if stream == 0 else os.O_WRONLY | os.O_APPEND)
    os.dup2(file, stream)
    os.close(file)
