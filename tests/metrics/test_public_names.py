"""The package's names, its import and the examples in its docstrings."""

import doctest
import importlib

import pytest

from tfhyper import metrics

MODULES = (
    "binary",
    "boundaries",
    "bounds",
    "calibration",
    "calibration_errors",
    "class_metrics",
    "classification",
    "detection",
    "distributions",
    "diversity",
    "generation",
    "images",
    "intervals",
    "likelihood",
    "links",
    "noise",
    "normal_metrics",
    "patches",
    "regression",
    "rejection",
    "report",
    "resampling",
    "running",
    "segmentation",
    "selective",
    "sparsification",
    "uncertainty",
)


def test_all_names_exist_and_are_documented():
    assert metrics.__all__ == sorted(metrics.__all__)
    for name in metrics.__all__:
        assert "Example:" in getattr(metrics, name).__doc__, name


@pytest.mark.parametrize("name", MODULES)
def test_docstring_examples_run(name):
    module = importlib.import_module(f"tfhyper.metrics.{name}")
    result = doctest.testmod(module)
    assert result.attempted > 0 and result.failed == 0
