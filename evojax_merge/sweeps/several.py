"""Sweeps over several hosts, which do every job together, one job after another."""

import dataclasses
from pathlib import Path

from evojax_merge import hosts
from evojax_merge.config import ConfigError
from evojax_merge.config.launchers import IN_TURN, Launcher
from evojax_merge.config.sweeping import Plan
from evojax_merge.sweeps.folder import Sweep, lay_out, read_sweep

_OF_A_HOST = "distributed."


def connect(launcher: Launcher, settings: hosts.DistributedConfig, gpu_each: bool) -> None:
    """Connect with the other hosts of a sweep, if there are any.

    Args:
        launcher: How the jobs are started.
        settings: Who the other hosts are.
        gpu_each: Whether each process is asked to take a GPU of its own.

    Raises:
        ConfigError: There are several hosts, and the sweep's jobs are each for one process.
        HostsError: The others cannot be reached.
    """
    apart = [f"hydra/launcher={launcher.name}"] * (launcher.name != IN_TURN)
    apart += ["--gpu-each"] * gpu_each
    if not apart:
        hosts.start(settings)
    elif hosts.active() is not None or hosts.place_of(settings) is not None:
        raise ConfigError(
            f"{apart[0]}: gives each process jobs of its own, and over several hosts all processes "
            "do every job together; leave it out, or give distributed.enabled=false"
        )


def lay_out_together(plan: Plan, gpu_each: bool) -> Sweep:
    """Lay a sweep out as `lay_out` does, of several processes by the first one.

    Raises:
        HostsError: The processes were told of different jobs, or do not share the folder.
    """
    if hosts.active() is None:
        return lay_out(plan, gpu_each)
    told = {
        f"job {number}": " ".join(one for one in job.overrides if not one.startswith(_OF_A_HOST))
        for number, job in enumerate(plan.jobs)
    }
    hosts.compare("settings", told, "Give all hosts the same ones")
    directory = Path(hosts.agree(str(plan.directory.absolute())))  # its name may hold the second
    if hosts.is_first():
        lay_out(dataclasses.replace(plan, directory=directory), gpu_each)
    hosts.check_shared(directory)
    return read_sweep(directory)
