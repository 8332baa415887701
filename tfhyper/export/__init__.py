"""Predictors as files that need nothing of tfhyper or Keras.

TensorFlow, and what other formats need, is imported when something is exported.
"""

from tfhyper.export.comparison import FileReport
from tfhyper.export.litert import litert
from tfhyper.export.onnx import onnx
from tfhyper.export.openvino import openvino
from tfhyper.export.preprocessing import Preprocessing
from tfhyper.export.saved_model import saved_model

__all__ = [
    "FileReport",
    "Preprocessing",
    "litert",
    "onnx",
    "openvino",
    "saved_model",
]
