"""Two processes do the jobs of a sweep together, one after another."""

import pytest

from tests.hosts.test_two_processes import Pair
from tests.kills.test_kills import Zygote
from tests.sweeps.small import evolve, outcome


@pytest.fixture(scope="module")
def zygote(tmp_path_factory):
    zygote = Zygote(tmp_path_factory.mktemp("cache"))
    yield zygote
    zygote.close()


def alone(zygote, command, log):
    assert zygote.wait(zygote.run(command, log)) == 0, log.read_text()


@pytest.mark.slow
def test_two_processes_do_a_sweep_to_the_bits_of_one(zygote, tmp_path):
    sweep, whole = tmp_path / "sweep", tmp_path / "whole"
    codes, (first, second) = Pair(zygote, evolve(sweep, "seed=0,1"), tmp_path).wait()
    assert codes == [0, 0], first + second
    assert second == ""
    assert f"everything is in {sweep}" in first
    alone(zygote, evolve(whole, "seed=0,1"), tmp_path / "log")
    for job in ("0", "1"):
        assert outcome(sweep / job) == outcome(whole / job)
        assert (sweep / job / "finished").exists()
    assert {path.name for path in sweep.iterdir()} == {path.name for path in whole.iterdir()}


@pytest.mark.slow
def test_a_job_that_fails_ends_a_sweep_and_comes_last_when_it_goes_on(zygote, tmp_path):
    sweep = tmp_path / "sweep"
    codes, (first, second) = Pair(zygote, evolve(sweep, "mesh.model=3,1"), tmp_path).wait()
    assert codes == [2, 2], first + second
    why = "mesh.model is 3, but there are 2 devices"
    assert (sweep / "0" / "error.txt").read_text() == f"{why}\n"
    assert "1 failed, 1 not begun" in " ".join(first.split())
    assert second == "" or why in second
    codes, (first, second) = Pair(zygote, ["resume", str(sweep)], tmp_path).wait()
    assert codes == [2, 2], first + second
    assert (sweep / "1" / "finished").exists()
    assert "1 failed, 1 done" in " ".join(first.split())


@pytest.mark.slow
def test_a_sweep_of_two_processes_goes_on_with_one_and_the_other_way_round(zygote, tmp_path):
    sweep, whole = tmp_path / "sweep", tmp_path / "whole"
    alone(zygote, evolve(whole, "seed=0,1"), tmp_path / "log")
    alone(zygote, evolve(sweep, "seed=0,1"), tmp_path / "log")
    for file in ("0/finished", "0/results.json", "0/recipe.yaml", "1/finished"):
        (sweep / file).unlink()
    codes, said = Pair(zygote, ["resume", str(sweep)], tmp_path).wait()
    assert codes == [0, 0], said
    (sweep / "1" / "finished").unlink()
    alone(zygote, ["resume", str(sweep)], tmp_path / "log")
    for job in ("0", "1"):
        assert outcome(sweep / job) == outcome(whole / job)


def test_other_jobs_on_another_host_are_named(zygote, tmp_path):
    command = evolve(tmp_path / "sweep", "seed=0,1")
    pair = Pair(zygote, command, tmp_path, ((), ["search.evaluations=8"]))
    codes, (first, second) = pair.wait()
    assert codes == [2, 2]
    assert "has other settings than process 0 on " in first
    assert second == ""
    assert not (tmp_path / "sweep").exists()
