"""The picture of the architecture is drawn, and knows all parts of the package."""

import pathlib

import matplotlib.image

import tfhyper
from tests.helpers.processes import run_python

ROOT = pathlib.Path(tfhyper.__file__).parents[1]
SCRIPT = ROOT / "benchmarks" / "structure_picture.py"


def test_it_draws_all_parts(tmp_path):
    path = tmp_path / "new" / "picture.png"
    done = run_python(SCRIPT, f"--out={path}")
    assert done.returncode == 0, done.stderr[-1000:]
    assert matplotlib.image.imread(path).shape[0] > 300


def test_each_part_has_words_or_serves_all_others():
    text = SCRIPT.read_text(encoding="utf-8")
    for path in (ROOT / "tfhyper").iterdir():
        part = path.name.removesuffix(".py")
        if path.is_dir() and not part.startswith("_"):
            assert f'"{part}": "' in text or part == "saving", part
