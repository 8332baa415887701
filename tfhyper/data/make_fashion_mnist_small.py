r"""Makes the Fashion-MNIST subset that this package carries.

It takes the first images of each class, in the order of the original files
(https://github.com/zalandoresearch/fashion-mnist). The same files give the same arrays.

    python -m tfhyper.data.make_fashion_mnist_small \
        --source_dir=fashion_mnist --output=fashion_mnist_small.npz
"""

from __future__ import annotations

import argparse
import gzip
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

NUM_CLASSES = 10


def read_idx(path: pathlib.Path) -> np.ndarray:
    """Reads a gzip-compressed idx file of unsigned bytes.

    Args:
        path: The file; its name does not matter.

    Returns:
        A uint8 array of the shape that the file states.

    Raises:
        ValueError: If the file is not an idx file of unsigned bytes, or is cut short.

    Example:
        >>> import tempfile
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "labels.gz"
        >>> _ = path.write_bytes(gzip.compress(bytes([0, 0, 8, 1, 0, 0, 0, 2, 7, 9])))
        >>> read_idx(path).tolist()
        [7, 9]
    """
    content = gzip.decompress(path.read_bytes())
    # Two zero bytes, the code of the type (8: unsigned byte), the number of axes.
    if len(content) < 4 or content[:3] != b"\x00\x00\x08":
        raise ValueError(
            f"`path` must be an idx file of unsigned bytes. Received: path={path}"
        )
    rank = content[3]
    shape = np.frombuffer(content, ">u4", count=rank, offset=4)
    values = np.frombuffer(content, np.uint8, offset=4 + 4 * rank)
    if values.size != np.prod(shape):
        raise ValueError(
            f"`path` must hold the values of shape {tuple(shape)}. "
            f"Received: path={path} with {values.size} values"
        )
    return values.reshape(shape)


def balanced_subset(
    images: np.ndarray, labels: np.ndarray, per_class: int
) -> tuple[np.ndarray, np.ndarray]:
    """Takes the first `per_class` examples of each class, in their order.

    Args:
        images: Array `(examples, height, width)`.
        labels: Integer array `(examples,)`, values 0 to 9.
        per_class: How many of each class to take; a positive integer.

    Returns:
        The images `(10 * per_class, height, width, 1)` and labels `(10 * per_class,)`.

    Raises:
        ValueError: If a class has fewer than `per_class` examples.

    Example:
        >>> labels = np.arange(30, dtype=np.uint8) % 10
        >>> balanced_subset(np.zeros((30, 2, 2), np.uint8), labels, 2)[0].shape
        (20, 2, 2, 1)
    """
    chosen = [np.flatnonzero(labels == c)[:per_class] for c in range(NUM_CLASSES)]
    fewest = min(len(indices) for indices in chosen)
    if fewest < per_class:
        raise ValueError(
            f"`per_class` must be at most the size of the smallest class, {fewest}. "
            f"Received: per_class={per_class}"
        )
    order = np.sort(np.concatenate(chosen))
    return images[order][..., None], labels[order]


def main(argv: Sequence[str] | None = None) -> None:
    """Runs the command line; see the module's text."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--source_dir", type=pathlib.Path, required=True)
    parser.add_argument("--output", type=pathlib.Path, required=True)
    parser.add_argument("--train_per_class", type=int, default=1000)
    parser.add_argument("--test_per_class", type=int, default=250)
    args = parser.parse_args(argv)
    arrays: dict[str, Any] = {}
    for split, prefix, per_class in (
        ("train", "train", args.train_per_class),
        ("test", "t10k", args.test_per_class),
    ):
        images = read_idx(args.source_dir / f"{prefix}-images-idx3-ubyte.gz")
        labels = read_idx(args.source_dir / f"{prefix}-labels-idx1-ubyte.gz")
        images, labels = balanced_subset(images, labels, per_class)
        arrays[f"x_{split}"], arrays[f"y_{split}"] = images, labels
    np.savez_compressed(args.output, **arrays)


if __name__ == "__main__":
    main()
