"""IVON on two replicas: the curvature is the mean of products, not the reverse."""

import pytest

from tests.helpers.processes import run_python

pytest.importorskip("tensorflow")

SCRIPT = """
import os
import sys

import tensorflow as tf

(cpu,) = tf.config.list_physical_devices("CPU")
two = [tf.config.LogicalDeviceConfiguration()] * 2
tf.config.set_logical_device_configuration(cpu, two)

sys.path.insert(0, os.getcwd())
from tests.helpers.ivon import check_two_replicas

check_two_replicas(1e-5)
"""


def test_steps_are_those_of_the_equations():
    run_python("-c", SCRIPT, check=True)
