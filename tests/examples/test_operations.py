"""What a SavedModel may be made of: predictors compute, and do nothing else."""

import pathlib
import sys

import keras
import numpy as np
import pytest

tf = pytest.importorskip("tensorflow")

import tfhyper  # noqa: E402
from tests.helpers.export import ROWS, dense_network  # noqa: E402

SERVE = pathlib.Path(__file__).parents[2] / "examples" / "serve"
sys.path.append(str(SERVE))
sys.path.append(str(SERVE / "page"))
from local_model import LocalModel  # noqa: E402
from operations import (  # noqa: E402
    ALLOWED,
    CHECKPOINTS,
    check_operations,
)


def test_the_list_names_operations_of_tensorflow():
    known = set(dir(tf.raw_ops))
    # Those of the graph alone have no function.
    alone = {"Placeholder", "PlaceholderWithDefault"}
    assert (ALLOWED | CHECKPOINTS) - known - alone == set()
    assert len(ALLOWED) > 350


@pytest.mark.parametrize("kit", ["hyper", "bayes", "mc_dropout"])
def test_predictors_are_made_of_them(tmp_path, kit):
    model = dense_network(kit)
    predictor = tfhyper.PosteriorPredictor(model, 2)
    path = tmp_path / kit / "1"
    tfhyper.export.saved_model(predictor, path, sampling=True)
    check_operations(str(path))
    found = LocalModel(str(path))
    assert found.name == kit and ROWS.shape[1] == 3


def layers_of_many_kinds():
    layers = keras.layers
    inputs = keras.Input((8, 8, 3))
    x = layers.SeparableConv2D(4, 3, activation="gelu")(inputs)
    x = layers.Conv2DTranspose(4, 3, activation="silu")(x)
    x = layers.UpSampling2D(interpolation="bilinear")(x)
    x = layers.GroupNormalization(2)(layers.Conv2D(4, 3, groups=2)(x))
    x = layers.AveragePooling2D(2)(layers.MaxPooling2D()(layers.PReLU()(x)))
    x = layers.Resizing(2, 2)(layers.LayerNormalization()(x))
    yield keras.Model(inputs, layers.Dense(3)(layers.Flatten()(x)))
    inputs = keras.Input((6,), dtype="int32")
    x = layers.Embedding(9, 4, mask_zero=True)(inputs)
    x = layers.Bidirectional(layers.LSTM(3, return_sequences=True))(x)
    x = layers.GRU(3, return_sequences=True)(layers.MultiHeadAttention(2, 3)(x, x))
    yield keras.Model(inputs, layers.Dense(3)(layers.GlobalAveragePooling1D()(x)))


@pytest.mark.parametrize("index", range(2))
def test_networks_of_many_layers_are_made_of_them(tmp_path, index):
    model = list(layers_of_many_kinds())[index]
    predictor = tfhyper.PosteriorPredictor(model, 1)
    tfhyper.export.saved_model(predictor, tmp_path / "many")
    check_operations(str(tmp_path / "many"))


def test_vocabularies_in_the_graph_are_made_of_them(tmp_path):
    keys = tf.constant(["a", "b"])
    values = tf.constant([1, 2], tf.int64)
    initializer = tf.lookup.KeyValueTensorInitializer(keys, values)
    module = tf.Module()
    module.table = tf.lookup.StaticHashTable(initializer, 0)
    save(module, lambda x: module.table.lookup(tf.strings.as_string(x)), tmp_path)
    check_operations(str(tmp_path))


def save(module, function, path):
    module.serve = tf.function(
        lambda inputs: {"inputs": inputs, "found": function(inputs)},
        input_signature=[tf.TensorSpec((None, 2), tf.float32, name="inputs")],
    )
    tf.saved_model.save(module, str(path), signatures=module.serve)


def write(x):
    with tf.control_dependencies([tf.io.write_file("/nowhere/x", "x")]):
        return tf.identity(x)


def read_in_a_loop(x):
    def read(i, text):
        return i + 1, tf.io.read_file("/etc/hostname") + text

    return tf.while_loop(lambda i, _: i < 2, read, (0, ""))[1]


def call_python(x):
    return tf.numpy_function(np.sum, [x], tf.float32)


def save_tensor(x):
    name = tf.constant("/nowhere/checkpoint")
    saved = tf.raw_ops.SaveV2(
        prefix=name, tensor_names=["x"], shape_and_slices=[""], tensors=[x]
    )
    with tf.control_dependencies([saved]):
        return tf.identity(x)


def restore_tensor(x):
    return tf.raw_ops.RestoreV2(
        prefix="/etc/x", tensor_names=["x"], shape_and_slices=[""], dtypes=[tf.float32]
    )[0]


def records(x):
    found = tf.data.TFRecordDataset(["/etc/passwd"]).take(1)
    return found.reduce("", lambda a, b: a + b)


def draw(x):
    return tf.raw_ops.RandomStandardNormal(shape=tf.shape(x), dtype=tf.float32)


def show(x):
    with tf.control_dependencies([tf.print(x)]):
        return tf.identity(x)


HARM = {
    "WriteFile": write,
    "ReadFile": read_in_a_loop,
    "PyFunc": call_python,
    "SaveV2": save_tensor,
    "RestoreV2": restore_tensor,
    "TFRecordDataset": records,
    "MatchingFiles": lambda x: tf.io.matching_files("/etc/*"),
    "PrintV2": show,
    "DecodeProtoV2": lambda x: tf.raw_ops.DecodeProtoV2(
        bytes=tf.strings.as_string(x),
        message_type="x",
        field_names=["x"],
        output_types=[tf.int32],
        descriptor_source="/etc/passwd",
    )[0],
    "RandomStandardNormal": draw,
}


@pytest.mark.parametrize("name", HARM)
def test_what_does_more_is_refused_by_name(tmp_path, name):
    save(tf.Module(), HARM[name], tmp_path)
    with pytest.raises(ValueError, match=f"operations that no predictor has.*{name}"):
        check_operations(str(tmp_path))
    with pytest.raises(ValueError, match=f"does nothing else.*{name}"):
        LocalModel(str(tmp_path))


def test_a_vocabulary_of_a_file_is_refused(tmp_path):
    (tmp_path / "words").write_text("a\nb\n")
    initializer = tf.lookup.TextFileInitializer(
        str(tmp_path / "words"),
        tf.string,
        tf.lookup.TextFileIndex.WHOLE_LINE,
        tf.int64,
        tf.lookup.TextFileIndex.LINE_NUMBER,
    )
    module = tf.Module()
    module.table = tf.lookup.StaticHashTable(initializer, 0)
    path = tmp_path / "saved"
    save(module, lambda x: module.table.lookup(tf.strings.as_string(x)), path)
    with pytest.raises(ValueError, match="InitializeTableFromTextFileV2"):
        check_operations(str(path))


def test_what_only_a_method_of_the_object_does_is_refused(tmp_path):
    module = tf.Module()
    module.other = tf.function(
        write, input_signature=[tf.TensorSpec((), tf.float32, name="x")]
    )
    save(module, lambda x: x, tmp_path)
    with pytest.raises(ValueError, match="WriteFile"):
        check_operations(str(tmp_path))
