"""Training on several devices of JAX by `keras.distribution`: what one device gives."""

import pathlib

import numpy as np
import pytest

from tests.helpers.processes import run_python

SCRIPT = pathlib.Path(__file__).with_name("jax_devices.py")
NETWORKS = ("bayes", "flipout", "paper", "mc_dropout", "mnf", "hyper")

pytest.importorskip("jax")


def trained(folder, networks, devices, model_devices=1):
    path = folder / f"{devices}_{model_devices}.npz"
    run_python(SCRIPT, path, devices, model_devices, *networks, fresh=True, check=True)
    return dict(np.load(path))


def assert_equal(found, expected, atol):
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, atol=atol, err_msg=name)


@pytest.fixture(scope="module")
def one_device(tmp_path_factory):
    return trained(tmp_path_factory.mktemp("one"), NETWORKS, 1)


@pytest.mark.parametrize("devices", [2, 4])
def test_a_batch_over_devices(one_device, tmp_path, devices):
    # Sums over a batch are of another order: four steps of float32.
    assert_equal(trained(tmp_path, NETWORKS, devices), one_device, 1e-5)


@pytest.mark.parametrize("devices, parts", [(2, 2), (4, 2), (4, 4)])
def test_a_generator_in_parts(one_device, tmp_path, devices, parts):
    expected = {k: v for k, v in one_device.items() if k.startswith("paper/")}
    assert_equal(trained(tmp_path, ["paper"], devices, parts), expected, 1e-5)
