"""Builds the wheel and the sdist, and checks both as somebody else would use them.

    python .ci/package.py [--keep=FOLDER]

What it proves: the sdist is built of this checkout, and the wheel of the sdist alone;
`twine check` and `check-wheel-contents` find no fault; the wheel holds the package, the
files of data that it needs and the server of `tfhyper serve`, and no test, benchmark or
example; installed without its dependencies in an empty folder, and run from another one
with the packages of this environment, the library, its data and its commands are those
of the wheel. It needs no network, and what `pip install "tfhyper[test]"` brings.

What it does not prove is that the dependencies install: `.ci/run` does, which makes a
fresh environment of them, and the workflow "wheel".
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# What must be in the wheel besides modules.
DATA = {
    "tfhyper/py.typed",
    "tfhyper/cli/server/serve.py",
    "tfhyper/cli/server/settings.json",
    "tfhyper/cli/server/models/fashion/model-settings.json",
    "tfhyper/cli/server/page/index.html",
    "tfhyper/cli/server/page/serve_page.py",
}
# Run in another folder: it must find the wheel's files, and no others.
USE = """
import pathlib, sys
import tfhyper
from tfhyper.cli import serve
home = pathlib.Path(sys.argv[1]).resolve()
for path in (tfhyper.__file__, serve.folder()):
    assert home in pathlib.Path(path).resolve().parents, path
assert tfhyper.__version__ == sys.argv[2], tfhyper.__version__
(images, labels), _ = tfhyper.data.load_arrays("fashion_mnist_small")
assert len(images) == len(labels) == 10_000
model = tfhyper.models.lenet5(input_shape=(28, 28, 1), kit="hyper")
found = tfhyper.PosteriorPredictor(model, num_draws=2).predict(images[:8])
assert found.members.shape == (2, 8, 10)
print("used:", tfhyper.__file__)
"""


def run(*words: object, **options: object) -> str:
    """Runs a command, and returns what it prints; fails with it if the command does."""
    done = subprocess.run(
        [str(word) for word in words], capture_output=True, text=True, **options
    )
    if done.returncode != 0:
        sys.exit(f"{words} failed:\n{done.stdout}\n{done.stderr}")
    return done.stdout


def check_contents(wheel: Path) -> None:
    """Ends the script if the wheel has other files than it should."""
    names = set(zipfile.ZipFile(wheel).namelist())
    modules = {str(path.relative_to(ROOT)) for path in (ROOT / "tfhyper").rglob("*.py")}
    data = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "tfhyper" / "data").iterdir()
        if path.suffix == ".npz" or "LICENSE" in path.name
    }
    wanted = modules | data | DATA
    if missing := wanted - names:
        sys.exit(f"not in the wheel: {sorted(missing)}")
    other = {
        name
        for name in names - wanted
        if not re.match(r"tfhyper-[^/]+\.dist-info/|tfhyper/cli/server/", name)
    }
    if other or any("test" in Path(name).parts for name in names):
        sys.exit(f"in the wheel, and not of the package: {sorted(other)}")


def main() -> None:
    """Builds, checks, installs and uses the package."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--keep", type=Path, help="folder for the wheel and the sdist")
    keep = parser.parse_args().keep
    with tempfile.TemporaryDirectory() as name:
        temporary = Path(name)
        dist = keep or temporary / "dist"
        python = sys.executable
        # With this environment's setuptools: an isolated build would download it.
        print(
            run(python, "-m", "build", "--no-isolation", "--outdir", dist, ROOT)[-200:]
        )
        (wheel,), (sdist,) = dist.glob("*.whl"), dist.glob("*.tar.gz")
        print(run(python, "-m", "twine", "check", "--strict", wheel, sdist))
        print(run(Path(python).with_name("check-wheel-contents"), wheel))
        check_contents(wheel)
        target = temporary / "installed"
        pip = (python, "-m", "pip", "--disable-pip-version-check", "--no-input")
        run(*pip, "install", "--no-deps", "--no-index", "--target", target, wheel)
        print(run(*pip, "check"))
        env = {
            **os.environ,
            "PYTHONPATH": str(target),
            "HOME": str(temporary),
            "TF_CPP_MIN_LOG_LEVEL": "3",
        }
        version = wheel.name.split("-")[1]
        # "-P": what is installed, and not what lies in the folder.
        if sys.version_info >= (3, 11):
            python = (python, "-P")
        else:
            python = (python,)
        outside = {"env": env, "cwd": temporary}
        print(run(*python, "-c", USE, target, version, **outside))
        script = target / "bin" / "tfhyper"
        for command in ("", "train", "evaluate", "export", "serve", "info"):
            words = [*command.split(), "--help"]
            said = run(sys.executable, script, *words, **outside)
            if f"tfhyper {command}" not in said:
                sys.exit(f"tfhyper {command} --help says: {said}")
        print(run(*python, "-m", "tfhyper", "info", **outside))
        size = wheel.stat().st_size, sdist.stat().st_size
        print(f"wheel {size[0] / 2**20:.2f} MiB, sdist {size[1] / 2**20:.2f} MiB: fine")


if __name__ == "__main__":
    main()
