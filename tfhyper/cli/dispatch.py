"""Which command is meant, and what each of them is."""

import difflib
import sys
from collections.abc import Callable, Sequence
from typing import Any

from tfhyper.cli import flag_sets
from tfhyper.cli.scripting import DONE, USAGE, run_command
from tfhyper.version import __version__

_ABOUT = """\
usage: tfhyper COMMAND [flags]

Bayesian neural networks for Keras 3: train one, look at it, hand it on.

commands:
{commands}

`tfhyper COMMAND --help` lists the flags of a command. With --json all but `serve`
print their results as one JSON object. Exit codes: 0 done, 1 not done (a message says
why), 2 not understood, 130 stopped by the keyboard.
"""

_TRAIN = """\
tfhyper train [flags]

Trains a network whose weights have a posterior, and writes scores of one draw and of
the average over --draws, two pictures, and the predictor to --workdir. Started again
with the same flags, it goes on where it was stopped.
"""
_EVALUATE = """\
tfhyper evaluate [flags]

Evaluates what `tfhyper train` left in --workdir, with other draws or another rule for
what is unknown, and writes the predictor anew.
"""
_EXPORT = """\
tfhyper export [flags]

Exports the predictor in --workdir: a SavedModel, or a file for ONNX Runtime, LiteRT or
OpenVINO, which needs neither tfhyper nor Keras where it runs.
"""

_COMPARE = """\
tfhyper compare [flags]

Trains the networks of --methods, loads --predictors, and evaluates all on the same test
images: a table (Markdown, JSON), and a page with it and a figure, in --workdir. Started
again with the same flags, it goes on where it was stopped.
"""


def _train(args: list[str]) -> int:
    def run() -> Any:
        from tfhyper.cli import train

        return train.main()

    flag_sets.define_train()
    return run_command("tfhyper train", _TRAIN, args, run)


def _evaluate(args: list[str]) -> int:
    def run() -> Any:
        from tfhyper.cli import evaluate

        return evaluate.main()

    flag_sets.define_evaluate()
    return run_command("tfhyper evaluate", _EVALUATE, args, run)


def _compare(args: list[str]) -> int:
    def run() -> Any:
        from tfhyper.cli import compare

        return compare.main()

    flag_sets.define_compare()
    return run_command("tfhyper compare", _COMPARE, args, run)


def _export(args: list[str]) -> int:
    def run() -> Any:
        from tfhyper.cli import export

        return export.main()

    flag_sets.define_export()
    return run_command("tfhyper export", _EXPORT, args, run)


def _serve(args: list[str]) -> int:
    from tfhyper.cli import serve

    return serve.run(args)


def _info(args: list[str]) -> int:
    from tfhyper.cli import info

    return info.run(args)


# Name -> what it does in a line, and the function of its arguments that does it.
COMMANDS: dict[str, tuple[str, Callable[[list[str]], int]]] = {
    "train": ("train a network, and average over its draws", _train),
    "evaluate": ("evaluate a training again, with other draws", _evaluate),
    "compare": ("set methods and predictors side by side", _compare),
    "export": ("write a SavedModel, or a file of another runtime", _export),
    "serve": ("serve a SavedModel: HTTP and gRPC, or a page", _serve),
    "info": ("say what a file holds, or what is installed", _info),
}


def main(args: Sequence[str] | None = None) -> int:
    """Runs the command line, and returns its exit code.

    Flags belong to the process: one command is run in each.

    Args:
        args: the command and its flags; `None` for those of the process.

    Returns:
        0 where it is done; 1 where it is not, and a message on the error output says
        why; 2 where no such command or flag is known; 130 where it was stopped by the
        keyboard.

    Example:

    >>> tfhyper.cli.main(["predict"])
    2
    >>> tfhyper.cli.main(["--version"])
    tfhyper 0...
    0
    """
    command, *rest = [*(sys.argv[1:] if args is None else args)] or ["--help"]
    if command in ("-h", "--help", "help"):
        lines = [f"  {name:10}{about}" for name, (about, _) in COMMANDS.items()]
        print(_ABOUT.format(commands="\n".join(lines)), end="")
        return DONE
    if command in ("-V", "--version"):
        print(f"tfhyper {__version__}")
        return DONE
    if command not in COMMANDS:
        (near,) = difflib.get_close_matches(command, COMMANDS, 1) or [""]
        hint = f" Did you mean `tfhyper {near}`?" if near else ""
        print(
            f"error: the command must be one of {', '.join(COMMANDS)}. "
            f"Received: {command}.{hint}",
            file=sys.stderr,
        )
        return USAGE
    _, run = COMMANDS[command]
    return run(rest)
