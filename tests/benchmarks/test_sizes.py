"""Sizes of large networks: counted of networks that are never made."""

import pathlib

from tests.helpers.processes import run_python

FOLDER = pathlib.Path(__file__).parents[2] / "benchmarks"
# Two small networks in place of the large ones, by both ways of making them.
CODE = """
import sys
sys.path.insert(0, {folder!r})
import keras
import numpy as np
import sizes
import tfhyper
from tfhyper import models

small = dict(
    wide=sizes.Network(
        "wide",
        lambda kit: models.wide_resnet(
            10, 1, num_classes=10, input_shape=(16, 16, 3), kit=kit
        ),
        16,
        2,
    ),
    vit=sizes.Network(
        "vit", sizes._converted(lambda: sizes.vision_transformer(16, 8, 1, 2, 8)), 16, 2
    ),
)
sizes.NETWORKS.clear()
sizes.NETWORKS.update(small)
"""


def test_counts_are_those_of_made_networks():
    code = (
        CODE.format(folder=str(FOLDER))
        + """
import math
for key, network in small.items():
    for name, form in sizes.FORMS.items():
        if form.networks and key != "wide":
            continue
        counted = sizes.count(network, form)
        made = network.make(form.kit())
        numbers = sum(math.prod(v.shape) for v in made.trainable_variables)
        assert counted["trained"] == numbers, (key, name)
        if form.noise:
            made = tfhyper.Variational(made, sizes.EXAMPLES)
        made.compile(sizes.optimizer_of(form), "mse")
        made.optimizer.build(made.trainable_variables)
        # The curvature is a variable of the model.
        slots = sum(math.prod(v.shape) for v in made.trainable_variables) - numbers
        slots += sum(math.prod(v.shape) for v in made.optimizer.variables)
        # But for a few numbers, such as the count of the steps.
        assert 0 <= 4 * slots - counted["optimizer_bytes"] < 40, (key, name)
"""
    )
    run_python("-c", code, check=True)


def test_the_table_is_written(tmp_path):
    path = tmp_path / "sizes.json"
    code = (
        CODE.format(folder=str(FOLDER))
        + f"""
from absl import app
app.run(
    sizes.main,
    ["sizes", "--steps", "--rounds=1", "--warm_up=1", "--output={path}",
     "--forms=hyper,hyper_rank_1", "--most_gib=1"],
)
"""
    )
    said = run_python("-c", code, check=True).stdout
    assert "| vit | hypernetworks of rank 1 |" in said
    assert path.exists()
