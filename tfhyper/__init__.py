"""Bayesian neural networks for Keras 3.

Layers whose weights are drawn from a posterior, networks made of them, and a
predictor that averages over the draws. Importing the package registers its
layers, metrics and optimizers with Keras, so that saved models load. Whatever
needs TensorFlow itself, TensorFlow Datasets or matplotlib is imported when it is
first used.

Example:

```python
import tfhyper

model = tfhyper.models.wide_resnet(depth=10, width=1, num_classes=10)
tfhyper.training.compile_recipe(model, epochs=20, steps_per_epoch=100)
```
"""

from tfhyper import (
    analysis,
    data,
    export,
    kits,
    layers,
    metrics,
    models,
    posterior,
    pruning,
    saving,
    training,
)
from tfhyper.convert import convert
from tfhyper.kits import LayerKit
from tfhyper.posterior import (
    AnytimePrediction,
    DeepEnsemble,
    Draw,
    PosteriorPredictor,
    Prediction,
    RegressionPrediction,
    Rejection,
)
from tfhyper.version import __version__

__all__ = [
    "AnytimePrediction",
    "DeepEnsemble",
    "Draw",
    "LayerKit",
    "PosteriorPredictor",
    "Prediction",
    "RegressionPrediction",
    "Rejection",
    "__version__",
    "analysis",
    "convert",
    "data",
    "export",
    "kits",
    "layers",
    "metrics",
    "models",
    "posterior",
    "pruning",
    "saving",
    "training",
]
