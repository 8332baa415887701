"""Exported models where there is neither tfhyper nor Keras."""

import json
import os
import pathlib
import shutil
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

import tfhyper
from tests.helpers.export import IMAGES, assert_same, calibrated, run, small_network
from tests.helpers.processes import run_python
from tfhyper import export
from tfhyper.export.functions import FORMS

ROOT = pathlib.Path(tfhyper.__file__).parents[1]
NAMES = ["a", "b", "c", 'd "quoted"']


@pytest.fixture(scope="module")
def predictor():
    return calibrated(small_network("hyper"))


@pytest.fixture(scope="module")
def models(predictor, tmp_path_factory):
    """A folder with a model of each form, and images in two formats."""
    folder = tmp_path_factory.mktemp("models")
    for form in FORMS:
        export.saved_model(predictor, folder / form, form=form, class_names=NAMES)
    np.save(folder / "images.npy", IMAGES)
    IMAGES.tofile(folder / "images.raw")
    return folder


BLOCKED = """
import sys

for name in ("keras", "tf_keras", "tfhyper", "tensorflow_probability"):
    sys.modules[name] = None  # an import of it is an error
import numpy as np
import tensorflow as tf

images = np.load("images.npy")
found = {}
for form in ("generator", "materialized"):
    functions = tf.saved_model.load(form).signatures
    for name in ("serving_default", "members"):
        for key, value in functions[name](inputs=tf.constant(images)).items():
            found[form + "/" + key] = value.numpy()
    assert functions["metadata"]()["class_names"].shape == (4,)
np.savez("found.npz", **found)
"""


def test_in_a_process_without_keras_and_tfhyper(models, predictor):
    run_python("-c", BLOCKED, cwd=models, fresh=True, check=True)
    prediction = predictor.predict(IMAGES)
    with np.load(models / "found.npz") as file:
        found = dict(file)
    for form in FORMS:
        own = {k.split("/")[1]: v for k, v in found.items() if k.startswith(form)}
        members = own.pop("members").swapaxes(0, 1)
        np.testing.assert_allclose(members, prediction.members, atol=1e-5)
        assert_same(own, prediction)


CLI = "tensorflow.python.tools.saved_model_cli"


def test_the_command_line_tool_shows_the_signatures(models):
    words = ("show", "--dir=generator", "--all")
    process = run_python("-m", CLI, *words, cwd=models, check=True)
    for text in (
        "signature_def['serving_default']",
        "signature_def['members']",
        "signature_def['metadata']",
        "inputs['inputs'] tensor_info",
        "shape: (-1, 8, 8, 3)",
        "outputs['probabilities'] tensor_info",
        "shape: (-1, 4)",
    ):
        assert text in process.stdout


def test_the_command_line_tool_runs_it(models, predictor):
    arguments = ["--tag_set=serve", "--signature_def=serving_default", "--overwrite"]
    arguments += ["--dir=generator", "--inputs=inputs=images.npy", "--outdir=."]
    run_python("-m", CLI, "run", *arguments, cwd=models, check=True)
    names = ("probabilities", "class", "total", "aleatoric", "epistemic")
    found = {name: np.load(models / f"{name}.npy") for name in names}
    assert_same(found, predictor.predict(IMAGES))


def run_program(folder, *command):
    """Runs the program in a folder; returns its exit code and what it printed."""
    return subprocess.run(command, capture_output=True, text=True, cwd=folder)


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    """The program of examples/serve/cpp, compiled."""
    if shutil.which("g++") is None:
        pytest.skip("there is no g++ to compile the program with")
    library = pathlib.Path(tf.sysconfig.get_lib())
    if not (library / "libtensorflow_cc.so.2").exists():
        pytest.skip("this TensorFlow has no libtensorflow_cc.so.2 to link to")
    path = tmp_path_factory.mktemp("cpp") / "predict"
    script = ROOT / "examples" / "serve" / "cpp" / "build.sh"
    done = subprocess.run(
        ["bash", str(script), str(path)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHON": sys.executable, "CXXFLAGS": "-O0"},
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return str(path)


def printed(output):
    """Returns name -> array of what the program printed."""
    found = {}
    for line in output.splitlines():
        entry = json.loads(line)
        found[entry["name"]] = np.array(entry["values"]).reshape(entry["shape"])
    return found


@pytest.mark.parametrize("form", FORMS)
def test_in_cpp(form, program, models, predictor):
    inputs = ["inputs", "6,8,8,3", "images.raw"]
    process = run_program(models, program, form, "serving_default", *inputs)
    assert process.returncode == 0, process.stderr
    prediction = predictor.predict(IMAGES)
    assert_same(printed(process.stdout), prediction)
    process = run_program(models, program, form, "members", *inputs)
    members = printed(process.stdout)["members"].swapaxes(0, 1)
    np.testing.assert_allclose(members, prediction.members, atol=1e-5)


def test_cpp_reads_the_metadata(program, models):
    process = run_program(models, program, "generator", "metadata")
    assert process.returncode == 0, process.stderr
    found = printed(process.stdout)
    assert found["class_names"].tolist() == NAMES
    assert json.loads(found["metadata"].item())["num_draws"] == 3


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["nowhere", "members"], "Could not find SavedModel"),
        (["torn", "members"], "error: "),
        (["generator", "nothing"], "there is no signature nothing"),
        (["generator", "members", "x", "1", "images.raw"], "there is no input x"),
        (
            ["generator", "members", "inputs", "6,8,8,2", "images.raw"],
            "must hold 3072 bytes, and holds 4608",
        ),
        (
            ["generator", "members", "inputs", "6,8,4,6", "images.raw"],
            "is not compatible with expected shape",
        ),
    ],
    ids=["no-model", "torn", "no-signature", "no-input", "size", "shape"],
)
def test_cpp_refuses(arguments, message, program, models):
    tear(models)
    process = run_program(models, program, *arguments)
    assert process.returncode == 1, process.stderr
    assert message in process.stderr


def tear(models):
    """Makes a copy of a model whose graph is cut in the middle."""
    if not (models / "torn").exists():
        shutil.copytree(models / "generator", models / "torn")
        whole = (models / "torn" / "saved_model.pb").read_bytes()
        (models / "torn" / "saved_model.pb").write_bytes(whole[: len(whole) // 2])


def test_a_torn_graph_is_not_loaded(models):
    tear(models)
    with pytest.raises((OSError, tf.errors.OpError)):
        run(models / "torn", inputs=IMAGES)


def test_torn_variables_are_not_loaded(models, tmp_path):
    shutil.copytree(models / "generator", tmp_path / "torn")
    (path,) = (tmp_path / "torn" / "variables").glob("variables.data*")
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises((IndexError, OSError, tf.errors.OpError)):
        run(tmp_path / "torn", inputs=IMAGES)
