"""A predictor for ONNX Runtime."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tfhyper.export.runtimes import Runtime, Weights, public

if TYPE_CHECKING:
    import numpy as np
    import tensorflow as tf
    from onnx import ModelProto

    from tfhyper.export.comparison import Run
    from tfhyper.export.module import Exported

# Opset 18 is of 2022: ONNX Runtime has had it since 1.14.
_OPSET = 18
# Tensors below it stay float32: they are moments, scales and biases.
_LEAST = 1024


def _needs(_: Weights) -> None:
    import onnx  # noqa: F401
    import onnxruntime  # noqa: F401
    import tf2onnx  # noqa: F401


def _write(exported: Exported, _: str, path: str, weights: Weights) -> None:
    import json

    import onnx
    import tensorflow as tf
    import tf2onnx

    names = list(exported.specs)
    signature = [
        tf.TensorSpec(spec.shape, spec.dtype, name=name)
        for name, spec in exported.specs.items()
    ]

    @tf.function(autograph=False)
    def predict(*inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        return exported.function(**dict(zip(names, inputs, strict=True)))

    model, _ = tf2onnx.convert.from_function(predict, signature, opset=_OPSET)
    if weights == "int8":
        model = _quantized(model)
    elif weights == "float16":
        _halve(model)
    properties = {"tfhyper": exported.description}
    if exported.class_names:
        properties["class_names"] = json.dumps(exported.class_names)
    onnx.helper.set_model_props(model, properties)
    onnx.save(model, path)


def _halve(model: ModelProto) -> None:
    """Stores the large weights as float16, and casts each back."""
    import numpy as np
    import onnx

    casts = []
    for tensor in model.graph.initializer:
        array = onnx.numpy_helper.to_array(tensor)
        if array.dtype != np.float32 or array.size < _LEAST:
            continue
        name, half = tensor.name, f"{tensor.name}_float16"
        tensor.CopyFrom(onnx.numpy_helper.from_array(array.astype(np.float16), half))
        cast = onnx.helper.make_node("Cast", [half], [name], to=onnx.TensorProto.FLOAT)
        casts.append(cast)
    nodes = [*casts, *model.graph.node]  # in the order in which they can run
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def _quantized(model: ModelProto) -> ModelProto:
    import os
    import tempfile

    import onnx
    from onnxruntime import quantization

    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "model.onnx")
        quantization.quantize_dynamic(
            model,
            path,
            # Integer convolutions take no signed weights on CPUs.
            weight_type=quantization.QuantType.QUInt8,
            op_types_to_quantize=["Conv", "MatMul"],
        )
        return onnx.load(path)


def _open(path: str) -> Run:
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]

    def predict(named: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return dict(zip(names, session.run(names, named), strict=True))

    return predict


_RUNTIME = Runtime("onnx", _needs, _write, _open, suffix=".onnx")

onnx = public(
    _RUNTIME.export,
    "onnx",
    _RUNTIME.document(
        """Writes a predictor as an ONNX file, by tf2onnx, checked in ONNX Runtime.

    The file takes batches of any size and gives, of a classifier, probabilities
    (batch, classes), class (batch,), total, aleatoric and epistemic (batch,), in
    nats, and members (batch, draws, classes); of a regression mean, variance,
    aleatoric and epistemic (batch,), and members and member_variance (batch, draws).
    Of a predictor with a `scorer` there is foreign (batch,) too, its scores; of one
    with a `rejection` there is rejected (batch,) too, bool: where the
    answer is unknown, whatever class and mean say. Of one with a `conformal` rule
    there are sets (batch, classes), bool, or of a regression lower and upper (batch,).
    It holds the kernels of all draws: converters would compute them from their codes
    once and for all. The description and the class names are in the file's
    metadata_props, "tfhyper" and "class_names", both JSON.

    Before it is there it is run beside the predictor, on batches and on the first
    example alone.

    `weights="float16"` stores the large weights as float16, from which the runtime
    makes float32 when it loads the file: half the size, at the same speed. "int8" is
    ONNX Runtime's dynamic quantisation: weights, and the inputs of convolutions and
    matrix products, have 8 bits with one scale for each tensor. A quarter of the
    size; its integer convolutions may be slower than those of float32. A file holds
    less than 2 GiB.

    {contract}

    Example:

    >>> report = tfhyper.export.onnx(
    ...     predictor, "fashion.onnx", weights="float16", verbose=0
    ... )
    >>> bool(report.largest <= 0.02)
    True
    >>> import onnxruntime
    >>> session = onnxruntime.InferenceSession("fashion.onnx")
    >>> names = [output.name for output in session.get_outputs()]
    >>> outputs = dict(zip(names, session.run(None, {"inputs": x_test})))
    >>> outputs["epistemic"].shape
    (2000,)
    """
    ),
)
