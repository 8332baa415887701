"""Every architecture is in the table of models that `convert` draws, and as it says."""

import json
import pathlib
import sys

import keras
import pytest

ROOT = pathlib.Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "benchmarks"))

import convert_hub  # noqa: E402
import convert_judged  # noqa: E402
import convert_layers  # noqa: E402

RESULTS = ROOT / "benchmarks" / "results" / "convert_models.json"
RECORDED = json.loads(RESULTS.read_text())["models"]
# Whose layers have another config than they are made of, in KerasHub 0.32, or none that
# the kit takes.
NOT_DRAWN = {
    "KerasHub DeiT": ("bayes", "hyper", "mc_dropout"),
    "KerasHub Gemma": ("mc_dropout",),
    "KerasHub Gemma, language model": ("mc_dropout",),
    "KerasHub ViT": ("mc_dropout",),
}


def test_the_table_has_every_architecture():
    known = {x for x in dir(keras.applications) if x[0].isupper()}
    missing = (known | set(convert_hub.MODELS)) - set(RECORDED)
    assert not missing, "Run benchmarks/convert_models.py --whole"
    whole = {name for name, one in RECORDED.items() if "whole" in one}
    assert whole <= set(convert_judged.WHOLE) and len(whole) >= 10


@pytest.mark.parametrize("name", sorted(RECORDED))
def test_each_is_what_it_was(name):
    for kit in convert_layers.KITS:
        judged = RECORDED[name][kit]
        if kit in NOT_DRAWN.get(name, ()):
            assert "must have layers to convert" in judged["error"]
        else:
            assert judged["difference"] <= convert_layers.TOLERANCE
            assert judged["replaced"] + judged["wrapped"] > 0
    if whole := RECORDED[name].get("whole"):
        assert 0 < whole["kl"] < whole["loss"] < float("inf")
        assert max(whole["loaded"], whole["exported"]) < 1e-4


@pytest.mark.parametrize(
    "name",
    [
        "MobileNet",
        pytest.param("KerasHub ViT, image classifier", id="vit"),
        pytest.param("KerasHub MobileNet", id="hub_mobilenet"),
        pytest.param("KerasHub BERT, text classifier", id="bert"),
        pytest.param("KerasHub Gemma, language model", id="gemma"),
    ],
)
def test_a_model_converts_and_equals_as_the_table_says(name):
    if name.startswith("KerasHub"):
        pytest.importorskip("keras_hub")
    row = convert_judged.rows()[name]
    model, inputs = convert_judged.make_model(row), row.inputs()
    judged = convert_judged.judge(model, inputs, "bayes")
    recorded = RECORDED[name]["bayes"]
    assert judged["difference"] <= convert_layers.TOLERANCE
    assert {**judged, "difference": 0} == {**recorded, "difference": 0}
    assert RECORDED[name]["parameters"] == model.count_params()
