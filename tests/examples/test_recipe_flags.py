"""examples/train.py: what its flags make of a recipe, and folders of before."""

import json

import pytest

from tests.helpers.processes import run_python

CODE = """
import json
import numpy as np
import tfhyper
from absl import flags
from tfhyper.cli import flag_sets, report, train

flag_sets.define_train()

def say(*given):
    flags.FLAGS.unparse_flags()
    flags.FLAGS(["train.py", *given], known_only=False)
    settings = train.settings_of_flags()
    if "--network=resnet" in given:
        return {{"settings": settings}}
    data = report.load_data({{**settings, "train_examples": 64}})
    model = train.make_model(data, seed=3)
    gammas = [v for v in model.trainable_variables if v.name == "gamma"]
    chosen = train.recipe()
    learned = isinstance(model, tfhyper.Variational)
    return {{
        "settings": settings,
        "learned": learned,
        "roles": [] if learned else list(model.optimizer.no_decay_roles),
        "decay": (
            model.noise.weight_decay if learned else model.optimizer.coupled_decay
        ),
        "rate": float(model.optimizer.learning_rate),
        "gamma": float(np.mean([np.mean(v) for v in gammas])) if gammas else None,
        "least": float(min(x.numpy().min() for x, _ in data.epoch(0))),
        "recipe": chosen and chosen.describe(),
    }}

cases = json.loads({cases!r})
print("FOUND" + json.dumps({{name: say(*given) for name, given in cases.items()}}))
"""
CASES = {
    "auto": [],
    "paper": ["--nolearned_noise"],
    "deterministic": ["--kit=deterministic"],
    "other network": ["--network=resnet_cifar", "--depth=8", "--crops"],
    "before": ["--recipe=cifar", "--nodecay_generator"],
    "given": ["--learning_rate=0.05", "--weight_decay=0.25", "--batch_size=32"],
    "lenet": ["--network=lenet5", "--kit=bayes"],
    "named": ["--network=lenet5", "--kit=bayes", "--recipe=bayesian-cnn-code"],
    "imagenet": ["--network=resnet", "--dataset=imagenet2012", "--data_dir=somewhere"],
}
# settings.json of a training with default flags, before recipes held more than rates.
BEFORE = {
    "dataset": "fashion_mnist_small",
    "data_dir": None,
    "download": False,
    "train_examples": None,
    "test_examples": None,
    "image_size": None,
    "color_jitter": 0.0,
    "epochs": 20,
    "batch_size": 128,
    "learning_rate": 0.1,
    "seed": 0,
    "mixed_precision": "none",
    "weight_sets": 1,
    "per_replica_draws": False,
    "batch_norm": "synchronized",
    "network": "wide_resnet",
    "depth": None,
    "width": None,
    "dropout": None,
    "network_options": "",
    "kit": "hyper",
    "code_strategy": "all_in_one",
    "prior": "uniform",
    "code_units": 32,
    "hidden_units": 32,
    "mean_kernel": True,
    "deviation_scale": 0.3,
    "recipe": "cifar",
    "weight_decay": None,
    "decay_generator": False,
}


@pytest.fixture(scope="module")
def found():
    code = CODE.format(cases=json.dumps(CASES))
    (line,) = (
        line
        for line in run_python("-c", code, check=True).stdout.splitlines()
        if line.startswith("FOUND")
    )
    return json.loads(line.removeprefix("FOUND"))


def test_a_training_of_before_goes_on_with_its_flags(found):
    assert found["before"]["settings"] == BEFORE
    assert set(found["before"]["roles"]) == {"posterior", "generator"}
    assert found["before"]["gamma"] == 1
    assert found["before"]["recipe"] is None


def changed(settings):
    """Returns what differs from a folder of before."""
    return {
        name: value
        for name, value in settings.items()
        if name not in BEFORE or value != BEFORE[name]
    }


OF_RECIPES = {
    "recipe": "wrn-embedded",
    "decay_generator": True,
    "learning_rate": None,
    "augment": True,
    "crop_padding": "none",
    "mean": None,
    "std": None,
    "resize_method": "bilinear",
    "train_split": None,
}


def test_the_default_is_the_recipe_of_the_network_and_the_data(found):
    auto = found["auto"]
    assert auto["learned"]
    assert (auto["decay"], auto["rate"]) == (5e-4, pytest.approx(0.5))
    assert auto["gamma"] == 1
    assert changed(auto["settings"]) == {
        **OF_RECIPES,
        "learned_noise": True,
        "temperature": 1.0,
        "generator_noise": False,
        "validation_examples": 1000,
    }
    assert "nothing is known" not in auto["recipe"]


def test_the_papers_form_is_one_flag_away(found):
    paper = found["paper"]
    assert (paper["learned"], paper["roles"]) == (False, ["posterior"])
    assert (paper["decay"], paper["rate"]) == (5e-4, pytest.approx(0.1))
    assert changed(paper["settings"]) == OF_RECIPES


def test_noise_is_learned_by_default_for_hypernetworks_of_that_recipe_alone(found):
    plain = found["deterministic"]
    assert not plain["learned"]
    assert changed(plain["settings"]) == {**OF_RECIPES, "kit": "deterministic"}
    other = found["other network"]
    assert not other["learned"]
    assert 0.4 < other["gamma"] < 0.6
    assert changed(other["settings"]) == {
        **OF_RECIPES,
        "network": "resnet_cifar",
        "depth": 8,
        "recipe": "wrn-cifar10",
        "crop_padding": "reflect",
    }
    said = "as nothing is known of resnet_cifar on fashion_mnist_small"
    assert said in other["recipe"]


def test_flags_take_the_place_of_the_recipes_numbers(found):
    given = found["given"]
    assert (given["decay"], given["rate"]) == (0.25, pytest.approx(0.05))
    assert given["settings"]["batch_size"] == 32


def test_other_networks_have_other_recipes(found):
    # Divided by 255, and nothing else.
    for name, decay in (("lenet", 5e-4), ("named", 0)):
        assert found[name]["settings"]["batch_size"] == 256
        assert (found[name]["least"], found[name]["decay"]) == (0, decay)
        assert found[name]["rate"] == pytest.approx(1e-3)
    assert found["named"]["settings"]["recipe"] == "bayesian-cnn-code"
    settings = found["imagenet"]["settings"]
    assert (settings["color_jitter"], settings["batch_size"]) == (0.4, 256)
    assert settings["resize_method"] == "bicubic"
