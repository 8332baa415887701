"""What the formats of other runtimes have in common: how they are written."""

import contextlib
import dataclasses
import os
import tempfile
from collections.abc import Callable
from typing import Any

from tfhyper.checks import check_choice, check_number, check_path, check_verbose
from tfhyper.export.arguments import check_free, check_predictor
from tfhyper.export.comparison import FileReport, compare, examples
from tfhyper.whole_files import whole_file, whole_folder

# How weights are stored -> the default of `tolerance`.
WEIGHTS = {"float32": 1e-5, "float16": 0.02, "int8": 0.2}
# What draws masks of dropout.
UNSIGNED = frozenset({"BitwiseAnd", "BitwiseOr", "BitwiseXor", "RightShift"})


@dataclasses.dataclass(frozen=True)
class Runtime:
    """How a format is written and read.

    Attributes:
        extra: the extra of the package that installs what it needs.
        needs: function of a name of `WEIGHTS` that imports that.
        write: function of an `Exported`, a folder that holds it as a SavedModel, the
            path to write, and a name of `WEIGHTS`.
        open: function of a path that gives one from named arrays to named arrays.
        suffix: what the path of a file ends in; empty for a folder.
        contents: for a folder, a file that is in each.
        lacks: operations of TensorFlow that it has not, or computes wrongly, and that
            only masks of dropout need.
    """

    extra: str
    needs: Callable[[str], Any]
    write: Callable
    open: Callable
    suffix: str = ""
    contents: str = ""
    lacks: frozenset = frozenset()

    def replaceable(self, path: str) -> bool:
        """Whether what is at a path is what this writes."""
        if self.suffix:
            return os.path.isfile(path)
        return os.path.isfile(os.path.join(path, self.contents))

    def check_path(self, path: str, overwrite: bool) -> str:
        """Returns the absolute path, or raises an error if it is not to be written."""
        path = os.path.abspath(check_path("path", path))
        if not path.endswith(self.suffix):
            raise ValueError(
                f'`path` must end in "{self.suffix}". Received: path={path!r}'
            )
        kind = "a file" if self.suffix else f"a folder that holds a {self.contents}"
        check_free(path, overwrite, self.replaceable, kind)
        return path


def export_to(
    runtime: Runtime,
    predictor,
    path: str,
    *,
    overwrite: bool,
    preprocessing,
    class_names,
    metadata,
    weights: str,
    tolerance: float | None,
    check_data,
    verbose: int,
) -> FileReport:
    """Writes a predictor for a runtime, if that gives what the predictor gives."""
    check_predictor(predictor, preprocessing)
    check_choice("weights", weights, WEIGHTS)
    if tolerance is None:
        tolerance = WEIGHTS[weights]
    tolerance = check_number("tolerance", tolerance)
    check_verbose(verbose)
    path = runtime.check_path(path, overwrite)
    try:
        runtime.needs(weights)
    except ImportError as error:
        raise ImportError(
            f"This format needs packages that are not here ({error}): "
            f'pip install "tfhyper[{runtime.extra}]"'
        ) from error

    # Not at the top: tfhyper is imported without TensorFlow.
    from tfhyper.export.module import Exported
    from tfhyper.export.resources import operations_on_text

    exported = Exported(
        predictor, "materialized", preprocessing, class_names, metadata, False, None
    )
    if runtime.lacks & exported.operations():
        raise ValueError(
            "This format has no masks of dropout, which are made of the bits of "
            "unsigned integers: write `export.onnx` or `export.saved_model`. Received: "
            "a predictor that draws them"
        )
    if text := operations_on_text(exported.operations()):
        raise ValueError(
            "This format has no text and no look-up tables: write "
            "`export.saved_model`, or have what makes numbers of text before the "
            f"model. Received: a model with the operations {text}"
        )
    check = examples(exported.specs, check_data)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    whole = whole_file if runtime.suffix else whole_folder
    with whole(path) as new, _as_saved_model(exported) as folder:
        runtime.write(exported, folder, new, weights)
        report = compare(
            predictor,
            exported,
            runtime.open(new),
            check,
            path,
            size_of(new),
            tolerance,
        )
        if not report.largest <= tolerance:  # or NaN
            raise ValueError(
                f"The file does not give what the predictor gives: {report}; "
                f"`tolerance` is {tolerance:g}. Nothing was written"
            )
        check_free(path, overwrite, runtime.replaceable, "of this format")
    if verbose:
        print(report, flush=True)
    return report


@contextlib.contextmanager
def _as_saved_model(exported):
    with tempfile.TemporaryDirectory() as folder:
        exported.save_function(folder)
        yield folder


def size_of(path: str) -> int:
    """Returns the bytes of a file, or of all files in a folder."""
    if os.path.isfile(path):
        return os.path.getsize(path)
    return sum(
        os.path.getsize(os.path.join(folder, file))
        for folder, _, files in os.walk(path)
        for file in files
    )
