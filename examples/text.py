r"""Reads short texts, and shows where the network is unsure of what they say.

    python examples/text.py
    python examples/text.py --task=dates
    python examples/text.py --network=transformer --method=bayes
    python examples/text.py --languages=de,fr,pt --foreign=nl,es --workdir=runs/mine

--task=languages says in which language a country, a language or a currency is named;
--task=dates says of each character of a written date whether it is of the day, the
month, the year or the weekday. Both are made of what Babel knows of languages
(`pip install "tfhyper[sequences]"`). Much of it nobody can know: 'Guadeloupe' is
French, Dutch and English, and 3/4/2022 has its month first in some countries. Texts
of languages that the training lacks (--foreign) show what the network itself does not
know.

The networks are of plain Keras layers: characters go through a bidirectional LSTM, or
a small transformer. --method says what draws: the network's own dropout, noise of
learned scale on all weights, Bayes by Backprop of `tfhyper.convert`, or nothing. A run
that was stopped goes on when it is started again with the same flags.
"""

import os

import keras
import numpy as np
from absl import flags
from keras import layers, ops

import tfhyper
from tfhyper import data, kits, metrics, training
from tfhyper.cli.report import check_flags
from tfhyper.cli.scripting import run, write_figure, write_json

FLAGS = flags.FLAGS
METHODS = ("variational", "bayes", "mc_dropout", "deterministic")
# Flags that another run must have the same to go on in a workdir.
SETTINGS = (
    "task languages train_examples network method length width blocks dropout epochs "
    "batch_size learning_rate seed"
)
flags.DEFINE_enum("task", "languages", ["languages", "dates"], "What is asked.")
flags.DEFINE_list(
    "languages", "da,de,en,es,fr,it,nl,pl,pt,sv", "Codes of Babel, to train with."
)
flags.DEFINE_list("foreign", "cs,fi,hu,ro,tr", "Codes that the training lacks.")
flags.DEFINE_integer("train_examples", 4000, "Dates that are written for --task=dates.")
flags.DEFINE_integer("test_examples", 1000, "Dates to test with, of each kind.")
flags.DEFINE_enum("network", "lstm", ["lstm", "transformer"], "Network.")
flags.DEFINE_enum("method", "mc_dropout", METHODS, "What draws.")
flags.DEFINE_integer("length", 40, "Characters of a text; what is longer is cut off.")
flags.DEFINE_integer("width", 64, "Units of the layers.")
flags.DEFINE_integer("blocks", 2, "Blocks of the transformer.")
flags.DEFINE_float("dropout", 0.2, "Rate of dropout with --method=mc_dropout.")
flags.DEFINE_integer("epochs", 12, "Epochs.")
flags.DEFINE_integer("batch_size", 64, "Texts in a batch.")
flags.DEFINE_float(
    "learning_rate", None, "First rate of IVON, or of Adam; by default 1, or 0.003."
)
flags.DEFINE_integer("seed", 0, "Seed of weights, noise, texts and their order.")
flags.DEFINE_integer("draws", 16, "Draws that the prediction averages over.")
flags.DEFINE_integer("shown", 8, "Texts of each kind in the picture.", lower_bound=1)
flags.DEFINE_string("workdir", "runs/text", "Folder of the training and its results.")


def make_lstm(characters: int, labels: int, per_character: bool) -> keras.Model:
    """Returns a bidirectional LSTM over characters."""
    inputs = keras.Input((FLAGS.length,), dtype="int32")
    x = layers.Embedding(characters, FLAGS.width, mask_zero=True)(inputs)
    x = layers.Dropout(dropout_rate())(x)
    lstm = layers.LSTM(FLAGS.width, return_sequences=per_character)
    x = layers.Dropout(dropout_rate())(layers.Bidirectional(lstm)(x))
    return keras.Model(inputs, layers.Dense(labels, name="logits")(x))


def make_transformer(characters: int, labels: int, per_character: bool) -> keras.Model:
    """Returns a small encoder of attention; padding is masked, and averaged out."""
    width, rate = FLAGS.width, dropout_rate()
    inputs = keras.Input((FLAGS.length,), dtype="int32")
    places = ops.cumsum(ops.ones_like(inputs), axis=1) - 1
    x = layers.Embedding(characters, width, mask_zero=True)(inputs)
    x = layers.Add()([x, layers.Embedding(FLAGS.length, width)(places)])
    for _ in range(FLAGS.blocks):
        attended = layers.MultiHeadAttention(4, width // 4, dropout=rate)(x, x)
        x = layers.LayerNormalization()(layers.Add()([x, attended]))
        hidden = layers.Dense(2 * width, activation="gelu")(x)
        hidden = layers.Dropout(rate)(layers.Dense(width)(hidden))
        x = layers.LayerNormalization()(layers.Add()([x, hidden]))
    if not per_character:
        x = layers.GlobalAveragePooling1D()(x)
    return keras.Model(inputs, layers.Dense(labels, name="logits")(x))


def dropout_rate() -> float:
    return FLAGS.dropout if FLAGS.method == "mc_dropout" else 0.0


def build(characters: int, labels: int, found: data.ArrayBatches) -> keras.Model:
    """Returns the network of the flags, compiled."""
    keras.utils.set_random_seed(FLAGS.seed)
    make = make_lstm if FLAGS.network == "lstm" else make_transformer
    model = make(characters, labels, FLAGS.task == "dates")
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    if FLAGS.method == "variational":
        model = tfhyper.Variational(model, found.num_examples, seed=FLAGS.seed)
        return training.compile_variational_recipe(
            model,
            FLAGS.epochs,
            found.steps_per_epoch,
            learning_rate=1.0 if FLAGS.learning_rate is None else FLAGS.learning_rate,
        )
    if FLAGS.method == "bayes":
        kit = kits.bayes(found.num_examples, seed=FLAGS.seed)
        model = tfhyper.convert(model, kit)
    steps = FLAGS.epochs * found.steps_per_epoch
    first = 0.003 if FLAGS.learning_rate is None else FLAGS.learning_rate
    rate = keras.optimizers.schedules.CosineDecay(first, steps)
    model.compile(keras.optimizers.Adam(rate), loss, metrics=["accuracy"])
    return model


def make_predictor(model: keras.Model) -> tfhyper.PosteriorPredictor:
    """Returns what averages over the draws of --method."""
    return tfhyper.PosteriorPredictor(
        model,
        1 if FLAGS.method == "deterministic" else FLAGS.draws,
        dropout="sample" if FLAGS.method == "mc_dropout" else None,
        seed=FLAGS.seed,
    )


def load() -> tuple[data.LabelledTexts, data.LabelledTexts, data.LabelledTexts]:
    """Returns the texts to train and to test with, and those of other languages."""
    languages, foreign, seed = FLAGS.languages, FLAGS.foreign, FLAGS.seed
    if FLAGS.task == "languages":
        parts = data.language_names(languages, longest=FLAGS.length, seed=seed)
        others = data.language_names(foreign, longest=FLAGS.length, seed=seed)
        return parts["train"], parts["test"], others["test"]
    # Each with a seed of its own: other dates.
    return (
        data.written_dates(languages, FLAGS.train_examples, seed=3 * seed),
        data.written_dates(languages, FLAGS.test_examples, seed=3 * seed + 1),
        data.written_dates(foreign, FLAGS.test_examples, seed=3 * seed + 2),
    )


def to_length(labels: np.ndarray) -> np.ndarray:
    """Returns labels as they are, or those of characters in rows of --length."""
    if labels.ndim == 1:
        return labels
    cut = labels[:, : FLAGS.length]
    return np.pad(cut, ((0, 0), (0, FLAGS.length - cut.shape[1])))


def per_text(values: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Returns a number for each text: its own, or the mean over its characters."""
    if values.ndim == 1:
        return values
    known = x != 0
    return (values * known).sum(-1) / known.sum(-1)


def name_picture(found, names, title):
    """Returns a figure: what languages the likeliest are of some names."""
    import matplotlib.pyplot as plt

    fig, panels = plt.subplots(
        1, len(found), figsize=(11, 1 + 0.32 * FLAGS.shown), layout="constrained"
    )
    for axes, (kind, (texts, prediction)) in zip(panels, found.items(), strict=True):
        rows = range(min(FLAGS.shown, len(texts)))
        image = axes.imshow(prediction.mean[rows], vmin=0, vmax=1, cmap="Blues")
        ticks = [f"{texts[i]}  {prediction.epistemic[i]:.2f}" for i in rows]
        axes.set_yticks(rows, ticks, fontsize=8)
        axes.set_xticks(range(len(names)), names, fontsize=8)
        axes.set_title(f"{kind}; epistemic, nats", fontsize=9)
    fig.colorbar(image, ax=panels, label="Probability", shrink=0.8)
    fig.suptitle(title, fontsize=10)
    return fig


def date_picture(found, names, title):
    """Returns a figure: each character with its label and its uncertainty."""
    import matplotlib.pyplot as plt

    fig, panels = plt.subplots(
        1, len(found), figsize=(11, 1.2 + 0.32 * FLAGS.shown), layout="constrained"
    )
    colors = plt.get_cmap("Dark2").colors
    for axes, (kind, (texts, prediction)) in zip(panels, found.items(), strict=True):
        rows = range(min(FLAGS.shown, len(texts)))
        texts = [texts[i][: FLAGS.length] for i in rows]
        longest = max(map(len, texts))
        total = prediction.total[rows, :longest].copy()
        for i in rows:
            total[i, len(texts[i]) :] = np.nan
            for j, character in enumerate(texts[i]):
                color = colors[prediction.label[i, j]]
                axes.text(
                    j, i, character, color=color, ha="center", va="center", fontsize=8
                )
        image = axes.imshow(total, vmin=0, vmax=0.7, cmap="Reds", aspect="auto")
        axes.set(xticks=[], yticks=[])
        axes.set_title(kind, fontsize=9)
    fig.colorbar(image, ax=panels, label="Total uncertainty, nats", extend="max")
    handles = [plt.Line2D([], [], color=colors[i], lw=4) for i in range(len(names))]
    fig.legend(handles, names, loc="outside lower center", ncols=5, frameon=False)
    fig.suptitle(title, fontsize=10)
    return fig


def main():
    check_flags(("draws", "test_examples", "length", "width"))
    train, test, foreign = load()
    alphabet = "".join(sorted(set("".join(train.texts))))
    names = FLAGS.languages if FLAGS.task == "languages" else list(data.DATE_PARTS)

    def encode(texts: data.LabelledTexts) -> np.ndarray:
        return data.encode_texts(texts.texts, alphabet, FLAGS.length)

    batches = data.ArrayBatches(
        encode(train), to_length(train.labels), FLAGS.batch_size, seed=FLAGS.seed
    )
    settings = {name: FLAGS[name].value for name in SETTINGS.split()}
    characters = len(alphabet) + 2
    model, _ = training.fit_in_workdir(
        training.Workdir(FLAGS.workdir, settings),
        lambda: build(characters, len(names), batches),
        batches,
        FLAGS.epochs,
        verbose=2,
    )
    predictor = make_predictor(model)
    x, y = encode(test), to_length(test.labels)
    evaluated = predictor.evaluate(x, y, verbose=0)
    scores = {name: evaluated[name] for name in ("error", "nll", "ece")}
    inputs = {
        "test": (test.texts, x),
        "other languages": (foreign.texts, encode(foreign)),
    }
    found = {
        kind: (texts, predictor.predict(codes, keep_members=False, verbose=0))
        for kind, (texts, codes) in inputs.items()
    }
    for name in ("total", "epistemic"):
        known, other = (
            per_text(getattr(prediction, name), codes)
            for (_, codes), (_, prediction) in zip(
                inputs.values(), found.values(), strict=True
            )
        )
        if FLAGS.method != "deterministic" or name == "total":
            detected = metrics.ood_detection(known, other)
            scores[f"foreign_auroc_{name}"] = detected["auroc"]
    print(f"\n{len(x)} test texts, {FLAGS.method}, x{predictor.num_draws}")
    for name, value in scores.items():
        print(f"{name:>24} {value:8.4f}")
    print()
    write_json(os.path.join(FLAGS.workdir, "scores.json"), scores)
    write_json(os.path.join(FLAGS.workdir, "alphabet.json"), {"alphabet": alphabet})
    draw = name_picture if FLAGS.task == "languages" else date_picture
    title = f"{FLAGS.network}, {FLAGS.method}, x{predictor.num_draws}"
    write_figure(os.path.join(FLAGS.workdir, "texts.png"), draw(found, names, title))
    path = os.path.join(FLAGS.workdir, "predictor.tfhyper")
    predictor.save(path, overwrite=True)
    print(f"written: {path}")


if __name__ == "__main__":
    run(main)
