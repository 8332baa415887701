r"""The tables and figures of Ukai et al. (2019), at a chosen scale.

    python benchmarks/paper.py --scale=smoke --data_dir=DIR
    python benchmarks/paper.py --scale=cpu --only=table5,figure6 --data_dir=DIR
    python benchmarks/paper.py --scale=paper --list --rate=FILE
    python benchmarks/paper.py --scale=paper --run=WRN-28-4-normal-... --data_dir=DIR
    python benchmarks/paper.py --scale=paper --shard=2/8 --data_dir=DIR
    python benchmarks/paper.py --scale=paper --tables

Each number is the median of trainings from several seeds and, of each of them, of
several groups of draws (paper, section 4.1). Trainings are shared by the tables,
resume epoch by epoch from --workdir, and so do draws. A table whose data are not
there is left out, and said to be. Each network is trained as its study says, by
`tfhyper.training.RECIPES`; --list prints every training with its recipe, and the
recipes with their sources.

With none of the modes, one process trains what is not there and makes all tables.
With --shard several do, on one folder; `jobs/README.md` says how. KERAS_BACKEND
chooses TensorFlow, JAX or Torch, for which `DATA_DIR/NAME.npz` holds the data
(`npz_data.py`) where TensorFlow is not installed.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import dataclasses
import re

import keras
from absl import app, flags
from paper_claims import Claims
from paper_cost import cost, measure, read_rates
from paper_listing import listing
from paper_runs import SCALES, Lab, MissingRun, Scale
from paper_shards import (
    Work,
    claims_folder,
    divide,
    do_all,
    missing,
    units_of,
    work_of,
)
from paper_tables import TABLES, figure_path
from report import provenance, write_figure, write_json

FLAGS = flags.FLAGS
flags.DEFINE_bool("list", False, "Print the trainings and what they cost, and end.")
flags.DEFINE_string("run", None, "Do one training, by its name in --list, and end.")
flags.DEFINE_string("shard", None, "Do part i of n of the trainings: i/n, from 1 on.")
flags.DEFINE_bool("tables", False, "Print the tables of what is there, and end.")
flags.DEFINE_bool("measure", False, "Measure the rates of the networks, and end.")
flags.DEFINE_enum("scale", "smoke", sorted(SCALES), "How large everything is.")
flags.DEFINE_list("only", [], f"Of {', '.join(TABLES)}; or all.")
flags.DEFINE_string("data_dir", None, "Folder of prepared data sets, or of .npz files.")
flags.DEFINE_string("data_note", "CIFAR-10 (JPEG)", "How the JSON calls the data.")
flags.DEFINE_string("workdir", "runs/paper", "Where trainings and draws are kept.")
flags.DEFINE_string("output_dir", "benchmarks/results", "Where the results go.")
flags.DEFINE_integer("verbose", 2, "As of model.fit.")
flags.DEFINE_integer(
    "save_every", 1, "Epochs from one checkpoint to the next.", lower_bound=1
)
flags.DEFINE_enum(
    "precision", "float32", ["float32", "bfloat16"], "Of the layers; mixed bfloat16."
)
flags.DEFINE_bool("jit_compile", None, "As of model.compile; by default as Keras has.")
flags.DEFINE_string(
    "rate",
    None,
    "Operations per second, or the JSON of --measure or of gpu_hour.py; by default "
    "rates.json in --workdir, if it is there.",
)
flags.DEFINE_integer(
    "pack",
    1,
    "With --shard on JAX: trainings of so many seeds side by side. All shards alike.",
    lower_bound=1,
)
flags.DEFINE_float(
    "claim_timeout",
    300.0,
    "Seconds without a heartbeat after which another process has a training.",
    lower_bound=1.0,
)


def main(argv):
    if len(argv) > 1:
        raise app.UsageError(f"Unknown arguments: {argv[1:]}")
    unknown = sorted(set(FLAGS.only) - set(TABLES))
    if unknown:
        raise app.UsageError(f"--only takes {list(TABLES)}. Received: {unknown}")
    modes = [FLAGS.list, FLAGS.run, FLAGS.shard, FLAGS.tables, FLAGS.measure]
    if sum(map(bool, modes)) > 1:
        raise app.UsageError("Of --list, --run, --shard, --tables, --measure: one.")
    lab = Lab(
        FLAGS.scale,
        FLAGS.data_dir,
        os.path.join(FLAGS.workdir, FLAGS.scale),
        verbose=FLAGS.verbose,
        precision=FLAGS.precision,
        jit_compile="auto" if FLAGS.jit_compile is None else FLAGS.jit_compile,
        computes=not FLAGS.tables,
        save_every=FLAGS.save_every,
    )
    names = names_at(lab.sizes)
    work = work_of(lab, names)
    claims = Claims(claims_folder(lab.workdir), FLAGS.claim_timeout)
    rates_path = os.path.join(lab.workdir, "rates.json")
    if FLAGS.list:
        print(listing(lab, work, claims, read_rates(FLAGS.rate, rates_path)))
    elif FLAGS.measure:
        content = measure(lab, [one.run for one in work])
        write_json(rates_path, {**content, **provenance(("jax", "torch"))})
    elif FLAGS.run or FLAGS.shard:
        if FLAGS.pack > 1 and keras.backend.backend() != "jax":
            raise app.UsageError("--pack needs KERAS_BACKEND=jax.")
        own, others = chosen(lab, work)
        print(f"a training without a heartbeat is free after {claims.timeout:g} s")
        failed = do_all(lab, own, others, claims)
        for name, why in failed.items():
            print(f"not done: {name}: {why}")
        if failed:
            raise SystemExit(1)
    else:
        make_tables(lab, names, work)


def names_at(sizes: Scale) -> list[str]:
    """Returns the tables of --only, or all whose networks a scale has."""
    lacking = {}
    for name in FLAGS.only or TABLES:
        networks = {run.network for run in TABLES[name].runs(sizes)}
        lacking[name] = sorted(networks - set(sizes.networks))
    named = {name: which for name, which in lacking.items() if which}
    if FLAGS.only and named:
        raise app.UsageError(
            f"--only takes tables whose networks --scale={FLAGS.scale} has. "
            f"Received: {named}"
        )
    if named:
        print(f"left out, as --scale={FLAGS.scale} has not their networks: {named}")
    return [name for name in lacking if name not in named]


def chosen(lab: Lab, work: list[Work]) -> tuple[list[list[Work]], list[list[Work]]]:
    """Returns the units of --run or --shard, and those there are to help with."""
    if FLAGS.run:
        own = [one for one in work if one.name == FLAGS.run]
        if not own:
            raise app.UsageError(f"--run takes a name of --list. Received: {FLAGS.run}")
        return [own], []
    found = re.fullmatch(r"(\d+)/(\d+)", FLAGS.shard)
    i, n = map(int, found.groups()) if found else (0, 0)
    if not 1 <= i <= n:
        raise app.UsageError(f"--shard takes 1/n to n/n. Received: {FLAGS.shard}")
    costs = {one.name: cost(lab, one.run).operations for one in work}
    parts = divide(units_of(work, FLAGS.pack), costs, n)
    own = parts.pop(i - 1)
    return own, [unit for part in parts for unit in part]


def make_tables(lab: Lab, names: list[str], work: list[Work]) -> None:
    """Prints tables, and writes those that are whole."""
    for name in names:
        table = TABLES[name]
        print(f"=== {table.title}")
        try:
            found = table.make(lab)
        except FileNotFoundError as error:
            print(f"left out: {error}")
            continue
        except MissingRun as error:
            print(f"not there yet: {error}")
            continue
        print(f"\n{table.title}, scale {FLAGS.scale}\n\n{found.text}\n")
        if FLAGS.tables and (count := missing(work, lab)[name]):
            print(f"{count} of its {len(table.runs(lab.sizes))} trainings are to come")
            continue
        path = os.path.join(FLAGS.output_dir, f"paper_{FLAGS.scale}_{name}.json")
        content = {
            "what": table.title,
            "data": FLAGS.data_note,
            "scale": dataclasses.asdict(lab.sizes),
            **provenance(),
            "markdown": found.text.splitlines(),
            "results": found.results,
        }
        write_json(path, content)
        if found.figure is not None:
            path = figure_path(FLAGS.output_dir, FLAGS.scale, name)
            write_figure(path, found.figure, 110)


if __name__ == "__main__":
    app.run(main)
