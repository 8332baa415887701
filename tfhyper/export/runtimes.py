"""What the formats of other runtimes have in common: how they are written."""

import contextlib
import dataclasses
import inspect
import os
import tempfile
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, ParamSpec, TypeAlias

from numpy.typing import ArrayLike

from tfhyper.checks import check_choice, check_number, check_path, check_verbose
from tfhyper.export.arguments import check_free, check_predictor
from tfhyper.export.comparison import FileReport, Run, compare, examples
from tfhyper.export.preprocessing import Preprocessing
from tfhyper.posterior.base_predictor import BasePredictor
from tfhyper.whole_files import whole_file, whole_folder

if TYPE_CHECKING:
    from tfhyper.export.module import Exported

_Arguments = ParamSpec("_Arguments")
# How weights are stored.
Weights: TypeAlias = Literal["float32", "float16", "int8"]
# How they are stored -> the default of `tolerance`.
WEIGHTS: dict[Weights, float] = {"float32": 1e-5, "float16": 0.02, "int8": 0.2}
# What every function that writes a file for a runtime takes, gives and raises.
CONTRACT = """\
Args:
    predictor: a `tfhyper.PosteriorPredictor`, `tfhyper.DeepEnsemble` or
        `tfhyper.LaplacePredictor`, calibrated. Keras must run on TensorFlow.
    path: {place}. It appears when it is
        complete and checked.
    overwrite: bool, replace what is at `path`, if it is of this format.
    preprocessing: `None`, or how the file makes the network's inputs of uint8
        images, which it then takes.
    class_names: names of the classes, by label.
    metadata: entries of your own, JSON values.
    weights: `"float32"`, `"float16"` or `"int8"`.
    tolerance: the largest difference to the predictor that is allowed, as
        `FileReport` measures it. `None` for 1e-5, with float16 0.02, with int8
        0.2; and not less than the `rounding` of a steep scaling, or 1e-4 with a
        scorer of features, whose distances multiply roundings.
    check_data: `None` to compare on random inputs, else a tuple of inputs as the
        file takes them (several: a dict, by name) and labels, integers or
        targets: then the scores of the predictor and of the file are reported.
    verbose: 0 for silence, 1 to print the report.

Returns:
    The `FileReport`.

Raises:
    TypeError: for a predictor or an argument of another type.
    ValueError: for an argument out of range, a model that was trained since, if
        `estimate_batch_norm` is due, for draws or operations that the format has not,
        or if the file differs by more than `tolerance`: then nothing is written.
    FileExistsError: if there is something at `path`, and `overwrite` is not set
        or it is of another format.
    ImportError: without `pip install "tfhyper[{extra}]"`.
    RuntimeError: if Keras runs on another backend.
"""
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
    needs: Callable[[Weights], None]
    write: Callable[["Exported", str, str, Weights], None]
    open: Callable[[str], Run]
    suffix: str = ""
    contents: str = ""
    lacks: frozenset[str] = frozenset()

    def document(self, text: str) -> str:
        """Returns a docstring, with `CONTRACT` in place of "{contract}"."""
        place = f'the file to write, "*{self.suffix}"'
        if not self.suffix:
            place = f"the folder to write, in which {self.contents} is"
        contract = CONTRACT.format(place=place, extra=self.extra)
        return text.replace("{contract}", textwrap.indent(contract, "    ").strip())

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

    def export(
        self,
        predictor: BasePredictor,
        path: str,
        *,
        overwrite: bool = False,
        preprocessing: Preprocessing | None = None,
        class_names: Sequence[str] | None = None,
        metadata: Mapping[str, Any] | None = None,
        weights: Weights = "float32",
        tolerance: float | None = None,
        check_data: tuple[ArrayLike, ArrayLike] | None = None,
        verbose: int = 1,
    ) -> FileReport:
        """Writes a predictor, if the file gives what the predictor gives.

        Arguments, result and errors are those of `CONTRACT`.
        """
        check_predictor(predictor, preprocessing)
        check_choice("weights", weights, WEIGHTS)
        if tolerance is None:
            tolerance = max(WEIGHTS[weights], predictor.task.rounding)
            if predictor.scorer is not None:
                tolerance = max(tolerance, predictor.scorer.rounding)
        tolerance = check_number("tolerance", tolerance)
        check_verbose(verbose)
        path = self.check_path(path, overwrite)
        try:
            self.needs(weights)
        except ImportError as error:
            raise ImportError(
                f"This format needs packages that are not here ({error}): "
                f'pip install "tfhyper[{self.extra}]"'
            ) from error

        # Not at the top: tfhyper is imported without TensorFlow.
        from tfhyper.export.module import Exported
        from tfhyper.export.resources import operations_on_text

        exported = Exported(
            predictor, "materialized", preprocessing, class_names, metadata, False, None
        )
        if self.lacks & exported.operations():
            raise ValueError(
                "This format has no masks of dropout, which are made of the bits of "
                "unsigned integers: write `export.onnx` or `export.saved_model`. "
                "Received: a predictor that draws them"
            )
        if text := operations_on_text(exported.operations()):
            raise ValueError(
                "This format has no text and no look-up tables: write "
                "`export.saved_model`, or have what makes numbers of text before the "
                f"model. Received: a model with the operations {text}"
            )
        check = examples(exported.specs, check_data)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        whole = whole_file if self.suffix else whole_folder
        with whole(path) as new, _as_saved_model(exported) as folder:
            self.write(exported, folder, new, weights)
            report = compare(
                predictor,
                exported,
                self.open(new),
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
            check_free(path, overwrite, self.replaceable, "of this format")
        if verbose:
            print(report, flush=True)
        return report


def public(
    export: Callable[_Arguments, FileReport], name: str, doc: str
) -> Callable[_Arguments, FileReport]:
    """Returns the `export` of a `Runtime` as a function of the package's.

    Args:
        export: the method.
        name: of the function.
        doc: its docstring.
    """
    signature = inspect.signature(export)

    def function(*args: _Arguments.args, **kwargs: _Arguments.kwargs) -> FileReport:
        signature.bind(*args, **kwargs)  # an error names no function of ours
        return export(*args, **kwargs)

    function.__name__ = function.__qualname__ = name
    function.__module__ = f"tfhyper.export.{name}"
    function.__doc__ = doc
    vars(function)["__signature__"] = signature  # of which no stub knows
    return function


@contextlib.contextmanager
def _as_saved_model(exported: "Exported") -> Iterator[str]:
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
