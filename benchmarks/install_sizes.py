"""What an installation takes on the disk: the package, what it needs, each extra.

    python benchmarks/install_sizes.py --output=benchmarks/results/install_sizes.json

Nothing is installed: it adds up the files of the distributions that are here, as their
own lists have them, with all that a distribution asks for on this machine; compiled
Python is not among them. Of an extra it says what it brings beyond the package's own
needs; what is not here is named.
"""

import csv
import functools
import importlib.metadata
import re
from collections.abc import Iterable

from absl import app, flags
from report import markdown_table, provenance, show_own_flags, write_json

FLAGS = flags.FLAGS
flags.DEFINE_string("package", "tfhyper", "The distribution that is looked at.")
flags.DEFINE_integer("rows", 12, "The largest of its needs that are listed.")
flags.DEFINE_string("output", None, "JSON file to write.")

_NAME = re.compile(r"[A-Za-z0-9._-]+")


def normal(name: str) -> str:
    """Returns the name of a distribution as it is compared."""
    return re.sub(r"[-_.]+", "-", name).lower()


@functools.cache
def size(name: str) -> int:
    """Returns the bytes of a distribution's files, as its list of them says."""
    record = importlib.metadata.distribution(name).read_text("RECORD") or ""
    return sum(int(size or 0) for *_, size in csv.reader(record.splitlines()))


def needs(name: str, extras: Iterable[str]) -> set[tuple[str, str]]:
    """Returns (name, extra) of what a distribution asks for; "" is no extra."""
    from packaging.requirements import Requirement

    found = set()
    for text in importlib.metadata.requires(name) or []:
        asked = Requirement(text)
        wanted = any(
            asked.marker is None or asked.marker.evaluate({"extra": extra})
            for extra in extras
        )
        if wanted:
            found |= {(normal(asked.name), extra) for extra in {"", *asked.extras}}
    return found


def closure(name: str, extras: Iterable[str] = ("",)) -> tuple[set[str], set[str]]:
    """Returns the distributions that one needs, and those of them that are not here."""
    waiting = {(normal(name), extra) for extra in extras}
    seen, missing = set(), set()
    while waiting:
        one = waiting.pop()
        if one in seen:
            continue
        seen.add(one)
        try:
            waiting |= needs(one[0], {"", one[1]} if one[1] else {""}) - seen
        except importlib.metadata.PackageNotFoundError:
            missing.add(one[0])
    return {name for name, _ in seen} - missing, missing


def main(_):
    name = FLAGS.package
    base, missing = closure(name)
    base.discard(normal(name))
    sizes = {need: size(need) for need in base}
    extras = importlib.metadata.metadata(name).get_all("Provides-Extra") or []
    rows = []
    for extra in ["", *sorted(extras)]:
        found, absent = closure(name, {"", extra})
        found.discard(normal(name))
        added = found if not extra else found - base
        row = {
            "extra": extra or "(none)",
            "packages": len(added),
            "bytes": sum(map(size, added)),
            "not_here": sorted(absent - (set() if not extra else missing)),
        }
        rows.append(row)
    largest = sorted(sizes, key=sizes.__getitem__, reverse=True)[: FLAGS.rows]
    print(
        markdown_table(
            ["extra", "packages", "MB", "not here"],
            [
                [r["extra"], r["packages"], f"{r['bytes'] / 1e6:.0f}"]
                + [", ".join(r["not_here"]) or "-"]
                for r in rows
            ],
        )
    )
    print(
        markdown_table(
            ["package", "MB"], [[n, f"{sizes[n] / 1e6:.0f}"] for n in largest]
        )
    )
    if FLAGS.output:
        found = {
            "extras": rows,
            "needs": {need: sizes[need] for need in sorted(sizes)},
        }
        write_json(FLAGS.output, {**provenance(), **found})


if __name__ == "__main__":
    show_own_flags()
    app.run(main)
