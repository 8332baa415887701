"""What every test has: a random state, quick collections of garbage."""

import gc

import keras
import pytest

from tests.helpers.processes import keep_imports

keep_imports()


@pytest.fixture(scope="module", autouse=True)
def models_are_let_go():
    """The networks of a file, which are circles, go with it."""
    yield
    gc.collect()


@pytest.fixture(autouse=True)
def fixed_seed():
    """Every test starts from the same state, in whatever order they run."""
    keras.utils.set_random_seed(1234)
