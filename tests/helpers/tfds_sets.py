"""Sets of TensorFlow Datasets, prepared by the tests themselves."""

import io
import pathlib

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds
from PIL import Image


def prepare(
    data_dir, name, version, splits, image_shape, classes, extra=None, shards=1, **kw
):
    """Writes `{split: (images, labels)}` as a set of TFDS, in the order given."""
    extra = extra or {}
    features = tfds.features.FeaturesDict(
        {
            "image": tfds.features.Image(shape=image_shape, encoding_format="png"),
            "label": tfds.features.ClassLabel(num_classes=classes),
            **{key: feature for key, (feature, _) in extra.items()},
        }
    )
    values = {key: value for key, (_, value) in extra.items()}
    examples = {
        split: [
            {"image": image, "label": label, **values}
            for image, label in zip(*pairs, strict=True)
        ]
        for split, pairs in splits.items()
    }
    write(data_dir, name, version, examples, features, shards, **kw)


def prepare_imagenet(data_dir, train, validation=None, shards=1):
    """Writes lists of (bytes of a JPEG, label) as TFDS prepares `imagenet2012`."""
    features = tfds.builder("imagenet2012", data_dir=data_dir).info.features
    examples = {
        split: [
            {"image": io.BytesIO(jpeg), "label": label, "file_name": f"{i}.JPEG"}
            for i, (jpeg, label) in enumerate(pairs)
        ]
        for split, pairs in (("train", train), ("validation", validation))
        if pairs
    }
    write(
        data_dir,
        "imagenet2012",
        "5.1.0",
        examples,
        features,
        shards,
        supervised_keys=("image", "label"),
    )


def write(data_dir, name, version, splits, features, shards, **kw):
    """Writes `{split: examples}` as a set of TFDS with these features."""
    folder = pathlib.Path(data_dir) / name / version
    folder.mkdir(parents=True)
    template = tfds.core.ShardedFileTemplate(
        dataset_name=name, data_dir=folder, filetype_suffix="tfrecord"
    )
    infos = []
    for split, examples in splits.items():
        records = [features.serialize_example(example) for example in examples]
        pieces = np.array_split(np.arange(len(records)), shards)
        for shard, piece in enumerate(pieces):
            file = f"{name}-{split}.tfrecord-{shard:05d}-of-{shards:05d}"
            with tf.io.TFRecordWriter(str(folder / file)) as writer:
                for i in piece:
                    writer.write(records[i])
        infos.append(
            tfds.core.SplitInfo(
                name=split,
                shard_lengths=[len(piece) for piece in pieces],
                num_bytes=sum(map(len, records)),
                filename_template=template.replace(split=split),
            )
        )
    tfds.folder_dataset.write_metadata(
        data_dir=str(folder), features=features, split_infos=infos, **kw
    )


def encode_jpeg(image, **options):
    """Returns the bytes of a uint8 image as Pillow's JPEG."""
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", **{"quality": 95, **options})
    return file.getvalue()


def decode_jpeg(jpeg):
    """Returns the Pillow image of the bytes of a JPEG, in RGB."""
    return Image.open(io.BytesIO(jpeg)).convert("RGB")


def photograph(height, width, seed):
    """Returns a uint8 RGB image that is smooth, as photographs are."""
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.BICUBIC))


def collect(dataset):
    """Returns images and labels of a dataset, in one array each."""
    images, labels = zip(*dataset.as_numpy_iterator(), strict=True)
    return np.concatenate(images), np.concatenate(labels)


def normalised(images, mean, std):
    """Returns 0 to 255 with mean and deviation, in units of 0 to 1, taken out."""
    return (images / 255 - np.array(mean)) / np.array(std)
