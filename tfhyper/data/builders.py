"""Builders of TensorFlow Datasets: found, prepared, and checked before use."""

from __future__ import annotations

import difflib
from typing import Any

import numpy as np

from tfhyper.data.specs import DATASETS, DatasetSpec


def open_builder(name: str, data_dir: str | None, download: bool) -> Any:
    """Returns the builder of a prepared set.

    Args:
        name: Name of a set of TensorFlow Datasets, or of one prepared in `data_dir`.
        data_dir: The folder of prepared TensorFlow Datasets; `None`: its default.
        download: Whether to download and prepare a set that is not there.

    Returns:
        A `tfds.core.DatasetBuilder`.

    Raises:
        ValueError: If the name is unknown.
        FileNotFoundError: If the set is not prepared and `download` is false, or the
            archives that it is to be prepared from are not there.

    Example:
        ```python
        builder = open_builder("imagenet2012", "tensorflow_datasets", False)
        ```
    """
    import tensorflow_datasets as tfds

    try:
        builder = tfds.builder(name, data_dir=data_dir)
    except tfds.core.registered.DatasetNotFoundError as error:
        names = [*DATASETS, *tfds.list_builders(with_community_datasets=False)]
        matches = difflib.get_close_matches(name, dict.fromkeys(names), n=3)
        hint = f" Did you mean {' or '.join(map(repr, matches))}?" if matches else ""
        raise ValueError(
            f"`name` must be one of {sorted(DATASETS)}, another image-classification "
            "set of TensorFlow Datasets, or one prepared in "
            f"`data_dir`.{hint} Received: name={name!r}, data_dir={data_dir!r}"
        ) from error
    if builder.is_prepared():
        return builder
    missing = _how_to_prepare(builder, name, data_dir)
    if not download:
        raise FileNotFoundError(missing)
    try:
        builder.download_and_prepare()
    except AssertionError as error:
        # What TensorFlow Datasets raises if archives fetched by hand are not there.
        if not builder.MANUAL_DOWNLOAD_INSTRUCTIONS:
            raise
        raise FileNotFoundError(missing) from error
    return builder


def _how_to_prepare(builder: Any, name: str, data_dir: str | None) -> str:
    """Returns the message for a set that is not prepared."""
    # What to type: the default folder needs no argument.
    folder = "" if data_dir is None else f", data_dir={str(data_dir)!r}"
    by_hand = ""
    if builder.MANUAL_DOWNLOAD_INSTRUCTIONS:
        by_hand = (
            "Its archives are fetched by hand, into "
            f"'{builder.data_dir_root / 'downloads' / 'manual'}': "
            f"{' '.join(builder.MANUAL_DOWNLOAD_INSTRUCTIONS.split())} "
        )
    return (
        f"The data set '{name}' is not prepared: looked in '{builder.data_path}'. "
        f"{by_hand}Prepare it with `tensorflow_datasets.load('{name}'{folder})`, or "
        "call this function with `download=True`, or give the folder that holds it as "
        "`data_dir`."
    )


def check_stored(
    builder: Any, spec: DatasetSpec, image_key: str, label_key: str
) -> None:
    """Checks that the files of a prepared set hold what `spec` says.

    Args:
        builder: The builder of the set.
        spec: What is known of the set.
        image_key: The builder's name for the image.
        label_key: The builder's name for the label.

    Raises:
        ValueError: If images or classes are others.

    Example:
        ```python
        check_stored(builder, DATASETS["cifar10"], "image", "label")
        ```
    """
    import tensorflow_datasets as tfds

    try:
        # Those of `builder.info` are what the code of the set says, not its files.
        features = tfds.features.FeatureConnector.from_config(str(builder.data_path))
        image, label = features[image_key], features[label_key]
    except FileNotFoundError:  # from before such files were written
        return
    except KeyError as error:
        raise ValueError(
            f"'{spec.name}' must have the features '{image_key}' and '{label_key}'. "
            f"Received: the set in '{builder.data_path}' with {features}"
        ) from error
    varies = spec.resize is not None
    shape = (None, None, spec.image_shape[-1]) if varies else spec.image_shape
    stored = " in jpeg" if varies else ""
    rule = f"uint8 images of shape {shape}{stored} and {spec.num_classes} classes"
    stored = f" in {image.encoding_format}" if varies else ""
    received = (
        f"{np.dtype(image.np_dtype).name} images of shape {image.shape}{stored} and "
        f"{label.num_classes} classes"
    )
    if rule != received:
        raise ValueError(
            f"'{spec.name}' must have {rule}. Received: the set in "
            f"'{builder.data_path}' with {received}"
        )
