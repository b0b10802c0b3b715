"""A history that is cut, damaged or gone: nothing is counted wrongly, nothing erased unsaid."""

import json
import re

import jax
import pytest

from evojax_merge.search.checkpointer import Checkpointer
from evojax_merge.search.history import History, HistoryError, HistoryWarning, read_history
from evojax_merge.search.loop import search
from evojax_merge.search.state import Spent
from tests.search.test_loop import DIMS, run, same, sphere, strategy

POPULATION, GENERATIONS = 6, 8
ROWS = POPULATION * GENERATIONS
WHOLE = Spent(ROWS, ROWS * DIMS, 0.0)


def go_on(folder, generations=GENERATIONS):
    """The state and what it cost, of a search that is in a folder."""
    history = History(folder / "history.jsonl")
    state = search(
        "evolved",
        strategy(),
        sphere,
        key=jax.random.key(1),
        generations=generations,
        archive_size=4,
        checkpointer=Checkpointer(folder / "checkpoints"),
        history=history,
    )
    return state, history


@pytest.fixture
def lines(tmp_path):
    run(folder=tmp_path)
    return (tmp_path / "history.jsonl").read_bytes().splitlines(keepends=True)


def changed(line, **fields):
    return json.dumps({**json.loads(line), **fields}).encode() + b"\n"


def without(line, field):
    row = json.loads(line)
    del row[field]
    return json.dumps(row).encode() + b"\n"


BAD = {
    "not JSON": lambda line: b"garbage\n",
    "not JSON ": lambda line: line.replace(b"}", b""),
    "not JSON  ": lambda line: b"\n",
    "not JSON   ": lambda line: b"[" * 100_000 + b"\n",
    "not UTF-8": lambda line: line.replace(b"evolved", b"ev\xfflved"),
    "no candidate": lambda line: b"[1, 2]\n",
    "no search": lambda line: b'{"a": 1}\n',
    "no seconds": lambda line: without(line, "seconds"),
    "a generation that makes no sense": lambda line: changed(line, generation="3"),
    "a candidate that makes no sense": lambda line: changed(line, candidate=True),
    "a fitness that makes no sense": lambda line: changed(line, fitness=[1]),
    "a items that makes no sense": lambda line: changed(line, items=["a"]),
    "a item_evaluations that makes no sense": lambda line: changed(line, item_evaluations=-3),
    "not JSON    ": lambda line: changed(line, item_evaluations=10**400),
    "not JSON     ": lambda line: changed(line, seconds=float("nan")),
    "more or fewer numbers": lambda line: changed(line, items=[1.0]),
    "more or fewer numbers ": lambda line: changed(line, genotype=None),
    "the candidate of line 9": lambda line: changed(line, candidate=2),
}


@pytest.mark.few(2)
@pytest.mark.parametrize("wrong", BAD)
def test_a_bad_line_in_the_middle_costs_itself_and_no_other(tmp_path, lines, wrong):
    path = tmp_path / "history.jsonl"
    damaged = b"".join([*lines[:9], BAD[wrong](lines[9]), *lines[10:]])
    path.write_bytes(damaged)
    with pytest.warns(HistoryWarning) as caught:
        _, history = go_on(tmp_path)
    kept, lacks = (str(warning.message) for warning in caught)
    assert f"history.jsonl: line 10 cannot be used (line 10: {wrong.strip()}" in kept
    assert "the file as it was is kept as history.jsonl.damaged" in kept
    assert "evolved lacks candidates of generation 1 (counted from 0), before all checkp" in lacks
    assert history.spent == WHOLE
    assert history.lost == [1]
    assert path.read_bytes() == b"".join([*lines[:9], *lines[10:]])
    assert (tmp_path / "history.jsonl.damaged").read_bytes() == damaged
    with pytest.warns(HistoryWarning, match="lacks candidates") as caught:  # and no second copy
        assert go_on(tmp_path, GENERATIONS + 2)[1].spent.evaluations == ROWS + 2 * POPULATION
    assert len(caught) == 1


def test_lost_results_of_the_last_generation_are_measured_again(tmp_path, lines):
    (tmp_path / "history.jsonl").write_bytes(b"".join(lines[:-2]))
    with pytest.warns(HistoryWarning, match=r"of generation 7 .* again, from generation 7"):
        state, history = go_on(tmp_path)
    same(state, run())
    assert history.spent == WHOLE
    assert history.lost == []
    assert (tmp_path / "history.jsonl").read_bytes() == b"".join(lines)


@pytest.mark.few(1)
@pytest.mark.parametrize("left", [0, 1, 20, ROWS - 1.5])
def test_a_file_that_was_cut_is_not_counted_by(tmp_path, lines, left):
    text = b"".join(lines)
    (tmp_path / "history.jsonl").write_bytes(text[: int(len(text) * left / ROWS)])
    with pytest.warns(HistoryWarning, match="lacks candidates"):
        state, history = go_on(tmp_path, GENERATIONS + 1)
    same(state, run(generations=GENERATIONS + 1))
    assert history.spent.evaluations == ROWS + POPULATION
    assert not (tmp_path / "history.jsonl.damaged").exists()


def test_a_file_that_is_gone_is_not_counted_by(tmp_path, lines):
    (tmp_path / "history.jsonl").unlink()
    with pytest.warns(HistoryWarning, match=r"generations 0-7 \(counted from 0\)"):
        _, history = go_on(tmp_path)
    assert history.spent == WHOLE
    assert list(read_history(tmp_path / "history.jsonl")) == []


def test_what_nothing_tells_the_cost_of_is_refused(tmp_path, lines):
    (tmp_path / "history.jsonl").write_bytes(b"".join(lines[10:]))
    for generation in ("7", "8"):  # as an earlier version saved them
        for name in ("SHA256SUMS", "spent.json"):
            (tmp_path / "checkpoints" / generation / name).unlink()
    with pytest.raises(HistoryError, match="nothing tells what they cost; bring the file back"):
        go_on(tmp_path)


def test_damaged_files_are_kept_side_by_side(tmp_path, lines):
    path = tmp_path / "history.jsonl"
    for name in ("history.jsonl.damaged", "history.jsonl.damaged-2"):
        path.write_bytes(b"".join([*lines, b"garbage\n"]))
        with pytest.warns(HistoryWarning, match=re.escape(f"is kept as {name}")):
            go_on(tmp_path)
        assert (tmp_path / name).exists()
        assert path.read_bytes() == b"".join(lines)


def test_a_whole_file_is_not_written_anew(tmp_path, lines):
    before = (tmp_path / "history.jsonl").stat()
    go_on(tmp_path)
    after = (tmp_path / "history.jsonl").stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)


def test_readers_pass_over_what_they_cannot_read(tmp_path, lines):
    path = tmp_path / "history.jsonl"
    path.write_bytes(b"".join([lines[0], b"\xff\n", b'{"a": 1}\n', lines[1], lines[2][:-5]]))
    assert [row["candidate"] for row in read_history(path)] == [0, 1]
