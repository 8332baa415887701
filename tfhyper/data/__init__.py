"""Data sets for training and testing: read, normalised, shuffled and augmented.

`load` gives `tf.data` pipelines whose order and augmentation are a pure function of the
seed and the epoch, and `load_arrays` gives NumPy arrays. TensorFlow and TensorFlow
Datasets are imported when they are first needed: the set that this package carries,
`fashion_mnist_small`, comes as arrays without either.
"""

from tfhyper.data.arrays import load_arrays
from tfhyper.data.pipeline import Data, load
from tfhyper.data.specs import DATASETS, DatasetSpec

__all__ = ["DATASETS", "Data", "DatasetSpec", "load", "load_arrays"]
