"""A predictor for OpenVINO."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

from numpy.typing import ArrayLike

from tfhyper.export.comparison import FileReport
from tfhyper.export.preprocessing import Preprocessing
from tfhyper.export.runtimes import UNSIGNED, Runtime, export_to
from tfhyper.posterior import DeepEnsemble, PosteriorPredictor

_FILE = "model.xml"


def openvino(
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
    """Writes a predictor for OpenVINO, by its converter, checked in it.

    A folder with model.xml and model.bin, as OpenVINO's model server has them, with
    the outputs of `tfhyper.export.onnx`, for batches of any size. Its `rt_info`
    holds, under "tfhyper", the description and the class names, both JSON.

    Processors with bfloat16 or float16 instructions may use them, which costs
    accuracy, unless the model is compiled with INFERENCE_PRECISION_HINT="f32", as the
    check does.

    `weights="float16"` stores weights as float16, from which float32 are made when
    the model is compiled; "int8" is NNCF's compression of weights, 8 bits with a
    scale for each output channel. Either way it computes in float32.

    Args:
        predictor: as for `tfhyper.export.onnx`, and so are the other arguments and
            the errors.
        path: the folder to write.
        overwrite: bool, replace a folder that holds a model.xml.
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
        ImportError: without `pip install "tfhyper[openvino]"`.

    Example:

    >>> report = tfhyper.export.openvino(predictor, "models/fashion/1")
    >>> compiled = openvino.Core().compile_model("models/fashion/1/model.xml", "CPU",
    ...     {"INFERENCE_PRECISION_HINT": "f32"})
    >>> compiled({"inputs": images})["epistemic"].shape
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


def _needs(weights):
    import openvino  # noqa: F401

    if weights == "int8":
        import nncf  # noqa: F401


def _write(exported, folder, path, weights):
    import json

    import openvino

    model = openvino.convert_model(folder)
    if weights == "int8":
        import nncf

        mode = nncf.CompressWeightsMode.INT8_SYM
        model = nncf.compress_weights(model, mode=mode)
    model.set_rt_info(exported.description, ["tfhyper", "description"])
    if exported.class_names:
        names = json.dumps(exported.class_names)
        model.set_rt_info(names, ["tfhyper", "class_names"])
    openvino.save_model(
        model, os.path.join(path, _FILE), compress_to_fp16=weights == "float16"
    )


def _open(path):
    import openvino

    # Not read from the file while it runs: that may be renamed.
    options = {"INFERENCE_PRECISION_HINT": "f32", "ENABLE_MMAP": False}
    compiled = openvino.Core().compile_model(os.path.join(path, _FILE), "CPU", options)

    def predict(named):
        found = compiled(named)
        return {key.get_any_name(): value for key, value in found.items()}

    return predict


_RUNTIME = Runtime("openvino", _needs, _write, _open, contents=_FILE, lacks=UNSIGNED)
