"""Statistics are found again by content, and nothing that happens to the files is fatal."""

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from evojax_merge import api, operators
from evojax_merge.config import build, compose
from evojax_merge.operators.statistics import cache as module
from evojax_merge.operators.statistics.cache import StatisticsCache, default_directory
from evojax_merge.sources.ingredients import load_ingredients
from evojax_merge.sources.plan import plan
from tests.checkpoints_factory import tiny_config, word_tokenizer, write_checkpoint
from tests.processes import environment
from tests.trees import init_statistics

NAMED = {
    "ties": operators.ties(),
    "ties, l1": operators.ties(rescale="l1"),
    "breadcrumbs": operators.breadcrumbs(rescale="l2"),
    "della": operators.della(),
    "sce": operators.sce(),
    "model_stock": operators.model_stock(),
    "model_stock by rows": operators.model_stock(filter_wise=True),
}


def checkpoint(directory, seed):
    tokenizer = word_tokenizer([f"w{number}" for number in range(60)])
    return str(write_checkpoint(directory, tiny_config(), seed=seed, tokenizer=tokenizer))


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    base, *sources = (checkpoint(folder / name, seed) for seed, name in enumerate("abc"))
    return load_ingredients(plan(base, sources))


@pytest.fixture
def cache(tmp_path):
    return StatisticsCache(tmp_path / "cache")


def statistics(operator, loaded, cache):
    entry = loaded.statistics_entry(operator, cache)
    return init_statistics(operator, loaded.base_params, loaded.source_params, entry=entry)


def entries(cache):
    return sorted(cache.directory.glob("*"))


def same(one, other):
    assert jax.tree.structure(one) == jax.tree.structure(other)
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("name", NAMED)
def test_the_second_time_is_read_and_gives_the_same_bits(name, loaded, cache, monkeypatch):
    operator = NAMED[name]
    first = statistics(operator, loaded, cache)
    assert len(entries(cache)) == 1

    def init(base, sources, layered):
        assert np.size(sources[0]) == 1, "computed again"
        return operator.init(base, sources, layered)

    monkeypatch.setattr(sys.modules["evojax_merge.operators.merge"], "check_finite", None)
    same(first, statistics(operator._replace(init=init), loaded, cache))


def test_settings_that_change_no_statistics_share_an_entry(loaded, cache):
    for operator in (
        operators.ties(),
        operators.ties(lam=0.3, normalize=False),
        operators.ties(rescale="inverse"),
    ):
        statistics(operator, loaded, cache)
    assert len(entries(cache)) == 1
    for operator in NAMED.values():
        statistics(operator, loaded, cache)
    assert len(entries(cache)) == len(NAMED)


def test_an_operator_without_a_name_is_never_kept(loaded, cache):
    for operator in (operators.linear(), operators.ties()._replace(statistics_name=None)):
        assert loaded.statistics_entry(operator, cache) is None


def test_other_weights_other_order_and_other_rows_miss(loaded, cache, tmp_path):
    operator = NAMED["ties"]
    other = checkpoint(tmp_path / "other", seed=7)
    base, *sources = (str(model.directory) for model in (loaded.plan.base, *loaded.plan.sources))
    variants = [
        loaded,
        load_ingredients(plan(base, sources[::-1])),
        load_ingredients(plan(base, [sources[0], other])),
        load_ingredients(plan(other, sources)),
        dataclasses.replace(loaded, vocabulary={"a": {"method": "by_token"}}),
    ]
    files = [variant.statistics_entry(operator, cache).file for variant in variants]
    assert len(set(files)) == len(variants)
    moved = write_checkpoint(
        tmp_path / "elsewhere",
        tiny_config(),
        seed=0,
        tokenizer=word_tokenizer([f"w{number}" for number in range(60)]),
    )
    again = load_ingredients(plan(str(moved), sources))
    assert again.statistics_entry(operator, cache).file == files[0]


@pytest.mark.parametrize("damage", ["flipped", "cut", "empty", "directory"])
def test_a_damaged_entry_is_computed_again(damage, loaded, cache):
    operator = NAMED["ties"]
    first = statistics(operator, loaded, cache)
    (file,) = entries(cache)
    data = bytearray(file.read_bytes())
    if damage == "flipped":
        data[-1] ^= 1
    file.write_bytes({"cut": data[:-9], "empty": b""}.get(damage, data))
    if damage == "directory":
        file.unlink()
        (file / "x").mkdir(parents=True)
        with pytest.warns(RuntimeWarning, match="cannot be kept"):
            same(first, statistics(operator, loaded, cache))
        return
    with pytest.warns(RuntimeWarning, match="cannot be read .* computed again"):
        same(first, statistics(operator, loaded, cache))
    same(first, statistics(operator, loaded, cache))


def test_a_full_disk_is_a_warning(loaded, cache, monkeypatch):
    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "save_file", full)
    with pytest.warns(RuntimeWarning, match="No space left on device"):
        statistics(NAMED["ties"], loaded, cache)
    assert not entries(cache)


def test_the_entries_used_longest_ago_are_removed(cache):
    arrays = {"x": np.zeros(1000, np.uint8)}
    small = dataclasses.replace(cache, limit_gb=2.5e-6)
    made = [small.entry("name", [str(number)], {}) for number in range(3)]
    for number, entry in enumerate(made[:2]):
        entry.write(arrays)
        os.utime(entry.file, (number, number))
    assert made[0].read() is not None  # used last now
    made[2].write(arrays)
    assert [entry.file.exists() for entry in made] == [True, False, True]
    dataclasses.replace(cache, limit_gb=0).entry("name", ["big"], {}).write(arrays)
    assert len(entries(cache)) == 2


WRITER = """
import sys
from pathlib import Path
import numpy as np
from evojax_merge.operators.statistics.cache import StatisticsCache
entry = StatisticsCache(Path(sys.argv[1])).entry("name", ["a"], {})
arrays = {"x": np.arange(300_000, dtype=np.float32)}
for _ in range(30):
    entry.write(arrays)
    found = entry.read()
    assert found is not None
    assert (found["x"] == arrays["x"]).all()
"""


def test_two_processes_may_write_at_once(cache):
    command = [sys.executable, "-W", "error", "-c", WRITER, str(cache.directory)]
    running = [subprocess.Popen(command, env=environment()) for _ in range(2)]
    assert [process.wait() for process in running] == [0, 0]
    assert len(entries(cache)) == 1


def test_the_configuration_says_where_and_how_much(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    given = ["+experiment=digits_halves"]
    assert build(compose(given)).statistics_cache == StatisticsCache(Path(default_directory()))
    assert Path(default_directory()) == tmp_path / "evojax-merge" / "statistics"
    assert build(compose([*given, "statistics_cache.directory=null"])).statistics_cache is None
    with pytest.raises(ValueError, match=r"statistics_cache\.limit_gb must be a finite number"):
        build(compose([*given, "statistics_cache.limit_gb=-1"]))


@pytest.mark.slow
def test_a_run_and_its_recipe_share_what_is_kept(tmp_path):
    folder = tmp_path / "kept"
    run = api.evolve(
        [
            "+experiment=digits_halves",
            "operator=ties",
            "search.evaluations=24",
            "baselines.random_search=false",
            f"statistics_cache.directory={folder}",
        ],
        tmp_path / "run",
    )
    assert len(list(folder.glob("*"))) == 1  # of the search, the winner and published TIES
    merged = [api.merge(run.recipe, use_cache=use) for use in (True, True, False)]
    for one in merged:
        jax.tree.map(np.testing.assert_array_equal, one.params, run.model.params)
