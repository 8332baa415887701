"""The flags that choose a network: arguments for any of them, errors as messages."""

import json
import pathlib

import tfhyper
from tests.helpers.processes import run_python

ROOT = pathlib.Path(__file__).parents[2]
# Flags -> arguments of the network, or a part of the message.
CASES = [
    ("", {"depth": 10, "width": 1}),
    ("--depth=28 --width=4 --dropout=0.3", {"depth": 28, "width": 4, "dropout": 0.3}),
    ("--network_options=dropout=0.3", {"depth": 10, "width": 1, "dropout": 0.3}),
    ("--network=resnext", {}),
    (
        "--network=resnext --depth=29 --network_options=cardinality=8,base_width=4",
        {"depth": 29, "cardinality": 8, "base_width": 4},
    ),
    (
        "--network=resnet50 --network_options=stage_blocks=(3,4,23,3),version=v1.5",
        {"stage_blocks": [3, 4, 23, 3], "version": "v1.5"},
    ),
    (
        "--network=pyramidnet --network_options=alpha=4.5,bottleneck=True",
        {"alpha": 4.5, "bottleneck": True},
    ),
    ("--network=lenet5 --network_options=activation=relu", {"activation": "relu"}),
    ("--network_options=depth", "must be name=value,name=value"),
    ("--network_options=depth=28,,width=4", "must be name=value,name=value"),
    ("--network_options=depth=", "must be name=value,name=value"),
    ("--network_options=depth=10,depth=16", "must be given once"),
    ("--depth=10 --network_options=depth=10", "must be given once"),
    ("--network=lenet5 --depth=10", "of lenet5 must be among ['activation'"),
    ("--network_options=alpha=48", "of wide_resnet must be among ['depth'"),
    ("--network_options=kit=hyper", "Received: kit"),
]
SCRIPT = """
import json, sys
from tfhyper.cli import flag_sets, network
FLAGS = network.FLAGS
flag_sets.define_network()
results = []
for text in json.load(sys.stdin):
    FLAGS.unparse_flags()
    for name in network.SETTINGS.split():
        FLAGS[name].unparse()
    FLAGS(["test", *text.split()])
    try:
        results.append(network.network_options())
    except ValueError as error:
        results.append(str(error))
print(json.dumps(results))
"""


def test_flags_become_arguments_or_a_message():
    given = json.dumps([text for text, _ in CASES])
    process = run_python("-c", SCRIPT, input=given, check=True)
    results = json.loads(process.stdout)
    for (text, expected), found in zip(CASES, results, strict=True):
        if isinstance(expected, str):
            assert expected in found, text
        else:
            assert found == expected, text


def test_training_of_a_network_with_options(tmp_path):
    flags = ["--network=pyramidnet", "--depth=8", "--network_options=alpha=3"]
    flags += ["--train_examples=128", "--test_examples=20", "--epochs=1", "--draws=1"]
    script = str(ROOT / "examples" / "train.py")
    process = run_python(script, "--kit=deterministic", f"--workdir={tmp_path}", *flags)
    assert process.returncode == 0, process.stderr
    model = tfhyper.PosteriorPredictor.load(tmp_path / "predictor.tfhyper").model
    assert model.name == "pyramidnet_8_3"


def test_what_the_network_refuses_ends_with_a_message(tmp_path):
    flags = ["--network=resnext", "--network_options=depth=30"]
    script = str(ROOT / "examples" / "train.py")
    process = run_python(script, f"--workdir={tmp_path / 'new'}", *flags)
    assert process.returncode != 0
    assert "`depth` must be 9 n + 2" in process.stderr
    assert "Traceback" not in process.stderr
    assert not (tmp_path / "new").exists()
