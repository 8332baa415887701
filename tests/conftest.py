"""What every test has: a random state, quick garbage collection; which tests run."""

import gc

import keras
import pytest

from tests.helpers import everyday
from tests.helpers.processes import keep_imports

keep_imports()


def pytest_addoption(parser):
    """Adds what chooses tests by the time that they take, see `helpers.everyday`."""
    group = parser.getgroup("time")
    which = {"action": "store_true", "default": False}
    group.addoption("--everyday", help="Run the tests of every day.", **which)
    group.addoption("--rest", help="Run what --everyday leaves out.", **which)
    group.addoption("--measure", help="Write tests/durations.json.", **which)


def pytest_configure(config):
    """Starts measuring: where tests run, and in the process that hears of all."""
    if config.getoption("--measure"):
        config.pluginmanager.register(everyday.Timed())
        if not hasattr(config, "workerinput"):
            config.pluginmanager.register(everyday.Measure())


def pytest_collection_modifyitems(config, items):
    """Chooses tests."""
    everyday.select(config, items)


@pytest.fixture(scope="module", autouse=True)
def models_are_let_go():
    """The networks of a file, which are circles, go with it."""
    yield
    gc.collect()


@pytest.fixture(autouse=True)
def fixed_seed():
    """Every test starts from the same state, in whatever order they run."""
    keras.utils.set_random_seed(1234)
