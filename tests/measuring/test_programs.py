"""Devices that share a candidate send each other nothing while they merge."""

import importlib.util
import json
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from evojax_merge.measuring.programs import merging_options
from evojax_merge.params.population import COMPILER_OPTIONS
from tests.processes import environment


@pytest.mark.parametrize(
    ("platform", "parts", "shared"),
    [("tpu", 4, False), ("tpu", 1, True), ("gpu", 4, True), ("cpu", 4, True)],
)
def test_leaves_of_a_split_candidate_share_no_constants_on_a_tpu(platform, parts, shared):
    devices = np.full((1, parts), SimpleNamespace(platform=platform))
    options = merging_options(SimpleNamespace(shape={"pop": 1, "model": parts}, devices=devices))
    assert options.keys() == COMPILER_OPTIONS.keys()
    assert (options == COMPILER_OPTIONS) is shared
    (disabled,) = options.values()
    assert ("cse" in disabled.split(",")) is not shared
    assert "while-loop-invariant-code-motion" in disabled.split(",")


def test_a_split_merge_for_a_tpu_has_no_collectives():
    if importlib.util.find_spec("libtpu") is None:
        pytest.skip("libtpu is not installed")
    names = ("ties", "dare_ties")
    done = subprocess.run(
        [sys.executable, "-m", "tests.measuring.for_tpu", *names],
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    lines = map(json.loads, done.stdout.splitlines())
    found = {name: both for line in lines for name, both in line.items()}
    assert tuple(found) == names
    for name, (own, usual) in found.items():
        assert not own, name
        assert usual, name
