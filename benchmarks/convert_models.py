"""Which models `tfhyper.convert` draws: `keras.applications`, KerasHub's families.

Each architecture is built with weights of its own initializers, norms and biases moved
away from where they start, at a small input size; those of KerasHub, if it is
installed, in a small configuration. It is converted with three kits, and what the copy
gives at the posterior's mean (a generated one's code 0, dropout off) is compared with
what the model gives. With --whole one model of each family goes the whole way with
`kits.bayes`: a step of training with its KL divergence, draws, saved and loaded,
exported and loaded.

    python benchmarks/convert_models.py --whole
    python benchmarks/convert_models.py --models=MobileNet,ResNet50 --out=FILE

Goes on with the models that the file does not have. Half an hour on two cores.
"""

import gc
import json
import os
from collections.abc import Iterator
from typing import Any

import keras
from absl import app, flags
from convert_judged import WHOLE, go_the_whole_way, judge, make_model, rows
from convert_layers import KITS, TOLERANCE
from report import markdown_table, provenance, show_own_flags, write_json

FLAGS = flags.FLAGS
flags.DEFINE_string("out", "benchmarks/results/convert_models.json", "The JSON.")
flags.DEFINE_list("models", [], "Names of models; all if empty.")
flags.DEFINE_bool("whole", False, "One of each family through training, files, export.")


def missing(kept: dict[str, Any]) -> Iterator[str]:
    """Yields the names of models that are here, and not in what is kept."""
    for name in rows():
        asked = not FLAGS.models or name in FLAGS.models
        whole = FLAGS.whole and name in WHOLE and "whole" not in kept.get(name, {})
        if asked and (name not in kept or whole):
            yield name


def show(found: dict[str, Any]) -> str:
    """Returns the table in Markdown."""

    def cell(judged: dict[str, Any]) -> str:
        drawn = judged["replaced"] + judged["wrapped"]
        if "error" in judged:
            return "no layer of the kit's" if not drawn else judged["error"]
        if judged["difference"] > TOLERANCE:
            return f"differs by {judged['difference']:.1g}"
        return f"{drawn} of {drawn + judged['kept']}"

    lines = [
        [
            name,
            f"{one['parameters'] / 1e6:.2f}",
            *(cell(one[kit]) for kit in KITS),
            "; ".join(one["bayes"]["left"]),
        ]
        for name, one in sorted(found.items())
    ]
    header = ["model", "parameters, 10^6", *KITS, "left by bayes, with a warning"]
    return markdown_table(header, lines)


def main(_: Any) -> None:
    content: dict[str, Any] = {"models": {}}
    path = FLAGS.out
    if os.path.exists(path):
        with open(path, encoding="utf-8") as file:
            content = json.load(file)
    kept = content["models"]
    for name in missing(kept):
        print(f"== {name}", flush=True)
        row = rows()[name]
        model, inputs = make_model(row), row.inputs()
        one = kept.setdefault(name, {"parameters": model.count_params()})
        for kit in KITS:
            if kit not in one:
                one[kit] = judge(model, inputs, kit)
        if FLAGS.whole and name in WHOLE:
            one["whole"] = go_the_whole_way(model, inputs)
        about = {**provenance(), "tolerance": TOLERANCE}
        write_json(path, {**about, "models": kept})
        del model
        keras.backend.clear_session()
        gc.collect()
    print(show(kept))


if __name__ == "__main__":
    show_own_flags()
    app.run(main)
