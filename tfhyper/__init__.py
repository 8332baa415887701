"""Bayesian neural networks for Keras 3.

Layers whose weights are drawn from a posterior, networks made of them, and a
predictor that averages over the draws. Importing the package registers the
layers with Keras; everything that needs TensorFlow itself (data pipelines,
export) is imported when it is first used.

Example:

```python
import tfhyper

model = tfhyper.models.wide_resnet(depth=10, width=1, num_classes=10)
tfhyper.training.compile_recipe(model, epochs=20, steps_per_epoch=100)
```
"""

import importlib

from tfhyper import layers
from tfhyper.version import __version__

_LAZY_MODULES = (
    "analysis",
    "data",
    "kits",
    "metrics",
    "models",
    "posterior",
    "training",
)
_LAZY_NAMES = {
    "Draw": "posterior",
    "LayerKit": "kits",
    "PosteriorPredictor": "posterior",
    "Prediction": "posterior",
}

__all__ = ["__version__", "layers", *_LAZY_MODULES, *_LAZY_NAMES]


def __getattr__(name):
    if name in _LAZY_MODULES:
        return importlib.import_module(f"tfhyper.{name}")
    if name in _LAZY_NAMES:
        module = importlib.import_module(f"tfhyper.{_LAZY_NAMES[name]}")
        return getattr(module, name)
    raise AttributeError(f"module 'tfhyper' has no attribute '{name}'")


def __dir__():
    return sorted(__all__)
