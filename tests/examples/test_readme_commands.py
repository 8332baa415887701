"""The commands of the READMEs and the manual do not get in each other's way.

Nothing is trained here: folders are read from the commands and the scripts' defaults.
"""

import pathlib
import re
import shlex

import pytest

from tests.helpers.processes import run_python

ROOT = pathlib.Path(__file__).parents[2]
READMES = [
    ROOT / "README.md",
    *sorted((ROOT / "docs" / "manual").glob("*.md")),
    *sorted((ROOT / "examples").rglob("README.md")),
]
SCRIPT = re.compile(
    r"python (examples/[\w/]+\.py|benchmarks/\w+\.py)((?:\\\n|[^\n`&|#])*)"
)
TRAINS = {"train", "deep_ensemble", "bayesian_cnn", "mc_batch_norm", "uci_regression"}
DEFAULT = re.compile(r'(?:set_default|DEFINE_string)\(\s*"(\w+)",\s*"([^"]*)"')


def commands(path):
    """Returns (script, dict of its flags) of each command of a text, in its order."""
    found = []
    for script, rest in SCRIPT.findall(path.read_text()):
        words = shlex.split(rest.replace("\\\n", " "))
        pairs = [word.removeprefix("--").partition("=") for word in words]
        found.append((script, {name: value for name, _, value in pairs}))
    return found


def defaults(script):
    """Returns the defaults of a script's text flags: its own, else the shared ones."""
    shared = ROOT / "tfhyper" / "cli" / "flag_sets.py"
    if script.startswith("benchmarks"):
        shared = ROOT / "benchmarks" / "common.py"
    found = {}
    for path in (shared, ROOT / script):
        if path.exists():
            # Of a flag that several commands have, the first is that of trainings.
            own = dict(reversed(DEFAULT.findall(path.read_text())))
            found.update(own)
    return found


def workdir(script, flags):
    return flags.get("workdir", defaults(script)["workdir"])


def everything():
    """Returns the commands of all READMEs, that of the project first."""
    return [command for path in READMES for command in commands(path)]


def test_commands_are_found_with_their_flags():
    found = everything()
    assert ("examples/train.py", {}) in commands(ROOT / "README.md")
    assert ("examples/evaluate.py", {"workdir": "runs/train", "draws": "64"}) in found
    (imagenet,) = [x for _, x in found if x.get("dataset") == "imagenet2012"]
    assert imagenet["network"] == "resnet" and imagenet["epochs"] == "90"
    assert len(found) > 10


@pytest.mark.parametrize(
    "script", sorted({script for script, _ in everything()}), ids=str
)
def test_scripts_of_the_readmes_are_there(script):
    assert (ROOT / script).is_file()


def test_each_training_has_a_folder_of_its_own():
    folders = {}
    for script, flags in everything():
        if pathlib.Path(script).stem in TRAINS and "help" not in flags:
            folder = workdir(script, flags)
            trained = script, {**flags, "workdir": folder}
            assert folders.setdefault(folder, trained) == trained, folder
    assert len(folders) > 6


def test_what_is_read_was_written_by_a_command_before():
    written = set()
    read = {"evaluate": "workdir", "export_model": "workdir", "serve": "model"}
    for script, flags in everything():
        name = pathlib.Path(script).stem
        if name in TRAINS and "help" not in flags:
            written.add(workdir(script, flags))
        if name in read:
            folder = flags.get(read[name]) or defaults(script)[read[name]]
            assert folder in written, (script, flags)
        if name == "export_model":
            path = flags["output"]
            assert path not in written or "overwrite" in flags, path
            written.add(path)


def test_scripts_have_default_folders_of_their_own():
    folders = {}
    # A script that goes on with what another one has trained.
    of_another = {"foreign.py": "one_training.py"}
    for folder in ("examples", "benchmarks"):
        for path in sorted((ROOT / folder).glob("*.py")):
            found = dict(DEFAULT.findall(path.read_text())).get("workdir")
            # What trains nothing reads the folder of `train.py`.
            if found is not None:
                name = of_another.get(path.name, path.name)
                assert folders.setdefault(found, name) == name, found
    assert {"runs/bayesian_cnn", "runs/deep_ensemble"} <= set(folders)
    assert "runs/train" not in folders, "the default of all others"


def test_scripts_that_share_flags_show_them():
    for path in (ROOT / "benchmarks").glob("*.py"):
        text = path.read_text()
        names = "common|networks|anytime|workload"
        shares = re.search(rf"^(from|import) ({names})\b", text, re.M)
        if shares and "app.run(" in text:
            assert "    show_own_flags()\n    app.run(" in text, path.name
    for path in (ROOT / "examples").glob("*.py"):
        text = path.read_text()
        if "__main__" in text:
            assert "app.run(" not in text and "run(main)" in text, path.name


@pytest.mark.parametrize(
    "script, shown",
    [
        ("examples/train.py", "kit workdir dataset epochs strategy network draws"),
        ("benchmarks/step_time.py", "depth width batch_size"),
    ],
)
def test_help_lists_our_flags_and_none_of_absl(script, shown):
    done = run_python(ROOT / script, "--help")
    flags = re.findall(r"^  --(?:\[no\])?(\w+):", done.stdout, re.M)
    assert set(shown.split()) <= set(flags), done.stderr[-1000:]
    for name in ("pdb", "run_with_profiling", "verbosity", "logtostderr", "xml_output"):
        assert name not in flags
    first = re.search(r"^flags:\n\n(\S+):", done.stdout, re.M)
    assert first and first.group(1).endswith(script)
