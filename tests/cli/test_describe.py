"""What a file holds is told without running any of it."""

import json
import pathlib
import zipfile

import keras
import numpy as np
import pytest

import tfhyper
from tfhyper.cli.describe import describe
from tfhyper.cli.info import installed, lines

BEFORE = pathlib.Path(__file__).parents[1] / "files_of_before"


def count(model):
    """Returns how many real numbers a model has: counters of draws are whole."""
    return sum(
        int(np.prod(weight.shape))
        for weight in model.weights
        if "float" in weight.dtype
    )


def test_a_predictor_of_before_is_described_as_it_loads():
    path = str(BEFORE / "predictor.tfhyper")
    found, predictor = describe(path), tfhyper.PosteriorPredictor.load(path)
    assert found["kind"] == "tfhyper predictor 1"
    assert found["task"] == predictor.outputs
    assert found["draws"]["count"] == len(predictor.draws)
    noise = {name: list(z.shape) for name, z in predictor.draws[0].noise.items()}
    assert found["draws"]["noise"] == noise
    assert found["draws"]["batch_norm_moments"] == len(predictor.draws[0].moments)
    (model,) = found["models"]
    assert model["parameters"] == count(predictor.model)
    assert list(model["inputs"].values()) == [[None, 6, 6, 2]]
    assert model["layers"]["tfhyper>HyperConv2D"] == 1
    assert found["settings"]["rejection"]["score"] == "total"
    assert "  parameters: 310" in lines(found)
    assert json.loads(json.dumps(found)) == found


def test_an_ensemble_has_all_its_models():
    found = describe(str(BEFORE / "ensemble.tfhyper"))
    assert found["kind"] == "tfhyper deep ensemble 1"
    assert len(found["models"]) == 2 and found["draws"]["count"] == 4


def test_code_in_a_model_is_named_and_not_run(tmp_path):
    inner = keras.Sequential([keras.Input((5, 3)), keras.layers.Dense(2)])
    wrapped = keras.layers.TimeDistributed(keras.layers.Dense(4))
    model = keras.Sequential(
        [
            keras.Input((5, 3)),
            wrapped,
            keras.layers.Dense(3),
            keras.layers.Lambda(lambda x: 1 / 0 if x is None else x),
            inner,
        ]
    )
    path = str(tmp_path / "code.keras")
    model.save(path)
    with pytest.raises(ValueError, match="holds no code"):
        tfhyper.saving.load_model(path)
    found = describe(path)
    assert found["layers"]["Lambda"] == 1 and found["layers"]["Dense"] == 3
    assert found["parameters"] == count(model)
    assert found["posterior"] == []


def test_what_is_no_such_file_is_refused(tmp_path):
    torn = tmp_path / "torn.tfhyper"
    torn.write_bytes((BEFORE / "predictor.tfhyper").read_bytes()[:-100])
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("a.txt", "a")
    bomb = tmp_path / "bomb.keras"
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("config.json", b" " * 2**24)
    pickled = tmp_path / "pickled.tfhyper"
    np.savez(tmp_path / "draws.npz", **{"0/noise/z": np.array([{}], object)})
    with zipfile.ZipFile(pickled, "w") as archive:
        archive.writestr("settings.json", '{"format": "tfhyper predictor 1"}')
        archive.write(tmp_path / "draws.npz", "draws.npz")
    for path, why in (
        (torn, "not a whole zip file"),
        (tmp_path / "other.zip", "something else"),
        (bomb, "would unpack"),
        (pickled, "not numbers: allow_pickle is off"),
        (tmp_path, "has no saved_model.pb"),
    ):
        with pytest.raises(ValueError, match=f"FILE must be.*{why}"):
            describe(str(path))


def test_a_saved_model_of_another_program_shows_its_signatures(tmp_path):
    tf = pytest.importorskip("tensorflow")
    module = tf.Module()
    module.double = tf.function(
        lambda x: {"twice": 2 * x},
        input_signature=[tf.TensorSpec((None, 3), tf.float32, name="x")],
    )
    path = str(tmp_path / "saved")
    tf.saved_model.save(module, path, signatures=module.double)
    found = describe(path)["signatures"]["serving_default"]
    assert found == {"inputs": {"x": [-1, 3]}, "outputs": {"twice": [-1, 3]}}


def test_versions_are_those_of_the_environment():
    found = installed()
    assert found["tfhyper"] == tfhyper.__version__
    assert found["packages"]["keras"] == keras.__version__
    assert keras.backend.backend() in found["backends"]
