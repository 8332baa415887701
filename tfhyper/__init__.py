"""Bayesian neural networks for Keras 3.

Layers whose weights are drawn from a posterior, networks made of them, and a
predictor that averages over the draws. Importing the package registers its
layers, losses, metrics and optimizers with Keras, so that saved models load. Whatever
needs TensorFlow itself, TensorFlow Datasets or matplotlib is imported when it is
first used.

Example:

```python
import tfhyper

model = tfhyper.models.wide_resnet(depth=10, width=1, num_classes=10)
tfhyper.training.compile_recipe(model, epochs=20, steps_per_epoch=100)
```
"""

import importlib
from typing import Any

from tfhyper import (
    heads,
    kits,
    layers,
    metrics,
    models,
    posterior,
    saving,
    training,
    variational,
)
from tfhyper.convert import convert
from tfhyper.kits import LayerKit
from tfhyper.posterior import (
    AnytimePrediction,
    DeepEnsemble,
    DistributionPrediction,
    Draw,
    LabelsPrediction,
    PosteriorPredictor,
    Prediction,
    Predictions,
    RegressionPrediction,
    Rejection,
)
from tfhyper.variational import Variational
from tfhyper.version import __version__

# Parts that register nothing with Keras: imported when they are first used.
_LATER = ("analysis", "data", "export", "pruning")

__all__ = [
    "AnytimePrediction",
    "DeepEnsemble",
    "DistributionPrediction",
    "Draw",
    "LayerKit",
    "PosteriorPredictor",
    "LabelsPrediction",
    "Prediction",
    "Predictions",
    "RegressionPrediction",
    "Rejection",
    "Variational",
    "__version__",
    "analysis",
    "convert",
    "data",
    "export",
    "heads",
    "kits",
    "layers",
    "metrics",
    "models",
    "posterior",
    "pruning",
    "saving",
    "training",
    "variational",
]


def __getattr__(name: str) -> Any:
    if name in _LATER:
        return importlib.import_module(f"tfhyper.{name}")
    raise AttributeError(f"module 'tfhyper' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
