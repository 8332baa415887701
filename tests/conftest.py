"""Every test starts from the same random state, in whatever order they run."""

import keras
import pytest


@pytest.fixture(autouse=True)
def fixed_seed():
    keras.utils.set_random_seed(1234)
