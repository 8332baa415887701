"""Predictors as files that need nothing of tfhyper or Keras.

TensorFlow is imported when something is exported.
"""

from tfhyper.export.preprocessing import Preprocessing
from tfhyper.export.saved_model import saved_model

__all__ = ["Preprocessing", "saved_model"]
