"""Writes examples.json, the images that the page offers.

python examples/serve/page/make_examples.py

Twelve test images of Fashion-MNIST, as the package has them, and one of a kind that
no training on them shows: a handwritten digit.
"""

import base64
import json
import pathlib

import numpy as np
from sklearn.datasets import load_digits

import tfhyper
from tfhyper.whole_files import whole_file

FILE = pathlib.Path(__file__).with_name("examples.json")
SET = "fashion_mnist_small"
# Places among the test images: of each class, and two more of those hard to tell.
PLACES = (0, 1, 2, 4, 6, 7, 8, 12, 13, 17, 18, 19)
DIGIT = 3


def bytes_of(images: np.ndarray) -> np.ndarray:
    """Returns normalised images as the bytes they were."""
    spec = tfhyper.data.DATASETS[SET]
    return np.rint((images * spec.std + spec.mean) * 255).astype("uint8")


def digit() -> np.ndarray:
    """Returns a digit of the UCI set that scikit-learn has, 8x8, as 28x28 bytes."""
    digits = load_digits()
    image = digits.images[list(digits.target).index(DIGIT)] * (255 / 16)
    places = np.linspace(0, 7, 24)
    rows = np.array([np.interp(places, range(8), row) for row in image])
    image = np.array([np.interp(places, range(8), row) for row in rows.T]).T
    return np.pad(np.rint(image), 2).astype("uint8")[..., None]


def entry(name: str, image: np.ndarray) -> dict:
    height, width, channels = image.shape
    return {
        "name": name,
        "height": height,
        "width": width,
        "channels": channels,
        "pixels": base64.b64encode(image.tobytes()).decode(),
    }


def main():
    images, labels = tfhyper.data.load_arrays(SET)[1]
    names = tfhyper.data.DATASETS[SET].class_names
    entries = [entry(names[labels[i]], bytes_of(images[i])) for i in PLACES]
    entries.append(entry("a handwritten digit, which is no clothing", digit()))
    with whole_file(str(FILE)) as temporary, open(temporary, "w") as file:
        file.write(json.dumps(entries, indent=1) + "\n")
    print(f"written: {FILE}, {len(entries)} images")


if __name__ == "__main__":
    main()
