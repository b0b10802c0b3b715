"""Machines are known by names; what is missing to compile for one is said in a line."""

import pytest

from evojax_merge.costs import topologies
from evojax_merge.costs.topologies import check_installed, devices_of, parse, set_environment


@pytest.mark.parametrize(
    ("name", "platform", "size"),
    [
        ("local", "local", ()),
        ("v5e:4x4", "tpu", (4, 4)),
        ("v5p:2x2x4", "tpu", (2, 2, 4)),
        ("h100:8", "cuda", (8,)),
        ("h200", "cuda", (1,)),
    ],
)
def test_names(name, platform, size):
    found = parse(name)
    assert (found.platform, found.size) == (platform, size)


@pytest.mark.parametrize(
    "name", ["v5e", "v9:2x2", "h100:", "h100:0", "h100:2x2", "v5e:0x4", "", "cpu"]
)
def test_other_names_are_refused_with_those_that_are_known(name):
    with pytest.raises(ValueError, match=r"there is no such machine; .*local, v5e:4x4.*h100:8"):
        parse(name)


@pytest.mark.parametrize(("name", "extra"), [("v5e:4x4", "tpu-plan"), ("b200:8", "cuda-plan")])
def test_a_missing_compiler_is_a_line_with_the_command(name, extra, monkeypatch):
    monkeypatch.setattr(topologies, "_is_there", lambda module: False)
    with pytest.raises(ValueError, match=rf"pip install 'evojax-merge\[{extra}\]'"):
        check_installed(parse(name))


def test_the_environment_is_that_of_the_compiler_and_keeps_what_the_user_set():
    own = {"XLA_FLAGS": "--xla_dump_to=here"}
    set_environment(parse("h100:8"), own)
    assert own["XLA_FLAGS"] == "--xla_dump_to=here --xla_gpu_autotune_level=0"
    assert own["JAX_PLATFORMS"] == "cpu"
    untouched = {}
    set_environment(parse("local"), untouched)
    assert untouched == {}


def test_local_devices_are_those_of_jax():
    import jax

    assert devices_of(parse("local")) == jax.devices()


@pytest.mark.parametrize("kind", topologies._GPUS)
def test_facts_about_every_gpu_are_there(kind):
    text = (topologies._TARGETS / f"{kind}.txtpb").read_text(encoding="utf-8")
    assert kind.upper() in text
    assert "memory_bandwidth" in text
