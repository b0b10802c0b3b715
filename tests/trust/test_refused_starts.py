"""A start that is refused leaves nothing: no directory, and no link that points at one."""

from pathlib import Path

import pytest

from evojax_merge import api, cli
from evojax_merge.runs import run as runs
from tests.trust.test_run_directories import SMALL


@pytest.fixture
def place(tmp_path, monkeypatch) -> Path:
    """A working directory with a run that ``latest`` points at."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "digits_halves" / "before").mkdir(parents=True)
    (tmp_path / "runs" / "digits_halves" / "latest").symlink_to("before")
    return tmp_path / "runs" / "digits_halves"


def left(place: Path) -> set[str]:
    assert (place / "latest").readlink() == Path("before")
    return {entry.name for entry in place.iterdir()}


@pytest.mark.parametrize(
    "override",
    [
        "model.base=absent",
        "model.sources=[absent,none]",
        "seed=-1",
        "strategy.population_size=0",
        "space.coefficients={wieght: {lower: 0}}",
    ],
)
def test_what_cannot_be_leaves_nothing(place, override):
    with pytest.raises(SystemExit) as stopped:
        cli.main(["evolve", *SMALL, override])
    assert stopped.value.code == 2
    assert left(place) == {"before", "latest"}


@pytest.mark.parametrize("kind", [ValueError, ImportError, KeyboardInterrupt])
def test_whatever_ends_it_before_the_search_leaves_nothing(place, monkeypatch, kind):
    def fail(*_):
        raise kind("for the test")

    monkeypatch.setattr(runs, "set_up", fail)
    with pytest.raises((SystemExit, ImportError)):
        cli.main(["evolve", *SMALL])
    assert left(place) == {"before", "latest"}


BROKEN = ["fitness=external", "fitness.function=broken.py:broken", "baselines.published=false"]


def test_a_measure_that_fails_on_the_first_candidate_leaves_nothing(place, capsys):
    Path("broken.py").write_text("def broken(directory):\n    raise RuntimeError('not yet')\n")
    for _ in range(2):
        with pytest.raises(SystemExit) as stopped:
            cli.main(["evolve", *SMALL, *BROKEN])
        assert stopped.value.code == 2
        assert "has not worked on any candidate yet" in capsys.readouterr().err
        assert left(place) == {"before", "latest"}
    with pytest.raises(SystemExit):
        cli.main(["evolve", *SMALL, *BROKEN, "name=other"])
    assert {entry.name for entry in place.parent.iterdir()} == {"digits_halves"}


@pytest.mark.parametrize("given", [[], ["hydra.run.dir=mine/first/run"]])
def test_folders_that_were_made_for_a_refused_run_go_with_it(tmp_path, monkeypatch, given):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()
    with pytest.raises(SystemExit):
        cli.main(["evolve", *SMALL, "model.base=absent", *given])
    with pytest.raises(ValueError, match="absent"):
        api.evolve([*SMALL, "model.base=absent"], "mine/second/run")
    assert [path.name for path in tmp_path.rglob("*")] == ["mine"]


def test_a_directory_that_was_there_stays(place):
    (place / "mine").mkdir()
    (place / "mine" / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match="absent"):
        api.evolve([*SMALL, "model.base=absent"], place / "mine")
    assert (place / "mine" / "notes.txt").read_text() == "mine"


def test_a_start_moves_the_link(place):
    cli.main(["evolve", *SMALL])
    assert (place / "latest").readlink() != Path("before")
    assert (place / "latest" / "overrides.yaml").exists()
    assert (place / "latest" / "results.json").exists()
