"""The set within the package, its arrays, and the script that makes it."""

import gzip
import pathlib

import numpy as np
import pytest

import tfhyper.data
from tests.helpers.processes import run_python
from tfhyper.data import DATASETS, load_arrays, make_fashion_mnist_small

FOLDER = pathlib.Path(tfhyper.data.__file__).parent
FILE = FOLDER / "fashion_mnist_small.npz"


def test_file_is_small_balanced_and_licensed():
    assert FILE.stat().st_size < 6_000_000
    with np.load(FILE, allow_pickle=False) as file:
        assert sorted(file) == ["x_test", "x_train", "y_test", "y_train"]
        for part, per_class in (("train", 1000), ("test", 250)):
            images, labels = file[f"x_{part}"], file[f"y_{part}"]
            assert images.dtype == labels.dtype == np.uint8
            assert images.shape == (10 * per_class, 28, 28, 1)
            np.testing.assert_array_equal(np.bincount(labels), [per_class] * 10)
    text = (FOLDER / "FASHION_MNIST_LICENSE").read_text(encoding="utf-8")
    assert "MIT License" in text and "2017 Zalando SE" in text


def test_arrays_are_normalised():
    (x_train, y_train), (x_test, y_test) = load_arrays("fashion_mnist_small")
    assert x_train.dtype == x_test.dtype == np.float32
    assert y_train.dtype == y_test.dtype == np.int32
    assert x_train.shape == (10000, 28, 28, 1) and y_test.shape == (2500,)
    # The stated statistics have five digits.
    assert abs(x_train.mean(dtype=np.float64)) < 1e-4
    assert abs(x_train.std(dtype=np.float64) - 1) < 1e-4
    spec = DATASETS["fashion_mnist_small"]
    with np.load(FILE, allow_pickle=False) as file:
        expected = (file["x_test"] / 255 - spec.mean) / spec.std
    np.testing.assert_allclose(x_test, expected, atol=1e-5)


def test_a_subset_is_the_first_examples_and_statistics_may_be_given():
    whole, _ = load_arrays("fashion_mnist_small", mean=[0.5], std=[0.25])
    (images, labels), (test_images, _) = load_arrays(
        "fashion_mnist_small",
        train_examples=30,
        test_examples=7,
        mean=[0.5],
        std=[0.25],
    )
    np.testing.assert_array_equal(images, whole[0][:30])
    np.testing.assert_array_equal(labels, whole[1][:30])
    assert test_images.shape == (7, 28, 28, 1)
    assert whole[0].min() == -2.0 and whole[0].max() == 2.0


@pytest.mark.parametrize(
    "kwargs, message",
    [
        ({"train_examples": 0}, "`train_examples` must be an integer from 1 to 10000"),
        ({"train_examples": 10001}, "Received: train_examples=10001"),
        ({"test_examples": 2.5}, "Received: test_examples=2.5"),
        ({"test_examples": True}, "Received: test_examples=True"),
        ({"mean": [0.5]}, "`mean` and `std` must be given together"),
        ({"mean": [0.5], "std": [0]}, "`std` must be positive"),
        ({"mean": [0.5, 0.5], "std": [1.0]}, "`mean` must have one finite number"),
    ],
)
def test_errors_name_the_argument(kwargs, message):
    with pytest.raises(ValueError, match=message):
        load_arrays("fashion_mnist_small", **kwargs)


def test_neither_tensorflow_nor_tfds_is_imported_for_the_embedded_set():
    # The parent package imports Keras, whose backend may be TensorFlow; a bare stand-in
    # for it shows what `tfhyper.data` itself imports.
    code = f"""
import sys, types
parent = types.ModuleType("tfhyper")
parent.__path__ = [{str(FOLDER.parent)!r}]
sys.modules["tfhyper"] = parent
import tfhyper.data
(x, y), _ = tfhyper.data.load_arrays("fashion_mnist_small", train_examples=3)
loaded = [m for m in ("tensorflow", "tensorflow_datasets", "keras") if m in sys.modules]
print(x.shape, loaded)
"""
    result = run_python("-c", code, fresh=True, check=True)
    assert result.stdout.strip() == "(3, 28, 28, 1) []"


def write_idx(path, array):
    header = bytes([0, 0, 8, array.ndim])
    header += b"".join(int(n).to_bytes(4, "big") for n in array.shape)
    path.write_bytes(gzip.compress(header + array.tobytes()))


def test_the_script_takes_the_first_of_each_class_in_order(tmp_path):
    rng = np.random.default_rng(0)
    made = {}
    for prefix in ("train", "t10k"):
        images = rng.integers(0, 256, (60, 28, 28)).astype(np.uint8)
        labels = rng.permutation(np.repeat(np.arange(10), 6)).astype(np.uint8)
        made[prefix] = images, labels
        write_idx(tmp_path / f"{prefix}-images-idx3-ubyte.gz", images)
        write_idx(tmp_path / f"{prefix}-labels-idx1-ubyte.gz", labels)
    outputs = [tmp_path / "a.npz", tmp_path / "b.npz"]
    for output in outputs:
        make_fashion_mnist_small.main(
            [
                f"--source_dir={tmp_path}",
                f"--output={output}",
                "--train_per_class=3",
                "--test_per_class=2",
            ]
        )
    assert outputs[0].read_bytes() == outputs[1].read_bytes()
    with np.load(outputs[0], allow_pickle=False) as file:
        for part, prefix, per_class in (("train", "train", 3), ("test", "t10k", 2)):
            images, labels = made[prefix]
            keep = [i for i in range(60) if (labels[:i] == labels[i]).sum() < per_class]
            np.testing.assert_array_equal(file[f"x_{part}"][..., 0], images[keep])
            np.testing.assert_array_equal(file[f"y_{part}"], labels[keep])
    with pytest.raises(ValueError, match="`per_class` must be at most"):
        make_fashion_mnist_small.balanced_subset(*made["train"], 7)


def test_the_script_refuses_files_of_another_kind(tmp_path):
    path = tmp_path / "file.gz"
    path.write_bytes(gzip.compress(b"\x00\x00\x0d\x01\x00\x00\x00\x01\x00"))
    with pytest.raises(ValueError, match="idx file of unsigned bytes"):
        make_fashion_mnist_small.read_idx(path)
    path.write_bytes(gzip.compress(b"\x00\x00\x08\x01\x00\x00\x00\x05\x00"))
    with pytest.raises(ValueError, match="must hold the values of shape"):
        make_fashion_mnist_small.read_idx(path)
