"""Models that make numbers of text and categories, as files that stand alone."""

import json
import os

import keras
import numpy as np
import pytest

from tests.helpers.processes import run_python
from tfhyper import PosteriorPredictor, export, layers

tf = pytest.importorskip("tensorflow")

WORDS = np.array(["a b", "f e d", "zzz", "b b a c"])
LETTERS = np.array([["a"], ["b"], ["q"]])
NUMBERS = np.array([[1], [20], [3]])
FLOATS = np.array([[-1.0, 0.5], [0.0, 3.0], [1.0, 1.0]], "float32")


@keras.saving.register_keras_serializable("text_and_tables")
class OwnTable(keras.layers.Layer):
    """A table of TensorFlow that a layer has."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        keys, values = tf.constant(["a", "b"]), tf.constant([0.5, -2.0])
        initializer = tf.lookup.KeyValueTensorInitializer(keys, values)
        self.table = tf.lookup.StaticHashTable(initializer, 7.0)

    def call(self, inputs):
        return self.table.lookup(inputs)

    def compute_output_spec(self, inputs):
        return keras.KerasTensor(inputs.shape, "float32")


def of_one(layer, shape, dtype, data):
    inputs = keras.Input(shape, dtype=dtype)
    return inputs, layer(inputs), {"inputs": data}


def text(_):
    layer = keras.layers.TextVectorization(output_sequence_length=5)
    layer.adapt(["a b c", "d e f"])
    inputs, x, data = of_one(layer, (), "string", WORDS)
    x = keras.layers.Embedding(layer.vocabulary_size(), 4)(x)
    return inputs, keras.layers.GlobalAveragePooling1D()(x), data


def vocabulary_file(folder):
    path = folder / "words.txt"
    path.write_text("a\nb\n")
    layer = keras.layers.StringLookup(vocabulary=str(path), output_mode="one_hot")
    return of_one(layer, (1,), "string", LETTERS)


def crossing(_):
    inputs = [
        keras.Input((1,), dtype="string", name="letter"),
        keras.Input((1,), dtype="int64", name="number"),
    ]
    x = keras.layers.HashedCrossing(5, output_mode="one_hot")(inputs)
    return inputs, x, {"letter": LETTERS, "number": NUMBERS}


def normalized(_):
    layer = keras.layers.Normalization()
    layer.adapt(FLOATS)
    return of_one(layer, (2,), "float32", FLOATS)


ONE_HOT = {"output_mode": "one_hot"}
MODELS = {
    "TextVectorization": text,
    "StringLookup": lambda _: of_one(
        keras.layers.StringLookup(vocabulary=["a", "b"], **ONE_HOT),
        *((1,), "string", LETTERS),
    ),
    "vocabulary_file": vocabulary_file,
    "IntegerLookup": lambda _: of_one(
        keras.layers.IntegerLookup(vocabulary=[20, 3], **ONE_HOT),
        *((1,), "int64", NUMBERS),
    ),
    "Hashing": lambda _: of_one(
        keras.layers.Hashing(4, **ONE_HOT), (1,), "string", LETTERS
    ),
    "HashedCrossing": crossing,
    "CategoryEncoding": lambda _: of_one(
        keras.layers.CategoryEncoding(21, **ONE_HOT), (1,), "int64", NUMBERS
    ),
    "Discretization": lambda _: of_one(
        keras.layers.Discretization([0.0, 1.0], output_mode="multi_hot"),
        *((2,), "float32", FLOATS),
    ),
    "Normalization": normalized,
    "OwnTable": lambda _: of_one(OwnTable(), (1,), "string", LETTERS),
}
# The inputs as they are in JSON; a process without Keras.
CHILD = """
import json, sys
import tensorflow as tf
for name in ("keras", "tfhyper"):
    sys.modules[name] = None  # an import of it is an error
results = {}
for path, named in json.load(sys.stdin).items():
    serve = tf.saved_model.load(path).signatures["serving_default"]
    specs = serve.structured_input_signature[1]
    tensors = {k: tf.constant(v, specs[k].dtype) for k, v in named.items()}
    results[path] = serve(**tensors)["probabilities"].numpy().tolist()
print("RESULTS" + json.dumps(results))
"""


def predictor_of(inputs, x):
    outputs = layers.BayesDense(3, seed=1, kl_weight=0.1)(x)
    model = keras.Model(inputs, outputs)
    return PosteriorPredictor(model, 3, outputs="logits", seed=2)


def test_files_give_what_the_predictor_gives_in_a_process_without_keras(tmp_path):
    keras.utils.set_random_seed(0)
    expected, sent = {}, {}
    for name, build in MODELS.items():
        inputs, x, data = build(tmp_path)
        predictor = predictor_of(inputs, x)
        given = list(data.values())
        found = predictor.predict(given if len(given) > 1 else given[0])
        path = str(tmp_path / "files" / name / "1")
        export.saved_model(predictor, path)
        expected[path] = found.mean
        sent[path] = {key: value.tolist() for key, value in data.items()}
        assert np.ptp(found.mean, axis=0).max() > 1e-3, name
    # Nothing outside of the files is read.
    os.remove(tmp_path / "words.txt")
    done = run_python("-c", CHILD, input=json.dumps(sent), fresh=True, check=True)
    (line,) = [x for x in done.stdout.splitlines() if x.startswith("RESULTS")]
    results = json.loads(line.removeprefix("RESULTS"))
    assert results.keys() == expected.keys() and len(results) == len(MODELS)
    for path, probs in results.items():
        np.testing.assert_allclose(probs, expected[path], atol=1e-6, err_msg=path)


def test_a_files_table_is_the_one_of_the_layer(tmp_path):
    """Against NumPy: softmax of a value of the table times the kernel's draws."""
    predictor = predictor_of(*of_one(OwnTable(), (1,), "string", LETTERS)[:2])
    export.saved_model(predictor, tmp_path / "it")
    serve = tf.saved_model.load(tmp_path / "it").signatures["members"]
    members = serve(inputs=tf.constant(LETTERS))["members"].numpy()
    layer = predictor.model.layers[-1]
    values = np.array([[0.5], [-2.0], [7.0]])
    for i, draw in enumerate(predictor.draws):
        kernel, bias = layer.point_weights(draw.noise[layer.name])
        logits = values @ np.float64(kernel) + np.float64(bias)
        probs = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
        np.testing.assert_allclose(members[:, i], probs, atol=1e-6)


TABLES_OF_NO_LAYER = []


@keras.saving.register_keras_serializable("text_and_tables")
class SomeonesTable(OwnTable):
    def __init__(self, **kwargs):
        keras.layers.Layer.__init__(self, **kwargs)

    def call(self, inputs):
        if not TABLES_OF_NO_LAYER:
            TABLES_OF_NO_LAYER.append(OwnTable().table)
        return TABLES_OF_NO_LAYER[0].lookup(inputs)


@keras.saving.register_keras_serializable("text_and_tables")
class InPython(keras.layers.Layer):
    def call(self, inputs):
        outputs = tf.numpy_function(lambda x: 2 * x, [inputs], tf.float32)
        return tf.ensure_shape(outputs, inputs.shape)

    def compute_output_spec(self, inputs):
        return keras.KerasTensor(inputs.shape, inputs.dtype)


@pytest.mark.parametrize(
    "layer, dtype, rule",
    [
        (SomeonesTable(), "string", "reads a resource of no layer"),
        (InPython(), "float32", "model with .*PyFunc"),
    ],
)
def test_what_no_file_can_hold_is_refused_before_anything_is_written(
    layer, dtype, rule, tmp_path
):
    TABLES_OF_NO_LAYER[:] = [OwnTable().table]
    predictor = predictor_of(*of_one(layer, (1,), dtype, None)[:2])
    with pytest.raises(ValueError, match=f"`predictor` must have.*{rule}"):
        export.saved_model(predictor, tmp_path / "folder" / "1")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("name", ["onnx", "litert", "openvino"])
@pytest.mark.parametrize("model", ["TextVectorization", "IntegerLookup", "Hashing"])
def test_other_runtimes_refuse_text_and_tables(name, model, tmp_path):
    package = {"onnx": "tf2onnx", "litert": "ai_edge_litert", "openvino": "openvino"}
    pytest.importorskip(package[name])
    predictor = predictor_of(*MODELS[model](tmp_path)[:2])
    suffix = {"onnx": ".onnx", "litert": ".tflite", "openvino": ""}[name]
    with pytest.raises(ValueError, match="no text and no look-up tables.*Lookup|Hash"):
        getattr(export, name)(predictor, tmp_path / "new" / f"it{suffix}")
    assert not (tmp_path / "new").exists()
