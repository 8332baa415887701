"""What commands, examples and benchmarks share: flags, errors, the files they leave."""

import contextlib
import json
import os
import sys
from collections.abc import Callable
from typing import Any

from absl import app, flags, logging

from tfhyper import whole_files

FLAGS = flags.FLAGS
# Exit codes of a command: done; not done, as a message says; not understood; stopped
# by the keyboard, as shells have it.
DONE, FAILED, USAGE, STOPPED = 0, 1, 2, 130
# What bad input raises, files that are not there, and packages that are not installed.
_FAULTS = (ValueError, TypeError, OSError, ImportError)
HELP = {"-h", "-help", "--help", "--helpshort"}


def run(main: Callable[[], Any]) -> None:
    """Runs a script; bad input ends it with a message instead of a traceback.

    Args:
        main: what it does, after its flags are read.
    """

    def checked_main(argv: list[str]) -> None:
        if len(argv) > 1:
            raise app.UsageError(f"Unknown arguments: {argv[1:]}")
        code = _finish(main)
        if code:
            sys.exit(code)

    show_own_flags()
    app.run(checked_main)


def run_command(name: str, about: str, args: list[str], main: Callable[[], Any]) -> int:
    """Runs a command whose flags are defined, and returns its exit code.

    Args:
        name: what stands before its flags, such as "tfhyper train".
        about: what it is for, above its flags in --help.
        args: its flags, and nothing else.
        main: what it does, after its flags are read; --json prints what it returns.
    """
    sys.argv = [name, *args]
    if HELP & set(args):
        show_own_flags()
        print(f"{about.strip()}\n\nflags:\n{FLAGS.main_module_help()}")
        return DONE
    try:
        rest = FLAGS(sys.argv)[1:]
    except flags.Error as error:
        return _misunderstood(name, str(error))
    if rest:
        return _misunderstood(name, f"Unknown arguments: {' '.join(rest)}")
    try:
        return _finish(main)
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return STOPPED


def _misunderstood(name: str, why: str) -> int:
    print(f"error: {why}\n`{name} --help` lists the flags.", file=sys.stderr)
    return USAGE


def _finish(main: Callable[[], Any]) -> int:
    """Returns the exit code of what is done; prints its result where --json asks."""
    logging.set_verbosity(logging.ERROR)  # quietens TensorFlow Datasets
    as_json = "json" in FLAGS and FLAGS.json
    with contextlib.ExitStack() as stack:
        if as_json:
            stack.enter_context(contextlib.redirect_stdout(sys.stderr))
        try:
            result = main()
        except _FAULTS as error:
            print(f"error: {error}", file=sys.stderr)
            return FAILED
    if as_json:
        print(json.dumps(result, indent=2))
    return DONE


def show_own_flags() -> None:
    """Makes --help list the flags of the commands, and of modules beside the script.

    absl lists those of the script alone; its own are in --helpfull.
    """
    here = os.path.dirname(os.path.abspath(sys.argv[0]))
    for name, module in list(sys.modules.items()):
        path = getattr(module, "__file__", None) or ""
        beside = os.path.dirname(os.path.abspath(path)) == here
        if beside or name.startswith("tfhyper.cli."):
            for flag in FLAGS.get_flags_for_module(module.__name__):
                FLAGS.register_key_flag_for_module(sys.argv[0], flag)


def write_json(path: str, content: dict) -> None:
    """Writes a JSON file, whole or not at all, and says where.

    Args:
        path: where to; folders above it are made.
        content: JSON values.
    """
    _make_folder(path)
    whole_files.write_json(path, content)
    print(f"written: {path}")


def write_figure(path: str, figure: Any, dpi: int = 120) -> None:
    """Writes a figure of matplotlib, whole or not at all, and says where.

    Args:
        path: where to, whose ending names the format; folders above it are made.
        figure: a `matplotlib.figure.Figure`.
        dpi: dots per inch.
    """
    _make_folder(path)
    with whole_files.whole_file(path) as temporary:
        figure.savefig(temporary, dpi=dpi)
    print(f"written: {path}")


def _make_folder(path: str) -> None:
    os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
