"""Data sets for training and testing: read, normalised, shuffled and augmented.

`load` gives `tf.data` pipelines whose order and augmentation are a pure function of the
seed and the epoch, and `load_arrays` gives NumPy arrays. TensorFlow and TensorFlow
Datasets are imported when they are first needed: the set that this package carries,
`fashion_mnist_small`, comes as arrays without either. `load_table` reads tables of
numbers for regression, `load_segmentation` folders of images and masks, and
`load_super_resolution` folders of pictures, each with a small one that it is to be made
of; `picture_pairs`, `read_picture` and `reduce_picture` are its parts. `ArrayBatches`
makes of arrays what a training resumes on; `language_names` and `written_dates` make
labelled texts, and `encode_texts` numbers of texts.
"""

from tfhyper.data.array_batches import ArrayBatches
from tfhyper.data.arrays import load_arrays
from tfhyper.data.gan_batches import GANBatches
from tfhyper.data.languages import (
    DATE_PARTS,
    LabelledTexts,
    encode_texts,
    language_names,
    written_dates,
)
from tfhyper.data.pairs import median_frequency_weights
from tfhyper.data.pipeline import Data, load
from tfhyper.data.repeat import repeat_batches
from tfhyper.data.segmentation import load_segmentation
from tfhyper.data.specs import DATASETS, DatasetSpec
from tfhyper.data.super_resolution import (
    PicturePair,
    load_super_resolution,
    picture_pairs,
    read_picture,
    reduce_picture,
)
from tfhyper.data.tables import (
    Standardization,
    Table,
    check_table,
    fold_rows,
    load_table,
    split_rows,
    standardization,
)

__all__ = [
    "ArrayBatches",
    "DATASETS",
    "DATE_PARTS",
    "Data",
    "DatasetSpec",
    "GANBatches",
    "LabelledTexts",
    "PicturePair",
    "Standardization",
    "Table",
    "check_table",
    "encode_texts",
    "fold_rows",
    "language_names",
    "load",
    "load_arrays",
    "load_segmentation",
    "load_super_resolution",
    "load_table",
    "median_frequency_weights",
    "picture_pairs",
    "read_picture",
    "reduce_picture",
    "repeat_batches",
    "split_rows",
    "standardization",
    "written_dates",
]
