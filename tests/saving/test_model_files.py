"""Model files of others: what holds code is refused, what is honest loads."""

import base64
import concurrent.futures
import io
import json
import marshal
import zipfile

import h5py
import keras
import numpy as np
import pytest

import tfhyper
from tests.helpers.kits import make_kit
from tfhyper.saving import load_model

LAYER = 2  # of those of `plain`, one that is replaced


def plain():
    inputs = keras.Input((4,))
    x = keras.layers.Dense(3, activation="relu", kernel_regularizer="l2")(inputs)
    x = keras.layers.Dropout(0.1)(x)
    return keras.Model(inputs, keras.layers.Dense(2, name="head")(x))


@pytest.fixture(scope="module")
def content(tmp_path_factory):
    """The entries of a file of `plain`."""
    path = tmp_path_factory.mktemp("content") / "plain.keras"
    plain().save(path)
    with zipfile.ZipFile(path) as file:
        return {name: file.read(name) for name in file.namelist()}


@pytest.fixture
def craft(content, tmp_path):
    """Returns the path of a file like it, with another configuration or entries."""

    def make(change=None, entries=(), compression=zipfile.ZIP_STORED):
        found = {**content, **dict(entries)}
        if change is not None:
            config = json.loads(found["config.json"])
            change(config)
            found["config.json"] = json.dumps(config).encode()
        path = tmp_path / "crafted.keras"
        with zipfile.ZipFile(path, "w", compression) as file:
            for name, value in found.items():
                file.writestr(name, value)
        return path

    return make


def unsafely(function, *args):
    """Calls it after `enable_unsafe_deserialization`, which is said for a thread."""

    def call():
        keras.config.enable_unsafe_deserialization()
        return function(*args)

    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        return pool.submit(call).result()


def refuse(path, match):
    for call in (lambda f, *a: f(*a), unsafely):
        with pytest.raises(ValueError, match=match) as caught:
            call(load_model, path)
        assert "that holds no code" in str(caught.value)
        with pytest.raises(ValueError, match=match):
            call(tfhyper.DeepEnsemble, [str(path)])


def lambda_config(trace):
    """Returns what Keras writes of a Lambda whose code leaves a file behind."""
    code = compile(f"lambda x: (open({trace!r}, 'w').close(), x)[1]", "", "eval")
    code = code.co_consts[0]
    value = {
        "code": base64.b64encode(marshal.dumps(code)).decode(),
        "defaults": None,
        "closure": None,
    }
    return {"class_name": "__lambda__", "config": value}


def function(module, name):
    return {
        "module": module,
        "class_name": "function",
        "config": name,
        "registered_name": "function",
    }


def layer_of(config):
    return config["config"]["layers"][LAYER]


def replace_layer(module, name, inner):
    def change(config):
        layer = layer_of(config)
        layer.update(module=module, class_name=name, registered_name=None)
        layer["config"] = {"name": layer["config"]["name"], **inner}

    return change


def lambda_layer(inner, **arguments):
    return replace_layer(
        "keras.layers", "Lambda", {"function": inner, "arguments": arguments}
    )


def activation(value):
    def change(config):
        config["config"]["layers"][1]["config"]["activation"] = value

    return change


def entry(name, value):
    """Puts an object where a Dense layer has one."""

    def change(config):
        config["config"]["layers"][1]["config"][name] = value

    return change


def wrapped(config):
    """A Lambda in a wrapper in a nested model."""
    inner = {
        "module": "keras.layers",
        "class_name": "Lambda",
        "config": {"function": function("builtins", "relu")},
        "registered_name": None,
    }
    wrapper = {
        "module": "keras.layers",
        "class_name": "TimeDistributed",
        "config": {"layer": inner},
        "registered_name": None,
    }
    replace_layer("keras", "Sequential", {"layers": [wrapper]})(config)


def legacy(config):
    """As Keras 2 wrote it: no modules, and code of its own."""
    config["config"]["layers"][LAYER] = {
        "class_name": "Lambda",
        "config": {
            "name": "dropout",
            "function": ["4wAAAA==", None, None],
            "function_type": "lambda",
        },
        "name": "dropout",
        "inbound_nodes": [[["dense", 0, 0, {}]]],
    }


def shadow(config):
    """A public name for what is not there, and the truth under another key."""
    layer = layer_of(config)
    layer.update(class_name="Lambda", registered_name="Dropout")
    layer["config"]["function"] = function("builtins", "relu")


def eager(config):
    """A layer that computes while the model is made."""
    value = {"class_name": "__numpy__", "config": {"value": [1.0], "dtype": "float32"}}
    layer_of(config)["inbound_nodes"] = [{"args": [value], "kwargs": {}}]


CODE = {
    "a Lambda's bytecode (CVE-2024-3660)": lambda t: lambda_layer(lambda_config(t)),
    "any function (CVE-2025-1550)": lambda t: lambda_layer(
        function("os", "system"), command=f"touch {t}"
    ),
    "a function as a class": lambda t: replace_layer("os", "mkdir", {"path": t}),
    "a download (CVE-2025-8747)": lambda t: lambda_layer(
        function("keras.utils", "get_file"), fname=t
    ),
    "the switch (CVE-2025-9906)": lambda t: activation(
        function("keras.config", "enable_unsafe_deserialization")
    ),
    "another load": lambda t: activation(function("keras.models", "load_model")),
    "a SavedModel (CVE-2026-1462)": lambda t: replace_layer(
        "keras.layers", "TFSMLayer", {"filepath": t, "call_endpoint": "serve"}
    ),
    "a pickle of torch": lambda t: replace_layer(
        "keras.layers", "TorchModuleWrapper", {"module": {"value": "gASVAA=="}}
    ),
    "a function of JAX": lambda t: replace_layer(
        "keras.layers", "JaxLayer", {"call_fn": function("os", "system")}
    ),
    "by its place in Keras": lambda t: replace_layer(
        "keras.src.layers.core.lambda_layer",
        "Lambda",
        {"function": function("builtins", "relu")},
    ),
    "nested in a wrapper": lambda t: wrapped,
    "as Keras 2 wrote it": lambda t: legacy,
    "behind another name": lambda t: shadow,
    "code as an activation": lambda t: activation(lambda_config(t)),
    "a function of os": lambda t: activation(function("os", "system")),
    "a function of builtins": lambda t: activation(function("builtins", "exec")),
    "a function of Keras' tests": lambda t: activation(
        function("keras.src.utils.python_utils", "func_load")
    ),
    "an initializer of another package": lambda t: entry(
        "kernel_initializer",
        {"module": "subprocess", "class_name": "Popen", "config": {"args": ["true"]}},
    ),
    "a regularizer of numpy": lambda t: entry(
        "kernel_regularizer",
        {"module": "numpy", "class_name": "load", "config": {"file": t}},
    ),
    "a constraint of keras.utils": lambda t: entry(
        "kernel_constraint",
        {"module": "keras.utils", "class_name": "Progbar", "config": {"target": 3}},
    ),
    "a type of tf": lambda t: entry(
        "dtype",
        {
            "class_name": "__typespec__",
            "spec_name": "TensorSpec",
            "module": "tensorflow",
            "config": [],
            "registered_name": None,
        },
    ),
    "a type without end": lambda t: entry(
        "bias_initializer",
        {"class_name": "__numpy__", "config": {"value": [1], "dtype": "U999999999"}},
    ),
    "a class that is no text": lambda t: entry(
        "bias_initializer", {"class_name": ["Zeros"], "module": "keras", "config": {}}
    ),
    "a layer called at once": lambda t: eager,
    "the code of a loss": lambda t: (
        lambda config: config.update(
            compile_config={"optimizer": "sgd", "loss": lambda_config(t)}
        )
    ),
    "a vocabulary elsewhere (CVE-2025-12058)": lambda t: replace_layer(
        "keras.layers", "StringLookup", {"vocabulary": "/etc/passwd"}
    ),
}


@pytest.mark.parametrize("name", CODE)
def test_what_a_file_names_is_not_run(craft, tmp_path, name):
    trace = tmp_path / "trace"
    match = (
        "runs code of the file|is not one of Keras|code of the file"
        "|names the file|has the type|called without|not by a string"
    )
    refuse(craft(CODE[name](str(trace))), match)
    assert not trace.exists()


def test_the_file_that_is_crafted_loads_as_it_is(craft):
    found = load_model(craft())
    assert [layer.name for layer in found.layers][-1] == "head"
    assert not found.compiled


def test_hdf5_of_before_is_refused(tmp_path):
    path = tmp_path / "old.h5"  # CVE-2025-9905: no safe mode
    plain().save(path)
    with pytest.raises(ValueError, match="other formats of Keras have no safe mode"):
        load_model(path)
    path.rename(tmp_path / "old.keras")
    refuse(tmp_path / "old.keras", "not a whole zip file")


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nothing.keras"):
        load_model(tmp_path / "nothing.keras")


@keras.saving.register_keras_serializable("of a user")
class Doubled(keras.layers.Dense):
    def call(self, inputs):
        return 2 * super().call(inputs)


@keras.saving.register_keras_serializable("of a user")
def halved(x):
    return x / 2


def test_what_the_user_registers_is_made(tmp_path):
    inputs = keras.Input((4,))
    model = keras.Model(inputs, Doubled(2, activation=halved)(inputs))
    model.save(tmp_path / "own.keras")
    found = load_model(tmp_path / "own.keras")
    assert type(found.layers[-1]) is Doubled
    assert found.layers[-1].activation is halved


class Unregistered(keras.layers.Dense):
    pass


def test_what_the_user_has_in_a_scope_is_made_and_not_elsewhere(tmp_path):
    inputs = keras.Input((4,))
    path = tmp_path / "own.keras"
    keras.Model(inputs, Unregistered(2)(inputs)).save(path)
    with keras.saving.custom_object_scope({"Unregistered": Unregistered}):
        assert type(load_model(path).layers[-1]) is Unregistered
    refuse(path, "Unregistered is not one of Keras' .* nor registered")


def honest_models():
    layers, ops = keras.layers, keras.ops
    inputs = keras.Input((8, 8, 3))
    x = layers.Rescaling(1 / 255)(inputs)
    x = layers.Conv2D(4, 3, kernel_constraint=keras.constraints.MaxNorm(2))(x)
    x = ops.relu(layers.BatchNormalization()(x) + 1)
    x = layers.SpectralNormalization(layers.Conv2D(4, 3))(x)
    x = layers.SeparableConv2D(4, 3)(x)
    x = ops.concatenate([ops.mean(x, axis=(1, 2)), ops.max(x, axis=(1, 2))], axis=-1)
    x = ops.where(x > 0, x, np.ones((1, 8), "float32"))
    yield keras.Model(inputs, layers.Dense(3, activation=ops.softmax)(x))
    inputs = keras.Input((6,), dtype="int32")
    x = layers.Embedding(50, 8, mask_zero=True)(inputs)
    x = layers.Bidirectional(layers.LSTM(4, return_sequences=True))(x)
    x = layers.MultiHeadAttention(2, 4)(x, x)
    x = layers.RNN([layers.GRUCell(3), layers.LSTMCell(4)])(x)
    yield keras.Model(inputs, layers.Dense(2, dtype="mixed_float16")(x))
    base = keras.Sequential([keras.Input((4,)), layers.Dense(5, "gelu")], name="base")
    inputs = keras.Input((4,))
    norm = layers.Normalization()
    norm.adapt(np.random.default_rng(0).normal(size=(9, 4)))
    outputs = [layers.Dense(2)(base(norm(inputs))), layers.Dense(1)(base(inputs))]
    model = keras.Model(inputs, outputs)
    rate = keras.optimizers.schedules.CosineDecay(0.1, 1_000_000)
    model.compile(
        keras.optimizers.AdamW(rate),
        ["mse", keras.losses.Huber()],
        metrics=[["mae", keras.metrics.R2Score()], [keras.losses.mean_squared_error]],
    )
    model.train_on_batch(np.zeros((3, 4)), [np.zeros((3, 2)), np.zeros((3, 1))])
    yield model


def weights_of(model):
    return [keras.ops.convert_to_numpy(x) for x in model.weights]


@pytest.mark.parametrize("index", range(3))
def test_honest_models_come_back_as_they_were(tmp_path, index):
    model = list(honest_models())[index]
    path = tmp_path / "honest.keras"
    model.save(path)
    for compile in (False, True):
        found = load_model(path, compile=compile)
        assert found.compiled == (compile and model.compiled)
        for new, old in zip(weights_of(found), weights_of(model), strict=True):
            np.testing.assert_array_equal(new, old)
    if model.compiled:
        slots = zip(found.optimizer.variables, model.optimizer.variables, strict=True)
        for new, old in slots:
            np.testing.assert_array_equal(*map(keras.ops.convert_to_numpy, (new, old)))
    if keras.backend.backend() == "tensorflow":
        x = np.ones((2, *model.inputs[0].shape[1:]), "float32")
        for new, old in zip(
            keras.tree.flatten(found(x)), keras.tree.flatten(model(x)), strict=True
        ):
            np.testing.assert_array_equal(new, old)


def test_vocabularies_beside_the_model_come_back(tmp_path):
    pytest.importorskip("tensorflow")
    lookup = keras.layers.StringLookup()
    lookup.adapt(np.array(["b", "a", "b"]))
    inputs = keras.Input((1,), dtype="string")
    x = keras.layers.Embedding(3, 2)(lookup(inputs))
    path = tmp_path / "words.keras"
    keras.Model(inputs, x).save(path)
    found = load_model(path)
    assert found.layers[1].get_vocabulary() == ["[UNK]", "b", "a"]


@pytest.mark.parametrize("kit", sorted({*tfhyper.kits.KITS} - {"deterministic"}))
def test_networks_of_every_kit_come_back(tmp_path, kit):
    if kit == "static_hypernet":  # for whole networks alone
        model = tfhyper.models.lenet5(input_shape=(12, 12, 1), kit=make_kit(kit))
    else:
        inputs = keras.Input((6, 6, 1))
        x = keras.layers.Flatten()(keras.layers.Conv2D(3, 3)(inputs))
        network = keras.Model(inputs, keras.layers.Dense(2)(x))
        model = tfhyper.convert(network, make_kit(kit))
    path = tmp_path / "kit.keras"
    model.save(path)
    for new, old in zip(weights_of(load_model(path)), weights_of(model), strict=True):
        np.testing.assert_array_equal(new, old)


def test_looking_into_a_file_leaves_names_and_state_of_keras_alone(craft):
    keras.utils.clear_session()
    path = craft()
    load_model(path)
    assert keras.layers.Dense(1).name == "dense"
    # Nothing is left that the next scope without state would make.
    with keras.StatelessScope():
        pass
    assert keras.layers.Dense(1).name == "dense_1"


@pytest.mark.parametrize(
    "name", ["../out", "/tmp/out", "assets/../../out", "a\\..\\b", "C:out", "assets//x"]
)
def test_names_that_lead_out_are_refused(craft, name):
    refuse(craft(entries={name: b"x"}), "leads out of it")


def test_entries_that_are_not_a_models_are_refused(craft):
    refuse(craft(entries={"model.weights.npz": b"x"}), "not a model's")
    refuse(craft(entries={"run.py": b"x"}), "not a model's")


def test_links_and_entries_given_twice_are_refused(craft):
    path = craft()
    link = zipfile.ZipInfo("assets/link")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(path, "a") as file:
        file.writestr(link, "/etc/passwd")
    refuse(path, "link or a device")
    path = craft()
    with zipfile.ZipFile(path, "a") as file:
        with pytest.warns(UserWarning, match="Duplicate name"):
            file.writestr("config.json", b"{}")
    refuse(path, "is in it twice")


def test_entries_that_share_bytes_are_refused(craft):
    path = craft()
    data = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as file:
        first, second, _ = file.infolist()
    # The second entry's record in the list points to the first one's bytes.
    at = data.rindex(second.filename.encode()) - 46
    data[at + 42 : at + 46] = first.header_offset.to_bytes(4, "little")
    path.write_bytes(data)
    refuse(path, "shares bytes")


def weights_with(content, change):
    """Returns the weights of a file after a change."""
    weights = io.BytesIO(content["model.weights.h5"])
    with h5py.File(weights, "a") as file:
        change(file)
    return {"model.weights.h5": weights.getvalue()}


KERNEL = "layers/dense/vars/0"


def replace_kernel(make):
    def change(file):
        del file[KERNEL]
        make(file)

    return change


def virtual(file):
    layout = h5py.VirtualLayout((4, 3), "f4")
    layout[:] = h5py.VirtualSource("/etc/passwd", "x", (4, 3))
    file.create_virtual_dataset(KERNEL, layout)


def aliased(file):
    file["layers/again"] = file["layers"]


WEIGHTS = {
    "an external link (CVE-2026-1669)": replace_kernel(
        lambda file: file.__setitem__(KERNEL, h5py.ExternalLink("/etc/passwd", "x"))
    ),
    "a soft link": replace_kernel(
        lambda file: file.__setitem__(KERNEL, h5py.SoftLink("/layers"))
    ),
    "bytes of another file": replace_kernel(
        lambda file: file.create_dataset(
            KERNEL, (4, 3), "f4", external=[("/etc/passwd", 0, 48)]
        )
    ),
    "a view of another file": replace_kernel(virtual),
    "a shape without bytes (CVE-2026-0897)": replace_kernel(
        lambda file: file.create_dataset(KERNEL, (10**6, 10**6, 10**3), "f4")
    ),
    "a shape of chunks that are not there": replace_kernel(
        lambda file: file.create_dataset(KERNEL, (2**30,), "f4", chunks=(2**20,))
    ),
    "packed bytes": replace_kernel(
        lambda file: file.create_dataset(
            KERNEL, data=np.zeros(2**20), compression="gzip"
        )
    ),
    "texts": replace_kernel(
        lambda file: file.create_dataset(
            KERNEL, data=["a"] * 9, dtype=h5py.string_dtype()
        )
    ),
    "groups in a circle": aliased,
    "many attributes": lambda file: file.attrs.update({f"x{i}": i for i in range(20)}),
}


@pytest.mark.parametrize("name", WEIGHTS)
def test_weights_that_are_elsewhere_or_nowhere_are_refused(craft, content, name):
    match = "links to|not stored as|holds object|in the file twice|attribute"
    refuse(craft(entries=weights_with(content, WEIGHTS[name])), match)


def test_a_layer_larger_than_its_weights_is_refused(craft):
    def change(config):
        config["config"]["layers"][-1]["config"]["units"] = 10**8

    refuse(craft(change), "makes variables of .* bytes, and its weights have")


def test_an_optimizer_or_a_metric_larger_than_the_file_is_refused(craft):
    def change(config):
        metric = {
            "module": "keras.metrics",
            "class_name": "MeanIoU",
            "config": {"num_classes": 10**5, "name": "iou"},
            "registered_name": None,
        }
        config["compile_config"] = {"optimizer": "adam", "metrics": [metric]}

    path = craft(change)
    assert not load_model(path).compiled
    with pytest.raises(ValueError, match="makes variables of"):
        load_model(path, compile=True)


@pytest.mark.parametrize(
    "text, match",
    [
        (b"[" * 10**5, "not JSON|nested deeper"),
        (b'{"a":' * 200 + b"1" + b"}" * 200, "nested deeper than 100"),
        (b'{"a":[' + b"[]," * 10**6 + b"[]]}", "more than"),
        (b"\xff\xfe", "not JSON"),
        (b"[1, 2]", "not one of a model"),
        (b'"' + b"x" * 5_000_000 + b'"', "more than"),
    ],
)
def test_configurations_too_deep_or_too_long_are_refused(craft, text, match):
    refuse(craft(entries={"config.json": text}), match)
