"""The example of a KerasHub preset: one made here, each method, and what is refused."""

import csv
import json
import pathlib
import string

import pytest

import tfhyper
from tests.helpers.processes import run_python

ROOT = pathlib.Path(__file__).parents[2]
TEXTS = {"a": ["aba", "abba", "baa", "aab"], "z": ["zyz", "zzy", "yzy", "yyz"]}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Returns a folder with a preset and CSV files."""
    keras_hub = pytest.importorskip("keras_hub")
    made = tmp_path_factory.mktemp("preset")
    letters = [*string.ascii_lowercase, *(f"##{x}" for x in string.ascii_lowercase)]
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters]
    models = keras_hub.models
    tokenizer = models.BertTokenizer(vocabulary=words, lowercase=True)
    backbone = models.BertBackbone(
        vocabulary_size=len(words),
        num_layers=1,
        num_heads=2,
        hidden_dim=8,
        intermediate_dim=16,
        max_sequence_length=12,
    )
    models.BertTextClassifier(
        backbone,
        num_classes=2,
        preprocessor=models.BertTextClassifierPreprocessor(tokenizer),
    ).save_to_preset(str(made / "tiny"))
    for name in ("train", "test", "foreign"):
        with open(made / f"{name}.csv", "w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["text", "label"])
            for label, texts in TEXTS.items():
                writer.writerows([text, label] for text in 3 * texts)
    return made


def fine_tune(folder, *changes, workdir):
    flags = {
        "preset": folder / "tiny",
        "train": folder / "train.csv",
        "test": folder / "test.csv",
        "epochs": 1,
        "batch_size": 8,
        "draws": 2,
        "rank": 2,
        "workdir": workdir,
    }
    given = [f"--{name}={value}" for name, value in flags.items()]
    script = ROOT / "examples" / "fine_tune.py"
    # KerasHub would find the TensorFlow of the process that is forked.
    return run_python(script, *given, *changes, fresh=True)


@pytest.mark.parametrize("method", ["lora", "last"])
def test_each_method_draws(method, folder, tmp_path):
    changes = [f"--method={method}", f"--foreign={folder / 'foreign.csv'}"]
    done = fine_tune(folder, *changes, workdir=tmp_path)
    assert done.returncode == 0, done.stderr
    scores = json.loads((tmp_path / "scores.json").read_text())
    assert 0 <= scores["foreign_auroc_epistemic"] <= 1
    # The factors and what is behind the backbone; or the whole network.
    assert (scores["trained_numbers"] < scores["parameters"]) == (method == "lora")
    predictor = tfhyper.PosteriorPredictor.load(tmp_path / "predictor.tfhyper")
    assert predictor.num_draws == 2
    again = fine_tune(folder, *changes, workdir=tmp_path)
    assert "resuming after 1 of 1 epochs" in again.stdout, again.stderr
    assert json.loads((tmp_path / "scores.json").read_text()) == scores


def test_bad_flags_are_named(folder, tmp_path):
    bad = fine_tune(folder, f"--preset={tmp_path / 'none'}", workdir=tmp_path / "a")
    assert bad.returncode == 1
    assert "--preset must be that of a text classifier" in bad.stderr
    (tmp_path / "few.csv").write_text("text\nhello\n")
    bad = fine_tune(folder, f"--train={tmp_path / 'few.csv'}", workdir=tmp_path / "a")
    assert "must have the columns text and label" in bad.stderr
    (tmp_path / "more.csv").write_text("text,label\nhello,q\n")
    bad = fine_tune(folder, f"--test={tmp_path / 'more.csv'}", workdir=tmp_path / "a")
    assert "labels that" in bad.stderr and "['q']" in bad.stderr
    assert not (tmp_path / "a" / "predictor.tfhyper").exists()
