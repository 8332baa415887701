"""A predictor for OpenVINO."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from tfhyper.export.runtimes import UNSIGNED, Runtime, Weights, public

if TYPE_CHECKING:
    import numpy as np

    from tfhyper.export.comparison import Run
    from tfhyper.export.module import Exported

_FILE = "model.xml"


def _needs(weights: Weights) -> None:
    import openvino  # noqa: F401

    if weights == "int8":
        import nncf  # noqa: F401


def _write(exported: Exported, folder: str, path: str, weights: Weights) -> None:
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


def _open(path: str) -> Run:
    import openvino

    # Not read from the file while it runs: that may be renamed.
    options = {"INFERENCE_PRECISION_HINT": "f32", "ENABLE_MMAP": False}
    compiled = openvino.Core().compile_model(os.path.join(path, _FILE), "CPU", options)

    def predict(named: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        found = compiled(named)
        return {key.get_any_name(): value for key, value in found.items()}

    return predict


_RUNTIME = Runtime("openvino", _needs, _write, _open, contents=_FILE, lacks=UNSIGNED)

openvino = public(
    _RUNTIME.export,
    "openvino",
    _RUNTIME.document(
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

    {contract}

    Example:

    >>> report = tfhyper.export.openvino(predictor, "models/fashion/1", verbose=0)
    >>> bool(report.largest <= 1e-5)
    True
    >>> import openvino
    >>> compiled = openvino.Core().compile_model("models/fashion/1/model.xml", "CPU",
    ...     {"INFERENCE_PRECISION_HINT": "f32"})
    >>> compiled({"inputs": x_test[:128]})["epistemic"].shape
    (128,)
    """
    ),
)
