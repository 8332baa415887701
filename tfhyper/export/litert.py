"""A predictor for LiteRT, which was TensorFlow Lite."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tfhyper.export.runtimes import UNSIGNED, Runtime, Weights, public

if TYPE_CHECKING:
    from tfhyper.export.comparison import Run
    from tfhyper.export.module import Exported


def _needs(_: Weights) -> None:
    import ai_edge_litert.interpreter  # noqa: F401


def _write(exported: Exported, folder: str, path: str, weights: Weights) -> None:
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


def _open(path: str) -> Run:
    from ai_edge_litert.interpreter import Interpreter

    runner = Interpreter(path).get_signature_runner()
    return lambda named: runner(**named)


_RUNTIME = Runtime("litert", _needs, _write, _open, suffix=".tflite", lacks=UNSIGNED)

litert = public(
    _RUNTIME.export,
    "litert",
    _RUNTIME.document(
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

    {contract}

    Example:

    >>> report = tfhyper.export.litert(
    ...     predictor, "fashion.tflite", weights="int8", verbose=0
    ... )
    >>> bool(report.largest <= 0.2)
    True
    >>> from ai_edge_litert.interpreter import Interpreter
    >>> predict = Interpreter("fashion.tflite").get_signature_runner()
    >>> predict(inputs=x_test[:128])["epistemic"].shape
    (128,)
    """
    ),
)
