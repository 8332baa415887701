"""Small files that declare much: an error, before the memory is gone."""

import json
import pathlib

import tfhyper
from tests.helpers.processes import run_python

ROOT = pathlib.Path(tfhyper.__file__).parents[1]

# Each file is made and read in one process, whose peak is set back in between.
RUN = r"""
import io, json, os, re, struct, sys, zipfile
import h5py, keras, numpy as np, tfhyper

folder = sys.argv[1]
inputs = keras.Input((4,))
x = keras.layers.Dense(3)(inputs)
model = keras.Model(inputs, keras.layers.Dense(2)(x))
path = os.path.join(folder, "model.keras")
model.save(path)
predictor = os.path.join(folder, "whole.tfhyper")
tfhyper.PosteriorPredictor(model, 1).save(predictor)


def read(path):
    with zipfile.ZipFile(path) as file:
        return {name: file.read(name) for name in file.namelist()}


MODEL, PREDICTOR = read(path), read(predictor)


def packed(entries, method=zipfile.ZIP_STORED):
    found = io.BytesIO()
    with zipfile.ZipFile(found, "w", method) as file:
        for name, value in entries.items():
            file.writestr(name, value)
    return found.getvalue()


def archive(**entries):
    names = {"config": "config.json", "weights": "model.weights.h5"}
    named = {names.get(k, f"assets/{k}"): v for k, v in entries.items()}
    return {**PREDICTOR, "model.keras": packed({**MODEL, **named})}


def changed(key, value, index=1):
    config = json.loads(MODEL["config.json"])
    config["config"]["layers"][index]["config"][key] = value
    return archive(config=json.dumps(config).encode())


def other(module, name, registered=None, **inner):
    config = json.loads(MODEL["config.json"])
    config["config"]["layers"][1].update(
        module=module, class_name=name, registered_name=registered
    )
    config["config"]["layers"][1]["config"] = {"name": "dense", **inner}
    return archive(config=json.dumps(config).encode())


def weights(change):
    content = io.BytesIO(MODEL["model.weights.h5"])
    with h5py.File(content, "a") as file:
        del file["layers/dense/vars/0"]
        change(file["layers/dense/vars"])
    return archive(weights=content.getvalue())


def array(shape, dtype="<f4", data=b""):
    text = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}"
    text = text.encode().ljust(117) + b"\n"
    header = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text
    return packed({"0/noise/x.npy": header + data})


def settings(**values):
    found = {**json.loads(PREDICTOR["settings.json"]), **values}
    return {**PREDICTOR, "settings.json": json.dumps(found).encode()}


zeros = bytes(2**28)
deflated = zipfile.ZIP_DEFLATED
BOMBS = {
    "zip": lambda: ({**PREDICTOR, "settings.json": zeros}, deflated),
    "zip in a zip": lambda: {
        **PREDICTOR,
        "model.keras": packed({**MODEL, "model.weights.h5": zeros}, deflated),
    },
    "zip of an asset": lambda: {
        **PREDICTOR,
        "model.keras": packed({**MODEL, "assets/x": zeros}, deflated),
    },
    "npz": lambda: {
        **PREDICTOR, "draws.npz": packed({"0/noise/x.npy": zeros}, deflated)
    },
    "npz header": lambda: {**PREDICTOR, "draws.npz": array((2**40,))},
    "npz text": lambda: {**PREDICTOR, "draws.npz": array((1,), "<U999999999")},
    "many entries": lambda: {
        **PREDICTOR, "draws.npz": packed({f"{i}": b"" for i in range(200_000)})
    },
    "a wide layer": lambda: changed("units", 10**9),
    "a last layer": lambda: changed("units", 3 * 10**8, -1),
    "a table": lambda: other(
        "keras.layers", "Embedding", input_dim=10**9, output_dim=8
    ),
    "a wide recurrent layer": lambda: other("keras.layers", "LSTM", units=50_000),
    "words out of it": lambda: other(
        "keras.layers", "StringLookup", num_oov_indices=10**9, vocabulary=["a"]
    ),
    "a random layer": lambda: other(
        "tfhyper.layers", "BayesDense", "tfhyper>BayesDense", units=3 * 10**8
    ),
    "a tensor": lambda: changed(
        "bias_initializer",
        {"class_name": "__numpy__", "config": {"value": [], "dtype": "U999999999"}},
    ),
    "HDF5 shape": lambda: weights(lambda g: g.create_dataset("0", (2**30, 4), "f4")),
    "HDF5 chunks": lambda: weights(
        lambda g: g.create_dataset("0", (2**30,), "f4", chunks=(2**20,))
    ),
    "HDF5 gzip": lambda: weights(
        lambda g: g.create_dataset("0", compression="gzip", data=np.zeros(2**24, "f4"))
    ),
    "HDF5 text": lambda: weights(
        lambda g: g.create_dataset("0", (2**27,), h5py.string_dtype())
    ),
    "lists": lambda: archive(config=b'{"a":[' + b"[]," * 2_000_000 + b"[]]}"),
    "objects": lambda: {
        **PREDICTOR, "settings.json": b"[" + b"{}," * 2_000_000 + b"{}]"
    },
    "depth": lambda: archive(config=b"[" * 10**6),
    "words": lambda: archive(vocabulary=b"a\n" * 5_000_000),
    "draws": lambda: settings(draws=10**9, num_draws=10**9),
    "draws in one": lambda: settings(num_draws=60_000, averaging="parallelizing"),
    "models": lambda: settings(num_models=10**9),
}


def memory(name):
    with open("/proc/self/status") as file:
        return int(re.search(rf"{name}:\s+(\d+) kB", file.read())[1]) * 1024


crafted = os.path.join(folder, "crafted.tfhyper")
tfhyper.PosteriorPredictor.load(predictor)  # what is made once, is made
for name, make in BOMBS.items():
    made = make()
    entries, method = made if isinstance(made, tuple) else (made, zipfile.ZIP_STORED)
    with open(crafted, "wb") as file:
        file.write(packed(entries, method))
    del made, entries
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")  # the peak begins again
    before = memory("VmRSS")
    try:
        tfhyper.PosteriorPredictor.load(crafted)
        error = None
    except Exception as caught:
        error = f"{type(caught).__name__}: {caught}"
    row = [name, os.path.getsize(crafted), memory("VmHWM") - before, error]
    print("ROW", json.dumps(row), flush=True)
"""


def test_no_bomb_takes_more_than_twice_its_size_and_200_megabytes(tmp_path):
    result = run_python("-c", RUN, tmp_path, fresh=True, check=True)
    lines = result.stdout.splitlines()
    rows = [json.loads(line[4:]) for line in lines if line.startswith("ROW ")]
    assert len(rows) == 25
    for name, size, peak, error in rows:
        assert error is not None and error.startswith("ValueError: `path` must"), name
        assert "PosteriorPredictor.save" in error and len(error) < 3000, name
        assert peak < 2 * size + 200e6, f"{name}: {peak / 1e6:.0f} MB"
