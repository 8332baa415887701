"""A predictor for LiteRT, which was TensorFlow Lite."""

from collections.abc import Mapping, Sequence
from typing import Any

from numpy.typing import ArrayLike

from tfhyper.export.comparison import FileReport
from tfhyper.export.preprocessing import Preprocessing
from tfhyper.export.runtimes import UNSIGNED, Runtime, export_to
from tfhyper.posterior import DeepEnsemble, PosteriorPredictor


def litert(
    predictor: PosteriorPredictor | DeepEnsemble,
    path: str,
    *,
    overwrite: bool = False,
    preprocessing: Preprocessing | None = None,
    class_names: Sequence[str] | None = None,
    metadata: Mapping[str, Any] | None = None,
    weights: str = "float32",
    tolerance: float | None = None,
    check_data: tuple[ArrayLike, ArrayLike] | None = None,
    verbose: int = 1,
) -> FileReport:
    """Writes a predictor as a LiteRT file, by TensorFlow, checked in LiteRT.

    The file has one signature, `serving_default`, with the outputs of
    `tfhyper.export.onnx`, and takes batches of any size: a signature's runner resizes
    the input by itself; elsewhere call `resize_tensor_input` first.

    As LiteRT's own metadata does it, a ZIP archive at the end of the file holds the
    description, tfhyper.json, and the class names, labels.txt, one per line:
    `unzip -p model.tflite tfhyper.json`.

    `weights="float16"` and "int8" are the converter's optimisations: large weights
    are stored as float16 and made float32 when the file is loaded, or as 8 bits with
    a scale for each output channel, where the inputs of convolutions and matrix
    products are brought to 8 bits at run time.

    Args:
        predictor: as for `tfhyper.export.onnx`, and so are the other arguments and
            the errors.
        path: the file to write, "*.tflite".
        overwrite: bool, replace a file that is there.
        preprocessing: `None`, or how the file makes the network's inputs.
        class_names: names of the classes, by label.
        metadata: entries of your own, JSON values.
        weights: `"float32"`, `"float16"` or `"int8"`.
        tolerance: the largest difference to the predictor that is allowed.
        check_data: `None`, or a tuple of inputs and labels.
        verbose: 0 for silence, 1 to print the report.

    Returns:
        The `FileReport`.

    Raises:
        ValueError: also for draws that are masks of dropout, which it has not.
        ImportError: without `pip install "tfhyper[litert]"`.

    Example:

    >>> report = tfhyper.export.litert(predictor, "fashion.tflite", weights="int8")
    >>> from ai_edge_litert.interpreter import Interpreter
    >>> predict = Interpreter("fashion.tflite").get_signature_runner()
    >>> predict(inputs=images)["epistemic"].shape
    (128,)
    """
    return export_to(
        _RUNTIME,
        predictor,
        path,
        overwrite=overwrite,
        preprocessing=preprocessing,
        class_names=class_names,
        metadata=metadata,
        weights=weights,
        tolerance=tolerance,
        check_data=check_data,
        verbose=verbose,
    )


def _needs(_):
    import ai_edge_litert.interpreter  # noqa: F401


def _write(exported, folder, path, weights):
    import zipfile

    import tensorflow as tf

    converter = tf.lite.TFLiteConverter.from_saved_model(folder)
    if weights != "float32":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if weights == "float16":
        converter.target_spec.supported_types = [tf.float16]
    with open(path, "wb") as file:
        file.write(converter.convert())
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("tfhyper.json", exported.description)
        if exported.class_names:
            # A name of several lines would be several.
            lines = [" ".join(name.splitlines()) for name in exported.class_names]
            archive.writestr("labels.txt", "\n".join(lines) + "\n")


def _open(path):
    from ai_edge_litert.interpreter import Interpreter

    runner = Interpreter(path).get_signature_runner()
    return lambda named: runner(**named)


_RUNTIME = Runtime("litert", _needs, _write, _open, suffix=".tflite", lacks=UNSIGNED)
