"""examples/train.py on a small set in the form of ImageNet."""

import json
import pathlib

import keras
import numpy as np

import tfhyper
from tests.helpers.processes import run_python
from tests.helpers.tfds_sets import encode_jpeg, photograph, prepare_imagenet

ROOT = pathlib.Path(__file__).parents[2]


def test_training_on_imagenet(tmp_path):
    pairs = [
        (encode_jpeg(photograph(48 + i, 64, seed=i)), 37 * i % 1000) for i in range(28)
    ]
    prepare_imagenet(str(tmp_path), pairs[:16], pairs[16:], shards=2)
    workdir = tmp_path / "run"
    process = run_python(
        ROOT / "examples" / "train.py",
        "--dataset=imagenet2012",
        f"--data_dir={tmp_path}",
        "--image_size=32",
        "--color_jitter=0.4",
        "--recipe=imagenet",
        "--batch_size=8",
        "--epochs=1",
        "--draws=2",
        f"--workdir={workdir}",
        check=True,
    )
    model = keras.saving.load_model(workdir / "checkpoint-00001.keras")
    assert model.input_shape[1:] == (32, 32, 3) and model.output_shape[-1] == 1000
    optimizer = model.optimizer
    assert (int(optimizer.iterations), optimizer.coupled_decay) == (2, 1e-4)
    history = json.loads((workdir / "history.json").read_text())
    assert set(history) == {"accuracy", "loss", "top_5_accuracy"}
    # Two steps from 1000 even classes.
    assert abs(history["loss"][0] - np.log(1000)) < 2
    data = tfhyper.data.load("imagenet2012", data_dir=str(tmp_path), image_size=32)
    predictor = tfhyper.PosteriorPredictor.load(workdir / "predictor.tfhyper")
    mean = predictor.predict(data.test).mean
    labels = [label for _, label in pairs[16:]]
    best = np.argsort(-mean, axis=1)[:, :5]
    expected = np.mean([label not in row for label, row in zip(labels, best)])
    scores = json.loads((workdir / "scores.json").read_text())
    assert scores["x2"]["top_5_error"] == expected
    (row,) = (x for x in process.stdout.splitlines() if x.split()[:1] == ["x2"])
    assert float(row.split()[-1]) == round(100 * expected, 2)
    assert (workdir / "examples.png").read_bytes().startswith(b"\x89PNG")
