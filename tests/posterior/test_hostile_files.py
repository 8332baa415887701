"""Files of predictors that somebody made to do harm: an error, and nothing else."""

import io
import json
import pickle
import struct
import tracemalloc
import zipfile

import keras
import numpy as np
import pytest

import tfhyper
from tests.helpers.kits import make_kit

IMAGE = (8, 8, 1)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A predictor of a hypernetwork, as a file."""
    images = np.random.default_rng(0).normal(size=(8, *IMAGE)).astype("float32")
    model = tfhyper.models.wide_resnet(
        10, 1, num_classes=3, input_shape=IMAGE, kit=make_kit("hyper")
    )
    predictor = tfhyper.PosteriorPredictor(model, 2).calibrate(images, verbose=0)
    path = tmp_path_factory.mktemp("saved") / "whole.tfhyper"
    predictor.save(path)
    return path


@pytest.fixture
def craft(saved, tmp_path):
    """Returns the path of a file like `saved`, with other contents."""

    def make(changes=(), compression=zipfile.ZIP_STORED, **settings):
        with zipfile.ZipFile(saved) as file:
            content = {name: file.read(name) for name in file.namelist()}
        if settings:
            found = {**json.loads(content["settings.json"]), **settings}
            content["settings.json"] = json.dumps(found).encode()
        content.update(changes)
        path = tmp_path / "crafted.tfhyper"
        with zipfile.ZipFile(path, "w", compression) as file:
            for name, value in content.items():
                if value is not None:
                    file.writestr(name, value)
        return path

    return make


def refuse(path, match, kind=tfhyper.PosteriorPredictor):
    with pytest.raises(ValueError, match=match) as caught:
        kind.load(path)
    assert "must be a whole file written by" in str(caught.value)


def arrays_of(path):
    with zipfile.ZipFile(path) as file:
        with np.load(io.BytesIO(file.read("draws.npz"))) as arrays:
            return dict(arrays)


def npz(arrays):
    content = io.BytesIO()
    np.savez(content, **arrays)
    return content.getvalue()


def model_file(tmp_path, model):
    """Returns the bytes of a model's file."""
    model.save(tmp_path / "made.keras")
    return (tmp_path / "made.keras").read_bytes()


class Trace:
    """Leaves a file behind if it is ever unpickled."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return open, (self.path, "w")


def test_the_crafted_file_loads_if_nothing_is_changed(craft):
    assert tfhyper.PosteriorPredictor.load(craft()).num_draws == 2


def test_code_in_a_layer_is_not_run(craft, tmp_path):
    trace = tmp_path / "trace"

    def leave_trace(x, path=str(trace)):
        open(path, "w").close()
        return x

    inputs = keras.Input(IMAGE)
    x = keras.layers.Flatten()(keras.layers.Lambda(leave_trace)(inputs))
    model = keras.Model(inputs, keras.layers.Dense(3)(x))
    content = model_file(tmp_path, model)
    trace.unlink()  # building it calls the function
    refuse(craft({"model.keras": content}), "(?i)lambda")
    (tmp_path / "alone.keras").write_bytes(content)
    with pytest.raises(ValueError, match="(?i)lambda"):
        tfhyper.DeepEnsemble([str(tmp_path / "alone.keras")])
    assert not trace.exists()


def test_what_a_configuration_names_is_not_called(craft, tmp_path):
    trace = tmp_path / "trace"
    with zipfile.ZipFile(io.BytesIO(plain_model(tmp_path))) as file:
        content = {name: file.read(name) for name in file.namelist()}
    for module, name in (("os", "mkdir"), ("keras.config", "disable_traceback_filter")):
        config = json.loads(content["config.json"])
        config["config"]["layers"][1].update(
            {"module": module, "class_name": name, "config": {"path": str(trace)}}
        )
        changed = {**content, "config.json": json.dumps(config).encode()}
        refuse(craft({"model.keras": zipped(changed)}), "(?i)deserial|locate|class")
    assert not trace.exists()


def plain_model(tmp_path):
    inputs = keras.Input(IMAGE)
    outputs = keras.layers.Dense(3)(keras.layers.Flatten()(inputs))
    return model_file(tmp_path, keras.Model(inputs, outputs))


def zipped(content, compression=zipfile.ZIP_STORED):
    found = io.BytesIO()
    with zipfile.ZipFile(found, "w", compression) as file:
        for name, value in content.items():
            file.writestr(name, value)
    return found.getvalue()


def test_a_file_of_hdf5_is_refused_before_its_own_loader(tmp_path):
    inputs = keras.Input((2,))
    model = keras.Model(inputs, keras.layers.Dense(3)(inputs))
    model.save(tmp_path / "old.h5")
    (tmp_path / "old.h5").rename(tmp_path / "old.keras")
    with pytest.raises(ValueError, match="zip file"):
        tfhyper.DeepEnsemble([str(tmp_path / "old.keras")])


def test_pickles_are_not_unpickled(craft, saved, tmp_path):
    trace = tmp_path / "trace"
    arrays = arrays_of(saved)
    name = next(iter(arrays))
    arrays[name] = np.array([Trace(trace)], dtype=object)
    refuse(craft({"draws.npz": npz(arrays)}), "allow_pickle")
    raw = pickle.dumps(Trace(trace))
    for member in ("draws.npz", "model.keras", "settings.json"):
        refuse(craft({member: raw}), "crafted")
    assert not trace.exists()


def test_names_that_lead_elsewhere_write_nothing(craft, tmp_path):
    trace = tmp_path.parent / "trace"
    names = {"../trace": b"x", "../../trace": b"x", str(trace): b"x"}
    for name in names:
        refuse(craft({name: b"x"}), "leads out of it")
    refuse(craft({"another": b"x"}), "none of its files")
    with zipfile.ZipFile(io.BytesIO(plain_model(tmp_path))) as file:
        content = {name: file.read(name) for name in file.namelist()}
    refuse(
        craft({"model.keras": zipped({**content, **names}), "draws.npz": b""}),
        "crafted",
    )
    link = zipfile.ZipInfo("model.keras")
    link.external_attr = 0o120777 << 16
    path = craft({"model.keras": None})
    with zipfile.ZipFile(path, "a") as file:
        file.writestr(link, "/etc/hostname")
    refuse(path, "crafted")
    assert not trace.exists()


@pytest.mark.parametrize("member", ["settings.json", "draws.npz", "model.keras"])
def test_bombs_are_not_unpacked(craft, saved, member):
    if member == "settings.json":
        content = b" " * 2**26
    elif member == "draws.npz":
        zeros = io.BytesIO()
        np.save(zeros, np.zeros(2**23))
        content = zipped({"0/noise/x.npy": zeros.getvalue()}, zipfile.ZIP_DEFLATED)
    else:
        content = zipped({"config.json": b" " * 2**26}, zipfile.ZIP_DEFLATED)
    packed = zipfile.ZIP_DEFLATED if member == "settings.json" else zipfile.ZIP_STORED
    path = craft({member: content}, packed)
    del content
    tracemalloc.start()
    try:
        refuse(path, "would unpack from")
        assert tracemalloc.get_traced_memory()[1] < 2**25
    finally:
        tracemalloc.stop()


def test_shapes_without_data_are_refused(craft, saved):
    header = "{'descr': '<f4', 'fortran_order': False, 'shape': (1099511627776,), }"
    header = header.encode().ljust(117) + b"\n"
    array = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header
    refuse(craft({"draws.npz": zipped({"0/noise/x.npy": array})}), "crafted")


@pytest.mark.skipif(
    keras.backend.backend() == "jax", reason="XLA ends the process, and says why"
)
def test_a_layer_as_large_as_no_memory_is_refused(craft, tmp_path):
    with zipfile.ZipFile(io.BytesIO(plain_model(tmp_path))) as file:
        content = {name: file.read(name) for name in file.namelist()}
    config = json.loads(content["config.json"])
    config["config"]["layers"][-1]["config"]["units"] = 10**17
    content["config.json"] = json.dumps(config).encode()
    refuse(craft({"model.keras": zipped(content)}), "crafted")


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("kind", ["noise", "mean", "variance"])
def test_draws_that_are_not_finite_are_refused(craft, saved, kind, value):
    arrays = arrays_of(saved)
    name = next(x for x, array in arrays.items() if f"/{kind}/" in x and array.size)
    arrays[name] = np.full_like(arrays[name], value)
    refuse(craft({"draws.npz": npz(arrays)}), "is not finite")


def test_draws_of_another_network_are_refused(craft, saved):
    arrays = arrays_of(saved)
    name = next(x for x, array in arrays.items() if array.size)
    text = np.full(arrays[name].shape, "x")
    for changed in (
        {**arrays, name: arrays[name][..., :-1]},
        {**arrays, name: text},
        {**arrays, "7/noise/x": arrays[name]},
        {**arrays, "0": arrays[name]},
        {key: array for key, array in arrays.items() if key != name},
        {},
    ):
        refuse(craft({"draws.npz": npz(changed)}), "crafted")


@pytest.mark.parametrize(
    "settings",
    [
        {"num_models": 0},
        {"num_models": -1},
        {"num_models": 2},
        {"num_models": 10**12},
        {"num_models": "x"},
        {"draws": -1},
        {"draws": "x"},
        {"draws": 10**18},
        {"num_draws": 0},
        {"averaging": "x"},
        {"another": 1},
        {"format": None},
        {"deterministic": "False"},
        {"deterministic": 0},
        {"seed": True},
        {"seed": "0"},
        {"batch_size": 2.5},
        {"noise_variance": float("nan")},
        {"link": ["softmax"]},
        {"draws": None},
        {"draws": True},
        {"num_models": 257},
    ],
)
@pytest.mark.parametrize("kind", ["PosteriorPredictor", "DeepEnsemble"])
def test_settings_of_no_predictor_are_refused(craft, settings, kind):
    head = {"PosteriorPredictor": {}, "DeepEnsemble": {"num_models": 1}}[kind]
    if kind == "DeepEnsemble":
        head["format"] = "tfhyper deep ensemble 1"
    refuse(craft(**{**head, **settings}), "crafted", getattr(tfhyper, kind))


def test_deep_json_is_refused(craft):
    refuse(craft({"settings.json": b"[" * 100_000}), "crafted")


def test_every_cut_is_refused(saved, tmp_path):
    whole = saved.read_bytes()
    path = tmp_path / "crafted.tfhyper"
    for size in (0, 1, 100, len(whole) // 2, len(whole) - 30, len(whole) - 1):
        path.write_bytes(whole[:size])
        refuse(path, "crafted")
