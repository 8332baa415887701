"""`tfhyper` as a user types it: help, exit codes, results as JSON."""

import json
import pathlib
import re

import pytest

import tfhyper
from tests.helpers.processes import run_python

ROOT = pathlib.Path(__file__).parents[2]
BEFORE = ROOT / "tests" / "files_of_before"
TINY = ["--network=lenet5", "--kit=mc_dropout", "--epochs=1", "--draws=2"]
TINY += ["--train_examples=128", "--test_examples=40"]


def tfhyper_command(*words):
    return run_python("-m", "tfhyper", *words)


def test_help_and_info_import_no_keras():
    code = """
import sys
from unittest import mock
for words in (["--help"], ["train", "--help"], ["info", {file!r}]):
    sys.argv = ["-m", *words]  # as Python has it while it looks for the module
    with mock.patch.object(sys, "orig_argv", ["python", "-m", "tfhyper", *words]):
        import tfhyper
    sys.argv = ["tfhyper", *words]
    from tfhyper.cli import main
    print(main(words))
heavy = {{"keras", "tensorflow", "jax", "torch", "scipy", "sklearn", "matplotlib"}}
print("HEAVY", sorted(heavy & set(sys.modules)))
"""
    file = str(BEFORE / "predictor.tfhyper")
    done = run_python("-c", code.format(file=file), fresh=True, check=True)
    assert "HEAVY []" in done.stdout
    own = re.findall(r"^  --(?:\[no\])?(\w+):", done.stdout, re.M)
    assert {"kit", "workdir", "dataset", "network", "json"} <= set(own)
    assert not {"pdb", "verbosity", "logtostderr"} & set(own)
    for command in ("train", "evaluate", "compare", "export", "serve", "info"):
        assert re.search(rf"^  {command} +\w", done.stdout, re.M)


def test_where_names_come_late_they_are_the_same():
    for name in set(tfhyper.__all__) - {"__version__"}:
        assert tfhyper.__getattr__(name) is getattr(tfhyper, name)


@pytest.mark.parametrize("command", ["compare", "train"])
def test_a_command_imports_what_it_needs(command):
    # In a process that nothing of the package was imported in before.
    done = run_python("-m", "tfhyper", command, "--draws=0", fresh=True)
    assert "--draws must be positive. Received: --draws=0" in done.stderr


@pytest.mark.parametrize(
    "words, code, message",
    [
        (["ebaluate"], 2, "Did you mean `tfhyper evaluate`?"),
        (["train", "--deth=3"], 2, "Unknown command line flag 'deth'"),
        (["train", "depth"], 2, "Unknown arguments: depth"),
        (["train", "--kit=mcdropout"], 2, "<bayes|bayesian_hypernet|"),
        (["evaluate", "--workdir=nowhere"], 1, "--workdir must be a folder of"),
        (["export", "--workdir=nowhere"], 1, "left predictor.tfhyper"),
        (["info", "nowhere"], 1, "There is no file 'nowhere'"),
    ],
)
def test_what_goes_wrong_has_a_message_and_a_code(words, code, message):
    done = tfhyper_command(*words)
    assert done.returncode == code
    assert message in done.stderr and "Traceback" not in done.stderr


def test_help_of_each_command_lists_its_flags_and_ends_well():
    for command, flag in (("evaluate", "averaging"), ("export", "format")):
        done = tfhyper_command(command, "--help")
        assert done.returncode == 0 and f"--{flag}:" in done.stdout
        assert done.stdout.startswith(f"tfhyper {command}")
    done = tfhyper_command("serve", "--help")
    assert done.returncode == 0 and "--grpc_port" in done.stdout


def test_flags_of_serve_are_those_of_its_scripts():
    about = tfhyper_command("serve", "--help").stdout
    server, page = about.split("flags with --page:")
    for text, script in ((server, "serve.py"), (page, "page/serve_page.py")):
        source = (ROOT / "examples" / "serve" / script).read_text()
        defined = set(re.findall(r'DEFINE_\w+\(\s*"(\w+)"', source))
        if script == "serve.py":
            defined |= {"http_port", "grpc_port", "metrics_port"}
        named = set(re.findall(r"--(\w+)", text.partition("flags:")[2] or text))
        assert named <= defined
    # The script itself answers: a flag that it does not know.
    done = tfhyper_command("serve", "--page", "--no_such_flag")
    assert done.returncode == 1 and "no_such_flag" in done.stderr


def test_a_training_its_file_and_its_export(tmp_path):
    workdir = tmp_path / "run"
    done = tfhyper_command("train", f"--workdir={workdir}", "--json", *TINY)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["draws"] == 2 and found["test_examples"] == 40
    assert found["scores"] == json.loads((workdir / "scores.json").read_text())
    assert all(pathlib.Path(path).is_file() for path in found["written"])
    assert "40 test images" in done.stderr  # what is told meanwhile

    done = tfhyper_command("export", f"--workdir={workdir}", "--json")
    assert done.returncode == 0, done.stderr
    exported = json.loads(done.stdout)
    path = pathlib.Path(exported["path"])
    assert exported["size"] == sum(x.stat().st_size for x in path.rglob("*.*"))

    done = tfhyper_command("info", path, "--json")
    about = json.loads(done.stdout)
    assert about["kind"] == "SavedModel" and about["task"] == "logits"
    assert about["posterior"]["num_draws"] == 2
    assert about["tfhyper"] == tfhyper.__version__
    assert about["inputs"]["inputs"] == {"shape": [None, 28, 28, 1], "dtype": "uint8"}
