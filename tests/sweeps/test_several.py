"""Whether several hosts may do a sweep together."""

import pytest

from evojax_merge import hosts
from evojax_merge.config import ConfigError
from evojax_merge.config.launchers import Launcher
from evojax_merge.sweeps.several import connect

TOLD = hosts.DistributedConfig(coordinator="host0:9911", processes=2, process=0)


@pytest.mark.parametrize(
    ("launcher", "gpu_each", "named"),
    [(Launcher("joblib"), False, "hydra/launcher=joblib"), (Launcher(), True, "--gpu-each")],
)
def test_jobs_of_one_process_each_are_refused_with_several_hosts(launcher, gpu_each, named):
    with pytest.raises(ConfigError, match=f"^{named}: gives each process jobs of its own"):
        connect(launcher, TOLD, gpu_each)
    assert hosts.active() is None


def test_jobs_of_one_process_each_go_where_nobody_tells_of_others():
    connect(Launcher("joblib"), hosts.DistributedConfig(), True)
    connect(Launcher("joblib"), hosts.DistributedConfig(enabled=False, processes=2), True)
    connect(Launcher(), hosts.DistributedConfig(enabled=False), False)
    assert hosts.active() is None
