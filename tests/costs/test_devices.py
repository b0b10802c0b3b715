"""What devices hold and do at most."""

from types import SimpleNamespace

import jax
import pytest

from evojax_merge.costs.devices import PREALLOCATED, Figures, figures_of


def device(kind, platform="gpu", memory=None):
    stats = None if memory is None else {"bytes_limit": memory}
    return SimpleNamespace(platform=platform, device_kind=kind, memory_stats=lambda: stats)


def test_a_program_takes_as_long_as_what_it_has_most_of():
    figures = Figures(memory=1e9, bandwidth=1e9, narrow=4e9, wide=1e9)
    assert figures.seconds(2e9, 1e9, 2) == 2.0
    assert figures.seconds(0.0, 1e9, 2) == 0.25
    assert figures.seconds(0.0, 1e9, 4) == 1.0


def test_bandwidth_that_is_not_known_bounds_nothing():
    assert Figures(1e9, None, 1e9, 1e9).seconds(1e15, 1e9, 4) == 1.0


@pytest.mark.parametrize("kind", ["NVIDIA H100 80GB HBM3", "NVIDIA A100-SXM4-80GB", "NVIDIA B200"])
def test_of_a_gpu_jax_takes_a_share(kind, monkeypatch):
    monkeypatch.delenv("XLA_PYTHON_CLIENT_MEM_FRACTION", raising=False)
    here = figures_of(device(kind, memory=50e9))
    there = figures_of(device(kind), described=True)
    assert here.memory == 50e9
    monkeypatch.setenv("XLA_PYTHON_CLIENT_MEM_FRACTION", "1.0")
    assert there.memory == PREALLOCATED * figures_of(device(kind), described=True).memory


def test_a_kind_that_nobody_knows_has_no_figures():
    assert figures_of(device("TPU v99", "tpu")) is None


def test_a_cpu_is_measured():
    figures = figures_of(jax.devices()[0])
    assert figures.bandwidth is None
    assert figures.narrow > 1e8
