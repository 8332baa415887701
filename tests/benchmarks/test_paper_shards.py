"""The paper's trainings in parts: who does what, who has what, and the same tables."""

import json
import os
import pathlib
import re
import runpy
import sys
import threading
import time

import numpy as np
import pytest

from tests.helpers.processes import fork_server, redirect

ROOT = pathlib.Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "benchmarks"))

import paper_claims  # noqa: E402
import paper_runs  # noqa: E402
import paper_shards  # noqa: E402
import paper_tables  # noqa: E402

# Every mechanism, and nothing that takes long.
TINY = paper_runs.Scale(
    networks={"WRN-16-4": ("lenet5", {})},
    epochs=2,
    train_examples=256,
    test_examples=100,
    seeds=(0,),
    draws=4,
    groups=2,
)


def grow_old(claims, name, number=1):
    """Makes a claim look as if its worker had died."""
    path = claims.path(name, number)
    long_ago = os.stat(path).st_mtime - claims.timeout - 1
    os.utime(path, (long_ago, long_ago))


def names(found):
    return [one.name for one in found]


# --- claims


def test_a_training_is_one_worker_s_at_a_time(tmp_path):
    claims = paper_claims.Claims(str(tmp_path / "claims"), 60.0)
    assert claims.holder("a") is None
    mine = claims.take("a")
    assert claims.take("a") is None
    assert claims.take("ab") is not None  # another one
    with mine.held():
        assert claims.holder("a")["pid"] == os.getpid()
        assert claims.take("a") is None
        mine.check()
    assert claims.holder("a") is None  # given back
    assert claims.take("a").number == 2


def test_a_dead_worker_s_training_is_taken_over_once(tmp_path):
    claims = paper_claims.Claims(str(tmp_path), 60.0)
    dead = claims.take("a")
    grow_old(claims, "a")
    found, start = [], threading.Barrier(8)

    def take():
        start.wait()
        found.append(claims.take("a"))

    threads = [threading.Thread(target=take) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (taken,) = [claim for claim in found if claim is not None]
    assert taken.number == 2
    taken.check()
    # It was only asleep, and finds that out before it writes.
    with pytest.raises(paper_claims.ClaimLostError, match="took a over.*60 s"):
        dead.check()


def test_a_heart_beats_until_the_end(tmp_path):
    claims = paper_claims.Claims(str(tmp_path), 0.5)
    with claims.take("a").held():
        time.sleep(1.0)  # twice the timeout
        assert claims.take("a") is None
        assert claims.holder("a")["beats"] >= 5
    path = claims.path("a", 1)
    assert json.loads(pathlib.Path(path).read_text())["given_back"]
    time.sleep(0.2)
    assert sorted(os.listdir(tmp_path)) == ["a.0001.json"]


def test_a_claim_that_was_never_written_ages_too(tmp_path):
    claims = paper_claims.Claims(str(tmp_path), 60.0)
    open(claims.path("a", 1), "w").close()
    assert claims.take("a") is None
    grow_old(claims, "a")
    assert claims.take("a").number == 2


# --- division


@pytest.fixture(scope="module")
def work():
    lab = paper_runs.Lab("paper", None, "nowhere")
    return paper_shards.work_of(lab, ["table2", "table4", "figure7"])


def test_the_division_is_of_everything_and_even(work):
    costs = {one.name: 1.0 + (i % 5) for i, one in enumerate(work)}
    units = paper_shards.units_of(work)
    parts = paper_shards.divide(units, costs, 3)
    assert parts == paper_shards.divide(list(reversed(units)), costs, 3)
    done = [one.name for part in parts for unit in part for one in unit]
    assert sorted(done) == sorted(names(work))
    loads = [sum(costs[o.name] for unit in part for o in unit) for part in parts]
    assert max(loads) - min(loads) <= max(costs.values())
    for part in parts:
        own = [costs[unit[0].name] for unit in part]
        assert own == sorted(own, reverse=True)


def test_units_are_runs_that_differ_in_their_seeds(work):
    units = paper_shards.units_of(work, 3)
    assert sorted(names(sum(units, []))) == sorted(names(work))
    sizes = set()
    for unit in units:
        sizes.add(len(unit))
        assert len({one.run.kind for one in unit}) == 1
        assert len(unit) == 1 or unit[0].run.kit in ("hyper", "deterministic")
    assert sizes == {1, 3}  # 16 networks of an ensemble leave one


class Asked(paper_runs.Lab):
    """Notes what a table asks for, which is not there."""

    asked = []

    def members(self, run):
        self.asked.append((run, "members"))
        raise paper_runs.MissingRun

    def model(self, run):
        self.asked.append((run, "model"))
        raise paper_runs.MissingRun

    def form_curve(self, run, form):
        self.asked.append((run, form))
        raise paper_runs.MissingRun


SMOKE = paper_runs.SCALES["smoke"]


@pytest.mark.parametrize(
    "name", [name for name, t in paper_tables.TABLES.items() if t.runs(SMOKE)]
)
def test_what_a_table_asks_for_is_what_a_shard_keeps(name):
    lab = Asked("smoke", None, "nowhere")
    lab.asked.clear()
    try:
        paper_tables.TABLES[name].make(lab)
    except paper_runs.MissingRun:
        pass  # those after the first are not asked for
    work = {one.run: one for one in paper_shards.work_of(lab, [name])}
    for run, what in lab.asked:
        kept = {"model", *work[run].forms} | ({"members"} if work[run].draws else set())
        assert what in kept, (run, what)
    assert lab.asked or not work  # not work: of networks that the scale has not


# --- the same tables


def paper(log, *arguments):
    """Is a process of `paper.py`."""
    for stream in (1, 2):
        redirect(log, stream)
    sys.path.insert(0, str(ROOT / "benchmarks"))
    import paper_scales

    paper_scales.SCALES["tiny"] = TINY
    sys.argv = ["paper.py", "--scale=tiny", "--only=table2", "--verbose=0", *arguments]
    runpy.run_path(str(ROOT / "benchmarks" / "paper.py"), run_name="__main__")


class Process:
    """One of these, and what it prints."""

    def __init__(self, folder, name, *arguments):
        self.log = folder / f"{name}.log"
        self.log.touch()
        common = [f"--data_dir={folder}", f"--output_dir={folder / name}"]
        arguments = (str(self.log), *common, *arguments)
        self.process = fork_server().Process(target=paper, args=arguments)
        self.process.start()

    def end(self):
        self.process.join(300)
        assert self.process.exitcode == 0, self.log.read_text()[-4000:]
        return self.log.read_text()


def table_of(folder, name):
    """Returns what a process wrote of its table."""
    content = json.loads((folder / name / "paper_tiny_table2.json").read_text())
    return content["markdown"], content["results"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("paper")
    rng = np.random.default_rng(0)
    arrays = {}
    for split, count in (("train", 200), ("extra", 100), ("test", 120)):
        y = rng.integers(0, 10, count)
        x = rng.integers(0, 256, (count, 32, 32, 3)) // 2 + 12 * y[:, None, None, None]
        arrays |= {f"x_{split}": x.astype("uint8"), f"y_{split}": y.reshape(-1, 1)}
    np.savez(folder / "svhn_cropped.npz", **arrays)
    return folder


def test_shards_with_a_kill_give_the_table_of_one_process_bit_for_bit(folder):
    runs = folder / "parts"
    options = (f"--workdir={runs}", "--claim_timeout=10")
    first = Process(folder, "first", *options, "--shard=1/2")
    second = Process(folder, "second", *options, "--shard=2/2")
    # Killed as its first training has come half way.
    deadline = time.monotonic() + 200
    while not (found := [*runs.glob("tiny/claims/[!.]*.0001.json")]) or not any(
        [*runs.glob(f"tiny/{path.name[:-10]}/checkpoint-00001.keras")]
        for path in found
        if f'"pid": {second.process.pid},' in path.read_text()
    ):
        assert time.monotonic() < deadline, second.log.read_text()
        time.sleep(0.01)
    second.process.kill()
    second.process.join()
    # So far: what is missing is empty, and nothing is written.
    so_far = Process(folder, "so_far", f"--workdir={runs}", "--tables").end()
    assert re.search(r"[1-3] of its 3 trainings are to come|not there yet", so_far)
    assert not (folder / "so_far").exists()
    again = Process(folder, "again", *options, "--shard=2/2")
    whole = Process(folder, "whole", f"--workdir={folder / 'whole'}")
    printed = first.end() + again.end()
    assert "a training without a heartbeat is free after 10 s" in printed
    assert [*runs.glob("tiny/claims/*.0002.json")]  # what was killed is taken over
    whole.end()
    Process(folder, "tables", f"--workdir={runs}", "--tables").end()
    assert table_of(folder, "tables") == table_of(folder, "whole")
    one, other = (sorted(f.glob("tiny/*/*.npy")) for f in (runs, folder / "whole"))
    assert len(one) == len(other) == 3
    for left, right in zip(one, other, strict=True):
        assert left.read_bytes() == right.read_bytes(), left.parent.name
