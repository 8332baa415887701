"""Runs an exported file where Keras and tfhyper cannot be imported.

    python benchmarks/load_exported.py FORMAT PATH INPUTS.npy OUTPUTS.npz

Prints JSON: the seconds that loading took, and the first prediction, each without
the imports.
"""

import json
import os
import sys
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np


def open_saved_model(path):
    import tensorflow as tf

    loaded = tf.saved_model.load(path)

    def run(name):
        function = loaded.signatures[name]  # of `loaded`, which must live

        def predict(inputs):
            found = function(inputs=tf.constant(inputs))
            return {key: value.numpy() for key, value in found.items()}

        return predict

    return run("serving_default"), run("members")


def open_onnx(path):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    # Its threads would go on for a while, in the time of who comes next.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(
        path, options, providers=["CPUExecutionProvider"]
    )
    names = [output.name for output in session.get_outputs()]

    def predict(inputs):
        return dict(zip(names, session.run(names, {"inputs": inputs}), strict=True))

    return (predict,)


def open_litert(path):
    from ai_edge_litert.interpreter import Interpreter

    runner = Interpreter(path, num_threads=os.cpu_count()).get_signature_runner()
    return (lambda inputs: runner(inputs=inputs),)


def open_openvino(path):
    import openvino

    options = {"INFERENCE_PRECISION_HINT": "f32"}
    path = os.path.join(path, "model.xml")
    compiled = openvino.Core().compile_model(path, "CPU", options)

    def predict(inputs):
        found = compiled({"inputs": inputs})
        return {key.get_any_name(): value for key, value in found.items()}

    return (predict,)


# Format -> what opens a file: functions that give, together, all outputs. The first
# gives the averaged prediction.
OPEN = {
    "saved_model": open_saved_model,
    "onnx": open_onnx,
    "litert": open_litert,
    "openvino": open_openvino,
}
# What each imports, which is not a part of loading.
_PACKAGES = {
    "saved_model": "tensorflow",
    "onnx": "onnxruntime",
    "litert": "ai_edge_litert.interpreter",
    "openvino": "openvino",
}


def main(kind, path, inputs, outputs):
    for name in ("keras", "tf_keras", "tfhyper", "tensorflow_probability"):
        sys.modules[name] = None  # an import of it is an error
    inputs = np.load(inputs)
    __import__(_PACKAGES[kind])
    start = time.perf_counter()
    functions = OPEN[kind](path)
    loaded = time.perf_counter()
    functions[0](inputs[:1])
    first = time.perf_counter()
    found = {}
    for function in functions:
        found.update(function(inputs))
    np.savez(outputs, **found)
    print(json.dumps({"load_seconds": loaded - start, "first_seconds": first - loaded}))


if __name__ == "__main__":
    main(*sys.argv[1:])
