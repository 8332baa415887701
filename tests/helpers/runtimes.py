"""The runtimes of files that are none of TensorFlow's: how each opens and runs one."""

import importlib.util
import json
import os
import zipfile

import pytest

from tfhyper import export


class Onnx:
    needs = ("onnx", "onnxruntime", "tf2onnx")
    name = "model.onnx"
    code = "import onnxruntime; onnxruntime.InferenceSession(path)"
    export = staticmethod(export.onnx)

    @staticmethod
    def open(path):
        import onnxruntime

        return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])

    @classmethod
    def run(cls, path, **inputs):
        session = cls.open(path)
        names = [output.name for output in session.get_outputs()]
        return dict(zip(names, session.run(None, inputs), strict=True))

    @classmethod
    def metadata(cls, path):
        found = cls.open(path).get_modelmeta().custom_metadata_map
        return json.loads(found["tfhyper"]), json.loads(found["class_names"])


class LiteRT:
    needs = ("ai_edge_litert",)
    name = "model.tflite"
    code = (
        "from ai_edge_litert.interpreter import Interpreter; "
        "Interpreter(path).get_signature_runner()"
    )
    export = staticmethod(export.litert)

    @staticmethod
    def open(path):
        from ai_edge_litert.interpreter import Interpreter

        return Interpreter(str(path)).get_signature_runner("serving_default")

    @classmethod
    def run(cls, path, **inputs):
        return cls.open(path)(**inputs)

    @staticmethod
    def metadata(path):
        with zipfile.ZipFile(path) as archive:
            names = archive.read("labels.txt").decode()
            return json.loads(archive.read("tfhyper.json")), names.split("\n")[:-1]


class OpenVINO:
    needs = ("openvino",)
    name = "model"
    code = "import openvino; openvino.Core().compile_model(path, 'CPU')"
    export = staticmethod(export.openvino)

    @staticmethod
    def open(path):
        import openvino

        file = os.path.join(path, "model.xml")
        options = {"INFERENCE_PRECISION_HINT": "f32"}
        return openvino.Core().compile_model(file, "CPU", options)

    @classmethod
    def run(cls, path, **inputs):
        found = cls.open(path)(inputs)
        return {key.get_any_name(): value for key, value in found.items()}

    @staticmethod
    def metadata(path):
        import openvino

        model = openvino.Core().read_model(os.path.join(path, "model.xml"))
        return tuple(
            json.loads(model.get_rt_info(["tfhyper", name]).astype(str))
            for name in ("description", "class_names")
        )


FORMATS = [Onnx, LiteRT, OpenVINO]


def require(runtime):
    for name in runtime.needs:
        if importlib.util.find_spec(name) is None:
            pytest.skip(f"{name} is not installed")
