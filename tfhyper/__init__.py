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
import importlib.util
import os
import sys
from typing import TYPE_CHECKING, Any

from tfhyper.version import __version__


def _is_command() -> bool:
    """Returns whether this process is `tfhyper ...` or `python -m tfhyper ...`."""
    name = sys.argv[0] if sys.argv else ""
    if name == "-m":  # Python is about to find and run it.
        words = sys.orig_argv
        return "-m" in words and words[words.index("-m") + 1 :][:1] == ["tfhyper"]
    return os.path.basename(name) in ("tfhyper", "tfhyper.exe")


# The command line imports what a command needs, and Keras not before.
if TYPE_CHECKING or not _is_command():
    from tfhyper import (
        conformal,
        gan,
        heads,
        kits,
        laplace,
        layers,
        metrics,
        models,
        posterior,
        saving,
        scaling,
        training,
        variational,
    )
    from tfhyper.conversion import (
        ConversionReport,
        LayerConversion,
        conversion_report,
    )
    from tfhyper.convert import convert
    from tfhyper.kits import LayerKit
    from tfhyper.laplace import Laplace, LaplacePredictor
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
        predict_tiles,
    )
    from tfhyper.variational import KeptWeights, Variational

# Parts that register nothing with Keras: imported when they are first used.
_LATER = (
    "analysis",
    "cli",
    "comparison",
    "data",
    "detection",
    "export",
    "pruning",
    "shift",
    "sklearn",
)
# Name -> the part of it, likewise.
_NAMES_LATER = {"evaluate": "tfhyper.comparison"}

__all__ = [
    "AnytimePrediction",
    "ConversionReport",
    "DeepEnsemble",
    "DistributionPrediction",
    "Draw",
    "KeptWeights",
    "Laplace",
    "LaplacePredictor",
    "LayerConversion",
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
    "cli",
    "comparison",
    "conformal",
    "conversion_report",
    "convert",
    "data",
    "detection",
    "evaluate",
    "export",
    "gan",
    "heads",
    "kits",
    "laplace",
    "layers",
    "metrics",
    "models",
    "posterior",
    "predict_tiles",
    "pruning",
    "saving",
    "scaling",
    "shift",
    "sklearn",
    "training",
    "variational",
]


def __getattr__(name: str) -> Any:
    if name in _LATER:
        return importlib.import_module(f"tfhyper.{name}")
    if name in _NAMES_LATER:
        return getattr(importlib.import_module(_NAMES_LATER[name]), name)
    if name in __all__:  # in the command line alone
        # `convert` is a function, and the file that it is in.
        if name != "convert" and importlib.util.find_spec(f"tfhyper.{name}"):
            return importlib.import_module(f"tfhyper.{name}")
        return _from_parts(name)
    raise AttributeError(f"module 'tfhyper' has no attribute {name!r}")


def _from_parts(name: str) -> Any:
    for part in (
        "conversion",
        "convert",
        "kits",
        "laplace",
        "posterior",
        "variational",
    ):
        module = importlib.import_module(f"tfhyper.{part}")
        if hasattr(module, name):
            found = globals()[name] = getattr(module, name)
            return found
    return importlib.import_module(f"tfhyper.{name}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
