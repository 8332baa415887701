"""The script that exports, on folders as trainings leave them."""

import json
import pathlib

import keras
import numpy as np
import pytest

import tfhyper
from tests.helpers.export import assert_same, run
from tests.helpers.processes import run_python
from tfhyper.data import DATASETS

ROOT = pathlib.Path(__file__).parents[2]
SPEC = DATASETS["fashion_mnist_small"]


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    """A folder as `examples/train.py` leaves it, without the training."""
    folder = tmp_path_factory.mktemp("runs") / "train"
    folder.mkdir()
    images = tfhyper.data.load_arrays("fashion_mnist_small")[0][0][:64]
    model = tfhyper.models.wide_resnet(10, 1, input_shape=(28, 28, 1))
    predictor = tfhyper.PosteriorPredictor(model, 2)
    predictor.calibrate(images, verbose=0)
    predictor.save(folder / "predictor.tfhyper")
    settings = {
        "dataset": "fashion_mnist_small",
        "data_dir": None,
        "download": False,
        "batch_size": 16,
        "train_examples": 64,
        "test_examples": 16,
        "seed": 0,
    }
    (folder / "settings.json").write_text(json.dumps(settings))
    return folder


def run_script(*flags):
    return run_python(ROOT / "examples" / "export_model.py", *flags)


def test_it_takes_images_of_bytes_and_names_the_classes(workdir):
    process = run_script(f"--workdir={workdir}", "--sampling", "--sampling_examples=32")
    assert process.returncode == 0, process.stderr
    path = workdir / "saved_model" / "1"
    assert f"written: {path}, 2 draws" in process.stdout
    predictor = tfhyper.PosteriorPredictor.load(workdir / "predictor.tfhyper")
    images = np.random.default_rng(0).integers(0, 256, (3, 28, 28, 1), dtype="uint8")
    normalised = ((images / 255 - SPEC.mean) / SPEC.std).astype("float32")
    assert_same(run(path, inputs=images), predictor.predict(normalised))
    names = run(path, "metadata")["class_names"]
    assert [name.decode() for name in names] == list(SPEC.class_names)
    sampled = run(path, "sample", inputs=images, seed=np.int32(1))
    assert sampled["members"].shape == (3, 2, 10)

    process = run_script(f"--workdir={workdir}", "--form=materialized")
    assert process.returncode != 0
    assert "`path` must be free" in process.stderr
    assert "Traceback" not in process.stderr


def test_other_formats_report_their_scores(workdir):
    pytest.importorskip("ai_edge_litert", reason="LiteRT is not installed")
    from ai_edge_litert.interpreter import Interpreter

    process = run_script(f"--workdir={workdir}", "--format=litert", "--weights=float16")
    assert process.returncode == 0, process.stderr
    assert "16 examples" in process.stdout
    assert "  predictor: error" in process.stdout
    images = np.zeros((2, 28, 28, 1), "uint8")
    runner = Interpreter(str(workdir / "model.tflite")).get_signature_runner()
    assert runner(inputs=images)["members"].shape == (2, 2, 10)

    process = run_script(f"--workdir={workdir}", "--format=onnx", "--sampling")
    assert process.returncode != 0
    assert "error: --form=generator and --sampling are for" in process.stderr


def test_bad_flags_end_with_a_message(tmp_path, workdir):
    process = run_script(f"--workdir={tmp_path}")
    assert process.returncode != 0
    assert "--workdir must be a folder in which a training left" in process.stderr
    process = run_script(f"--workdir={workdir}", "--sampling_examples=0")
    assert process.returncode != 0
    assert "--sampling_examples must be positive" in process.stderr


def test_the_file_of_a_predictor_of_another_kind_is_exported(tmp_path):
    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 4)).astype("float32")
    y = (x[:, 0] > 0).astype(int)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss)
    predictor = tfhyper.Laplace(model).fit(x, y, verbose=0).predictor(num_draws=3)
    path, output = tmp_path / "laplace.tfhyper", tmp_path / "model" / "1"
    predictor.save(path)
    flags = [f"--predictor={path}", "--nobytes"]
    process = run_script(*flags, f"--output={output}")
    assert process.returncode == 0, process.stderr
    assert_same(run(output, inputs=x[:5]), predictor.predict(x[:5]))
    refused = run_script(*flags)
    assert refused.returncode == 1
    assert "--output must be given with --predictor" in refused.stderr
    model.save(tmp_path / "model.keras")
    refused = run_script(
        f"--predictor={tmp_path / 'model.keras'}", "--nobytes", f"--output={output}"
    )
    assert refused.returncode == 1
    assert "must be the file of a predictor" in refused.stderr
