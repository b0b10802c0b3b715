"""Who the processes are: told, by variables, or recognised; and what cannot be."""

import pytest

from evojax_merge.hosts.settings import DistributedConfig, Place, place_of

TOLD = {"coordinator": "host:9911", "processes": 2, "process": 1}


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch):
    for name in ("JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID"):
        monkeypatch.delenv(name, raising=False)


def place(cluster=None, **settings):
    return place_of(DistributedConfig(**settings), lambda: cluster)


def test_nobody_is_told_of():
    assert place() is None
    assert place(enabled=False, **TOLD) is None
    assert place(coordinator="host:1", processes=1, process=0) is None


@pytest.mark.parametrize("enabled", ["auto", True, "true"])
def test_all_is_told(enabled):
    assert place(enabled=enabled, **TOLD) == Place(None, "host:9911", 2, 1)


def test_variables_stand_for_what_is_not_configured(monkeypatch):
    monkeypatch.setenv("JAX_COORDINATOR_ADDRESS", "[::1]:80")
    monkeypatch.setenv("JAX_NUM_PROCESSES", "3")
    monkeypatch.setenv("JAX_PROCESS_ID", "0")
    assert place() == Place(None, "[::1]:80", 3, 0)
    assert place(process=2) == Place(None, "[::1]:80", 3, 2)
    monkeypatch.setenv("JAX_PROCESS_ID", "first")
    with pytest.raises(ValueError, match="JAX_PROCESS_ID must be a whole number, not 'first'"):
        place()


def test_a_cluster_of_one_process_is_none():
    assert place(Place("slurm", None, 1, 0)) is None
    assert place(Place("slurm", None, 1, 0), enabled=True) is None


def test_a_cluster_is_recognised():
    assert place(Place("gketpu", None, 4, 3)) == Place("gketpu", None, 4, 3)
    assert place(Place("ompi", None, 4, 3), coordinator="a:1") == Place("ompi", "a:1", 4, 3)


def test_slurm_is_recognised_by_jax(monkeypatch):
    step = {"JOB_ID": "7", "STEP_NODELIST": "a[1-2]", "NTASKS": "2", "PROCID": "1", "LOCALID": "0"}
    for name, value in step.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    assert place_of(DistributedConfig()) == Place("slurm", None, 2, 1)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"enabled": "yes"}, "distributed.enabled is 'yes'; use true, false, or auto"),
        ({"enabled": True}, "no TPU pod, SLURM step or Open MPI is recognised here; give"),
        ({"coordinator": "a:1", "process": 0}, "distributed.processes not; several processes need"),
        ({**TOLD, "process": 2}, "process is 2, and .* is 2; processes are numbered from 0 to 1"),
        ({**TOLD, "process": -1}, "distributed.process must be a whole number of at least 0"),
        ({**TOLD, "processes": 0}, "distributed.processes must be a whole number of at least 1"),
        ({**TOLD, "coordinator": "host"}, "'host'; give HOST:PORT"),
        ({**TOLD, "coordinator": "host:99999"}, "'host:99999'; give HOST:PORT"),
        ({**TOLD, "coordinator": "http://host:99"}, "give HOST:PORT"),
        ({"timeout": 0}, "distributed.timeout must be a finite number from 1"),
        ({"heartbeat": float("nan")}, "distributed.heartbeat must be"),
    ],
)
def test_what_makes_no_sense_is_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        place(**settings)
