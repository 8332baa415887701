r"""Time of a training step against that of the same plain network.

    python benchmarks/step_time.py
    KERAS_BACKEND=jax python benchmarks/step_time.py --output=FILE

Ours, with Gaussian kernels and with hypernetworks, against plain Keras; tfp.layers
against plain tf_keras; and, where they are installed, bayesian-torch against plain
torch and hypnettorch against its own plain network. The systems take turns, step by
step, in one process; a ratio is the median over the rounds of step time over that of
the plain network of the same framework in the same round.
"""

from absl import app, flags

# First, for what it imports before TensorFlow.
from networks import bayesian, chosen, hypernetworks, members, rivals, settings  # isort: skip
from report import markdown_table, provenance, show_own_flags, write_json
from timing import time_systems

FLAGS = flags.FLAGS
flags.DEFINE_integer("rounds", 12, "Steps of each system that are timed.")
flags.DEFINE_integer("warm_up", 3, "Steps of each system before.")
flags.DEFINE_string("output", "benchmarks/results/step_time.json", "The JSON.")


def main(argv):
    if len(argv) > 1:
        raise app.UsageError(f"Unknown arguments: {argv[1:]}")
    systems = chosen({**hypernetworks(), **bayesian(), **members(), **rivals()})
    systems = {name: (make()[0], plain) for name, (make, plain) in systems.items()}
    results = time_systems(systems, FLAGS.warm_up, FLAGS.rounds)
    for row in results.values():
        row["images_per_second"] = FLAGS.batch_size / row["seconds"]
    rows = [
        [
            name,
            f"{r['seconds']:.3f}",
            f"{r['images_per_second']:.0f}",
            f"{r['ratio']:.2f}",
            "{:.2f} - {:.2f}".format(*r["ratio_quartiles"]),
        ]
        for name, r in results.items()
    ]
    header = ["system", "seconds a step", "images/s", "ratio to plain", "quartiles"]
    print(markdown_table(header, rows))
    content = {
        "what": "seconds of a training step, and its ratio to the plain network",
        "data": "random images",
        "settings": settings("rounds", "warm_up"),
        **provenance(("tf_keras", "jax", "torch", "bayesian-torch", "hypnettorch")),
        "results": results,
    }
    write_json(FLAGS.output, content)


if __name__ == "__main__":
    show_own_flags()
    app.run(main)
