"""What the training steps are measured on: random images, and how large they are."""

import numpy as np
from absl import flags

FLAGS = flags.FLAGS
flags.DEFINE_integer("depth", 16, "Depth of the wide residual network.")
flags.DEFINE_integer("width", 2, "Width of the wide residual network.")
flags.DEFINE_integer("batch_size", 128, "Images in a batch.")
flags.DEFINE_integer("size", 32, "Height and width of an image.")

# By which the KL divergence is divided.
EXAMPLES = 50_000


def batch() -> tuple[np.ndarray, np.ndarray]:
    """Returns random images, normalised, and labels."""
    rng = np.random.default_rng(0)
    shape = (FLAGS.batch_size, FLAGS.size, FLAGS.size, 3)
    images = rng.normal(size=shape).astype("float32")
    return images, rng.integers(0, 10, FLAGS.batch_size)
