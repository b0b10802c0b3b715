"""Compiled programs are found again, and nothing that happens to their files is fatal."""

import contextlib
import dataclasses
import os
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import jax
import numpy as np
import pytest
from jax._src import compilation_cache as place

from evojax_merge import api
from evojax_merge.config import (
    ConfigError,
    build,
    compilation_cache,
    compose,
    load_config_file,
    resolved_yaml,
)
from evojax_merge.measuring import compilations as module
from evojax_merge.measuring.compilations import (
    CompilationCache,
    Programs,
    default_cache,
    default_directory,
    keeping,
)
from tests.compilations import count_compilations
from tests.processes import environment

KEYS = ("jit_a-1", "jit_b-2", "jit_c-3")


@pytest.fixture(autouse=True)
def _without_a_cache_of_the_user():
    """Without the cache that the workers of the tests share."""
    before = jax.config.jax_compilation_cache_dir
    jax.config.update("jax_compilation_cache_dir", None)
    place.reset_cache()
    yield
    jax.config.update("jax_compilation_cache_dir", before)
    place.reset_cache()


@pytest.fixture
def cache(tmp_path):
    return CompilationCache(tmp_path / "cache")


def entries(cache):
    return sorted(cache.directory.glob("*.program"))


def compute(cache):
    """What two programs give, and how many were compiled for it."""
    jax.clear_caches()
    numbers = np.linspace(0, 3, 20, dtype=np.float32)
    with keeping(cache), count_compilations() as counted:
        found = jax.jit(lambda x: np.float32(2) / (1 + x @ x))(numbers)
        found = [np.asarray(found), np.asarray(jax.jit(lambda x: x / (x + 3) - x)(numbers))]
    return found, counted.compiled


@contextlib.contextmanager
def quiet():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def test_the_second_time_nothing_is_compiled_and_bits_are_the_same(cache):
    with quiet():
        without, of_none = compute(None)
        first, of_first = compute(cache)
        second, of_second = compute(cache)
    assert (of_none, of_first, of_second) == (2, 2, 0)
    assert len(entries(cache)) == 2
    np.testing.assert_equal(first, without)
    np.testing.assert_equal(second, without)
    assert cache.directory.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("damage", ["flipped", "cut", "empty", "directory"])
def test_damaged_programs_are_one_warning_and_compiled_again(damage, cache):
    first, _ = compute(cache)
    for file in entries(cache):
        data = bytearray(file.read_bytes())
        data[-1] ^= 1
        file.write_bytes({"cut": data[:-9], "empty": b""}.get(damage, data))
        if damage == "directory":
            file.unlink()
            (file / "x").mkdir(parents=True)
    with pytest.warns(RuntimeWarning, match="cannot be read .* compiled again") as told:
        again, compiled = compute(cache)
    np.testing.assert_equal(again, first)
    assert compiled == 2
    assert len(told) == 1
    if damage != "directory":
        with quiet():
            assert compute(cache)[1] == 0


def test_a_directory_that_is_a_file_is_one_warning(cache):
    cache.directory.touch()
    with pytest.warns(RuntimeWarning, match="cannot be made .* the run goes on") as told:
        assert compute(cache)[1] == 2
    assert len(told) == 1


def test_a_full_disk_is_one_warning(cache, monkeypatch):
    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "write_whole", full)
    with pytest.warns(RuntimeWarning, match="cannot be kept .*No space left") as told:
        assert compute(cache)[1] == 2
    assert len(told) == 1
    assert not entries(cache)


def test_a_system_without_users_keeps_programs(cache, monkeypatch):
    cache.directory.mkdir(exist_ok=True)
    cache.directory.chmod(0o777)  # as Windows says of every directory
    monkeypatch.delattr(os, "getuid")
    assert module._refusal(cache.directory) is None


def test_programs_that_others_could_have_written_are_not_run(cache, monkeypatch):
    compute(cache)
    cache.directory.chmod(0o777)
    with pytest.warns(RuntimeWarning, match="by all users"):
        assert compute(cache)[1] == 2
    cache.directory.chmod(0o700)
    if os.getuid() == 0:
        os.chown(cache.directory, 12345, -1)
    else:
        monkeypatch.setattr(os, "getuid", lambda: 12345)
    with pytest.warns(RuntimeWarning, match="another user"):
        assert compute(cache)[1] == 2


def test_a_directory_that_may_only_be_read_is_read(cache, monkeypatch):
    first, _ = compute(cache)

    def refuse(*arguments, **named):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "utime", refuse)
    monkeypatch.setattr(module, "write_whole", refuse)
    with quiet():
        again, compiled = compute(cache)
    np.testing.assert_equal(again, first)
    assert compiled == 0


def test_a_relative_directory_stays_where_it_is(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with keeping(CompilationCache(Path("kept"))):
        monkeypatch.chdir("/")
        jax.jit(lambda x: x * 7 - 3)(np.float32(2))
    assert len(entries(CompilationCache(tmp_path / "kept"))) == 1


def test_programs_are_found_where_the_directory_was_moved_to(cache, tmp_path):
    compute(cache)
    moved = CompilationCache(cache.directory.rename(tmp_path / "moved"))
    assert compute(moved)[1] == 0


def test_a_cache_of_the_users_own_is_left_as_it_is(cache, tmp_path):
    own = str(tmp_path / "own")
    jax.config.update("jax_compilation_cache_dir", own)
    with keeping(cache):
        assert jax.config.jax_compilation_cache_dir == own
    assert jax.config.jax_compilation_cache_dir == own
    assert not cache.directory.exists()


def test_afterwards_jax_is_as_it_was(cache):
    names = ("jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs")
    before = [getattr(jax.config, name) for name in names]
    with pytest.raises(KeyError), keeping(cache):
        raise KeyError
    assert [getattr(jax.config, name) for name in names] == before
    compute(None)
    assert not entries(cache)


def test_a_jax_without_the_place_keeps_nothing(cache, monkeypatch):
    monkeypatch.delattr(place, "reset_cache")
    with pytest.warns(RuntimeWarning, match="takes no cache of ours"):
        assert compute(cache)[1] == 2
    assert not entries(cache)


def test_the_programs_used_longest_ago_are_removed(cache):
    small = Programs(dataclasses.replace(cache, limit_gb=2.5e-6))
    for age, key in enumerate(KEYS[:2]):
        small.put(key, bytes(1000))
        os.utime(small._file(key), (age, age))
    left = cache.directory / f".{'0' * 64}.program.1.2"  # by a killed process
    left.write_bytes(bytes(300))
    os.utime(left, (0, 0))
    other = cache.directory / "notes.txt"
    other.write_bytes(bytes(10**6))
    assert small.get(KEYS[0]) is not None  # used last now
    small.put(KEYS[2], bytes(1000))
    assert [small.get(key) is not None for key in KEYS] == [True, False, True]
    assert not left.exists()
    assert other.exists()
    small.put("jit_big-4", bytes(3000))
    assert len(entries(cache)) == 2


def test_what_was_tuned_counts_beside_the_folder_that_it_is_written_in(cache):
    small = Programs(dataclasses.replace(cache, limit_gb=2.5e-6))
    tuned = cache.directory / "xla_gpu_per_fusion_autotune_cache_dir"
    (tuned / "tmp").mkdir(parents=True)
    (tuned / "fusion.textproto").write_bytes(bytes(1000))
    for path in (tuned / "tmp", tuned / "fusion.textproto"):
        os.utime(path, (0, 0))
    with quiet():
        for key in KEYS[:2]:
            small.put(key, bytes(1000))
    assert len(entries(cache)) == 2
    assert not (tuned / "fusion.textproto").exists()


def test_another_processor_finds_nothing(cache, monkeypatch):
    Programs(cache).put(KEYS[0], b"code")
    monkeypatch.setattr(module, "_processor", lambda: "another")
    assert Programs(cache).get(KEYS[0]) is None


WRITER = """
import sys
from pathlib import Path
from evojax_merge.measuring.compilations import CompilationCache, Programs
programs = Programs(CompilationCache(Path(sys.argv[1]), limit_gb=0.0025))
for turn in range(200):
    key = f"jit_x-{turn % 7}"
    programs.put(key, bytes([turn % 7]) * 500_000)
    found = programs.get(key)
    assert found is None or found == bytes([turn % 7]) * 500_000
"""


def test_two_processes_may_use_it_at_once(cache):
    command = [sys.executable, "-W", "error", "-c", WRITER, str(cache.directory)]
    running = [subprocess.Popen(command, env=environment()) for _ in range(2)]
    assert [process.wait() for process in running] == [0, 0]
    assert sum(file.stat().st_size for file in cache.directory.iterdir()) <= 3.1e6


def test_the_configuration_says_where_and_how_much(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    given = ["+experiment=digits_halves"]
    assert compilation_cache(compose(given)) == default_cache()
    assert Path(default_directory()) == tmp_path / "evojax-merge" / "compilations"
    for none in ("compilation_cache=null", "compilation_cache.directory=null"):
        config = compose([*given, none])
        build(config)
        assert compilation_cache(config) is None
    for limit in ("-1", "nan"):
        with pytest.raises(ValueError, match=r"compilation_cache\.limit_gb must be a finite"):
            compilation_cache(compose([*given, f"compilation_cache.limit_gb={limit}"]))
    with pytest.raises(ConfigError, match=r"compilation_cache\.directory"):
        compilation_cache(compose([*given, "compilation_cache.directory=~nobody-at-all/x"]))


def test_a_strangers_run_brings_no_programs(tmp_path):
    file = tmp_path / "config.yaml"
    config = compose(["+experiment=digits_halves", "compilation_cache.directory=strange"])
    file.write_text(resolved_yaml(config))
    assert load_config_file(file).compilation_cache.directory == default_directory()
    assert load_config_file(file, trust=True).compilation_cache.directory == "strange"
    config = compose(["+experiment=digits_halves", "compilation_cache=null"])
    file.write_text(resolved_yaml(config))
    assert load_config_file(file).compilation_cache is None


SMALL = [
    "+experiment=digits_halves",
    "operator=dare_ties",
    "search.evaluations=16",
    "statistics_cache.directory=null",
]


@pytest.mark.slow
def test_a_resume_compiles_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    first = api.evolve(SMALL, tmp_path / "run")
    params = jax.tree.map(np.asarray, first.model.params)
    steps = (first.directory / "checkpoints" / "evolved").glob("[0-9]*")
    shutil.rmtree(max(steps, key=lambda step: int(step.name)))
    shutil.rmtree(first.directory / "export")
    (first.directory / "results.json").unlink()
    jax.clear_caches()
    with count_compilations() as counted:
        resumed = api.resume(first.directory)
    assert counted.compiled == 0
    jax.tree.map(np.testing.assert_array_equal, resumed.model.params, params)


@pytest.mark.slow
def test_a_second_run_compiles_nothing_and_ends_the_same(tmp_path):
    kept = f"compilation_cache.directory={tmp_path / 'kept'}"
    runs = []
    for name, given in (("none", "compilation_cache=null"), ("first", kept), ("second", kept)):
        jax.clear_caches()
        with quiet(), count_compilations() as counted:
            runs.append(api.evolve([*SMALL, given], tmp_path / name))
        if name == "second":
            assert counted.compiled == 0
        else:
            assert 0 < counted.compiled <= 40
    jax.clear_caches()
    with count_compilations() as counted:  # the next job of a sweep
        api.evolve([*SMALL, kept, "seed=1"], tmp_path / "other")
    assert counted.compiled == 0
    for run in runs[1:]:
        jax.tree.map(np.testing.assert_array_equal, run.model.params, runs[0].model.params)
        assert [(r.name, r.score) for r in run.results] == [
            (r.name, r.score) for r in runs[0].results
        ]
