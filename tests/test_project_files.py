"""What the files around the package say of it agrees with the package."""

import configparser
import pathlib
import re
import subprocess
import sys

import pytest

from tfhyper.version import __version__

ROOT = pathlib.Path(__file__).parents[1]
SETUP = (ROOT / "setup.py").read_text()
TESTS = ".github/workflows/tests.yml"
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def read(name):
    return (ROOT / name).read_text()


@pytest.fixture(scope="module")
def metadata(tmp_path_factory):
    """Extra, or "install_requires", -> requirements, as setuptools writes them."""
    folder = tmp_path_factory.mktemp("egg")
    command = [sys.executable, "setup.py", "-q", "egg_info", f"--egg-base={folder}"]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    parser = configparser.ConfigParser(allow_no_value=True, delimiters=("\0",))
    parser.optionxform = str
    (found,) = folder.glob("*.egg-info")
    text = (found / "requires.txt").read_text()
    parser.read_string(f"[install_requires]\n{text}")
    extras = {}
    for section in parser.sections():
        extra = section.partition(":")[0] or "install_requires"
        extras.setdefault(extra, []).extend(parser[section])
    return extras


def test_extras_are_those_of_the_pages_and_hold_what_they_say(metadata):
    names = "all docs examples export jax plots serve test torch"
    assert set(names.split()) <= metadata.keys()
    pages = " ".join(
        path.read_text()
        for path in (*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *WORKFLOWS)
    )
    named = re.findall(r"(?:tfhyper|-e \"\.)\[([\w,]+)\]", pages)
    assert named
    assert {extra for names in named for extra in names.split(",")} <= metadata.keys()
    everything = set(metadata["all"])
    for extra in ("examples", "export", "jax", "plots", "serve", "torch"):
        assert set(metadata[extra]) <= everything, extra
    # Each has a floor, or is pinned, and so has what is always needed.
    for extra, requirements in metadata.items():
        for requirement in requirements:
            assert re.search(">=|==", requirement), (extra, requirement)


def test_one_version():
    assert f"\nversion: {__version__}\n" in read("CITATION.cff")
    changelog = read("CHANGELOG.md")
    (newest, *_) = re.findall(r"^## \[(.+?)\]", changelog, re.M)
    assert newest == "Unreleased" or newest == __version__
    released = re.findall(r"^## \[(\d[^\]]*)\]", changelog, re.M)
    assert len(set(released)) == len(released)
    assert re.fullmatch(r"\d+\.\d+\.\d+((a|b|rc)\d+)?", __version__)


def test_versions_of_python_are_the_same_everywhere():
    classified = re.findall(r"Python :: (3\.\d+)\"", SETUP)
    (floor,) = re.findall(r'python_requires=">=(3\.\d+)"', SETUP)
    assert classified[0] == floor
    (matrix,) = re.findall(r"python: (\[.*\])\n +# The floor", read(TESTS))
    assert re.findall(r"3\.\d+", matrix) == classified
    assert f'target-version = "py{floor.replace(".", "")}"' in read("pyproject.toml")
    (keras,) = re.findall(r'"keras>=([\d.]+)', SETUP)
    assert f'keras: ["=={keras}", ""]' in read(TESTS)


def test_workflows_run_what_is_there_and_may_read_alone():
    yaml = pytest.importorskip("yaml")
    assert {path.stem for path in WORKFLOWS} >= {"tests", "docs", "wheel", "nightly"}
    for path in WORKFLOWS:
        workflow = yaml.safe_load(path.read_text())
        assert workflow["permissions"] == {"contents": "read"}, path.name
        for job in workflow["jobs"].values():
            assert job["timeout-minutes"] and "permissions" not in job
            for step in job["steps"]:
                if "checkout" in step.get("uses", ""):
                    assert step["with"]["persist-credentials"] is False
                # No text of others becomes a part of a command.
                assert "${{" not in step.get("run", "")
        for script in re.findall(r"(?:run:|python) (\.ci/[\w.]+)", path.read_text()):
            assert (ROOT / script).is_file(), script
        for script in re.findall(r"- (\w+\.py)$", path.read_text(), re.M):
            assert (ROOT / "benchmarks" / script).is_file(), script
    for path in sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml")):
        form = yaml.safe_load(path.read_text())
        if path.name != "config.yml":
            assert form["name"] and form["description"] and form["body"]


def test_what_the_served_files_import_is_in_the_wheel():
    served = {path.name for path in (ROOT / "examples" / "serve").glob("*.py")}
    left_out = set(re.findall(r'"(\w+\.py)"', SETUP.partition("NOT_SERVED")[2][:200]))
    assert {"attack.py", "client.py"} <= left_out
    imported = {
        f"{name}.py"
        for path in (ROOT / "examples" / "serve").glob("*.py")
        if path.name not in left_out
        for name in re.findall(r"^(?:from|import) (\w+)", path.read_text(), re.M)
    }
    assert not imported & left_out and imported & served
