"""examples/train.py with every kit."""

from tests.helpers.processes import run_python

CODE = """
from absl import flags
from tfhyper.cli import flag_sets, train
from tfhyper import kits, training
from tfhyper.layers import variational_layers

flag_sets.define_train()
data = type("Data", (), dict(
    num_train=100, steps_per_epoch=1, batch_size=64,
    spec=type("Spec", (), dict(num_classes=4, image_shape=(8, 8, 3))),
))
for name in kits.KITS:
    flags.FLAGS(["train.py", f"--kit={name}"])
    model = train.make_model(data, seed=3)
    assert bool(train.make_callbacks()) == bool(variational_layers(model)), name
    print(name, model.count_params())
"""


def test_every_kit_makes_a_network():
    ran = run_python("-c", CODE, check=True)
    assert len(ran.stdout.split()) >= 14
