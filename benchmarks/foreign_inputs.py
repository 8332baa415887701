"""Foreign images: of none of the classes, or of another world; and scores of them."""

import keras
import numpy as np
from one_training_data import Images

from tfhyper import data, detection, metrics

#: Scores by which an image is found foreign, larger for more foreign.
SCORES = ("total", "epistemic", "disagreement", "mahalanobis")


def make_foreign(
    images: Images, count: int, other: str, data_dir: str | None
) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Returns foreign images by their kinds, normalised as the others are.

    Args:
        images: those that are known; the foreign ones are made of its test images.
        count: images of each kind, if there are so many.
        other: name of the data set whose images are foreign.
        data_dir: folder of prepared TensorFlow Datasets.

    Returns:
        The images: `"noise"`, each value of each channel uniform in its range;
        `"shuffled"`, test images with their pixels in another order; `"turned"`, test
        images upside down and on their side; `"other"`, another data set; and
        `"left_out"`, where classes were left out of training. And why a kind is not
        there: name -> reason.
    """
    known = images.test[0][:count]
    rng = np.random.default_rng(0)
    found = {
        "noise": _normalized(rng.uniform(0, 255, known.shape), images.spec),
        "shuffled": _shuffled(known, rng),
        "turned": _turned(known),
    }
    missing = {}
    try:
        found["other"] = _other(images.spec, other, count, data_dir)
    except FileNotFoundError as error:
        missing["other"] = str(error)
    if images.left_out is not None:
        found["left_out"] = images.left_out[:count]
    return found, missing


def _normalized(pixels: np.ndarray, spec: data.DatasetSpec) -> np.ndarray:
    """Returns pixels of 0 to 255 normalised as the data set's are."""
    return ((pixels / 255 - np.array(spec.mean)) / np.array(spec.std)).astype("float32")


def _shuffled(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Returns images whose pixels stand in another order, each in one of its own."""
    count, height, width, channels = images.shape
    pixels = images.reshape(count, height * width, channels)
    order = rng.permuted(np.tile(np.arange(height * width), (count, 1)), axis=1)
    mixed = np.take_along_axis(pixels, order[:, :, None], axis=1)
    return mixed.reshape(images.shape)


def _turned(images: np.ndarray) -> np.ndarray:
    """Returns images upside down and, every second one, on their side."""
    down = np.rot90(images, 2, axes=(1, 2))
    side = np.rot90(images, 1, axes=(1, 2))
    even = np.arange(len(images)) % 2 == 0
    return np.ascontiguousarray(np.where(even[:, None, None, None], down, side))


def _other(
    spec: data.DatasetSpec, name: str, count: int, data_dir: str | None
) -> np.ndarray:
    """Returns test images of another data set, in this one's size and colours."""
    # As pixels of 0 to 255.
    _, (pixels, _) = data.load_arrays(
        name, data_dir=data_dir, test_examples=count, mean=[0], std=[1 / 255]
    )
    height, width, channels = spec.image_shape
    if pixels.shape[-1] != channels:
        grey = pixels @ np.array([0.299, 0.587, 0.114]) if channels == 1 else None
        pixels = np.repeat(pixels, channels, -1) if grey is None else grey[..., None]
    if pixels.shape[1:3] != (height, width):
        resized = keras.ops.image.resize(
            pixels.astype("float32"), (height, width), data_format="channels_last"
        )
        pixels = keras.ops.convert_to_numpy(resized)
    return _normalized(pixels, spec)


def uncertainties(members: np.ndarray) -> dict[str, np.ndarray]:
    """Returns the scores of images that the draws' probabilities alone give.

    Args:
        members: probabilities (draws, examples, classes).

    Returns:
        `"total"`, the entropy of the mean, in nats; and of two draws or more
        `"epistemic"`, the mutual information of class and draw, in nats, and
        `"disagreement"`, the fraction of pairs of draws that name different classes.
    """
    scorers: dict[str, type[detection.scorer.ProbabilityScorer]] = {
        "total": detection.Entropy
    }
    if len(members) > 1:
        scorers["epistemic"] = detection.MutualInformation
        scorers["disagreement"] = detection.Disagreement
    return {name: scorer.of_members(members) for name, scorer in scorers.items()}


def auroc(known: dict[str, np.ndarray], foreign: dict[str, np.ndarray]) -> dict:
    """Returns, of each score, the AUROC that tells foreign images from known ones."""
    return {
        name: metrics.ood_detection(known[name], foreign[name])["auroc"]
        for name in known
        if name in foreign
    }
