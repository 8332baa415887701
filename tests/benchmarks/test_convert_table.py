"""Every layer of Keras is in the table of what `convert` draws, and as it says."""

import inspect
import json
import pathlib
import sys

import keras
import pytest

ROOT = pathlib.Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "benchmarks"))

import convert_layers  # noqa: E402

RESULTS = ROOT / "benchmarks" / "results" / "convert_table.json"
NAMES = sorted(set(convert_layers.WITH_WEIGHTS) & set(convert_layers.layers_of_keras()))


def test_the_table_has_every_layer_of_keras():
    known = {
        *convert_layers.WITH_WEIGHTS,
        *convert_layers.OF_OTHERS,
        *convert_layers.WITHOUT_WEIGHTS,
    }
    missing = set(convert_layers.layers_of_keras()) - known
    assert not missing, "Enter the new layers in benchmarks/convert_table.py"


def test_layers_without_weights_make_none():
    for name, cls in convert_layers.layers_of_keras().items():
        if name in convert_layers.WITHOUT_WEIGHTS and cls is not keras.layers.Layer:
            sources = [
                inspect.getsource(x)
                for x in cls.__mro__
                if x.__module__.startswith("keras.src.layers")
                and x.__module__ != keras.layers.Layer.__module__
            ]
            assert not any("self.add_weight(" in source for source in sources), name


@pytest.mark.parametrize("name", NAMES)
def test_a_layer_converts_and_equals_as_the_table_says(name):
    recorded = json.loads(RESULTS.read_text())["layers"][name]
    (found,) = convert_layers.table([name]).values()
    for kit, judged in found.items():
        told = recorded[kit]
        assert {**judged, "difference": 0} == {**told, "difference": 0}
        # None is refused, and what is drawn or kept is what it was.
        assert judged["difference"] <= convert_layers.TOLERANCE
        assert told["difference"] <= convert_layers.TOLERANCE
        # Those with a posterior over any variables keep norms, and what has no role.
        if kit != "mc_dropout" and judged["action"] == "kept":
            norm = name.endswith("Normalization")
            assert norm or name in (
                "AdditiveAttention",
                "Attention",
                "PReLU",
                "STFTSpectrogram",
            )
