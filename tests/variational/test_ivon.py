"""The update of IVON against its equations, on every backend."""

import importlib.util

import pytest

from tests.helpers.ivon import check_steps
from tests.helpers.processes import run_python

# Means, curvature and momentum against float64: relative to 1, of some steps.
TOLERANCE = 1e-6

# What a process of any backend runs, and this one.
SCRIPT = """
import os
import sys

import keras
import numpy as np

sys.path.insert(0, os.getcwd())
from tests.helpers.ivon import check_steps

assert keras.backend.backend() == sys.argv[1]
check_steps(float(sys.argv[2]))
"""


def test_steps_are_those_of_the_equations():
    check_steps(TOLERANCE)


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_steps_are_those_of_the_equations_on_other_backends(backend):
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    env = {"KERAS_BACKEND": backend}
    run_python("-c", SCRIPT, backend, TOLERANCE, env=env, fresh=True, check=True)
