"""The configuration of rotary position embeddings, read from ``config.json``."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Annotated, Any, NamedTuple

from evojax_merge.documents.errors import shown
from evojax_merge.documents.schema import Document, number, read, whole
from evojax_merge.models.decoder.variants import Variant

_NEEDS: dict[str, tuple[str, ...]] = {
    "default": (),
    "linear": ("factor",),
    "dynamic": ("factor",),
    "llama3": ("factor", "low_freq_factor", "high_freq_factor"),
    "yarn": ("factor",),
    "longrope": ("short_factor", "long_factor"),
}
_GLOBAL, _LOCAL = "full_attention", "sliding_attention"


@dataclasses.dataclass(frozen=True)
class RopeConfig:
    """Rotary position embedding and its extension to longer contexts.

    ``kind`` is one of ``default``, ``linear``, ``dynamic``, ``llama3``, ``yarn``, ``longrope``. The
    other fields carry the names of Hugging Face's ``rope_parameters``, but for ``sections``: the
    numbers of pairs of channels that are turned by the first, the second and the third axis of a
    position, and so on in turn (Wang et al., 2024, arXiv 2409.12191). Without any, positions are
    plain numbers.
    """

    theta: float = 10_000.0
    kind: str = "default"
    factor: float = 1.0
    original_max_position_embeddings: int | None = None
    low_freq_factor: float = 1.0
    high_freq_factor: float = 4.0
    beta_fast: float = 32.0
    beta_slow: float = 1.0
    attention_factor: float | None = None
    mscale: float | None = None
    mscale_all_dim: float | None = None
    truncate: bool = True
    partial_rotary_factor: float = 1.0
    short_factor: tuple[float, ...] = ()
    long_factor: tuple[float, ...] = ()
    sections: tuple[int, ...] = ()

    def dims(self, head_dim: int) -> int:
        """Count the channels of a head that are turned, which are the first ones."""
        return int(head_dim * self.partial_rotary_factor)


class _Reader(NamedTuple):
    """What RoPE is read with.

    Attributes:
        variant: The row of the type.
        beside: The fields of RoPE that stand beside its own.
        head_dim: The number of channels of a head.
        length: The value of ``max_position_embeddings``.
    """

    variant: Variant
    beside: "_RopeBeside"
    head_dim: int
    length: int

    def read(self, written: Any, where: str, theta: float) -> RopeConfig:
        """Read one RoPE, with ``theta`` as its base where it names none."""
        given = read(_Rope, written, where)
        kind = given.rope_type or given.type or "default"
        if kind not in self.variant.rope_kinds:
            raise ValueError(
                f"{where}: RoPE of type {shown(kind)} is not supported; supported is one of "
                f"{', '.join(self.variant.rope_kinds)} for all layers"
            )
        partials = (given.partial_rotary_factor, self.beside.partial_rotary_factor)
        if not self.variant.partial_rotary and set(partials) - {None, 1.0}:
            raise ValueError("config.json: partial_rotary_factor other than 1 is not supported")
        lacking = [name for name in _NEEDS[kind] if getattr(given, name) is None]
        if lacking:
            raise ValueError(f"{where}: RoPE of type {kind!r} lacks {', '.join(lacking)}")
        names = {field.name for field in dataclasses.fields(RopeConfig)} - {
            "theta",
            "kind",
            "sections",
        }
        taken = {name: getattr(given, name) for name in names if getattr(given, name) is not None}
        taken |= {name: tuple(value) for name, value in taken.items() if isinstance(value, list)}
        taken["partial_rotary_factor"] = next((one for one in partials if one), 1.0)
        if self.variant.outer_original:
            original = self.beside.original_max_position_embeddings
            taken["original_max_position_embeddings"] = original
        if kind == "longrope":
            taken |= self._longrope(given, taken.get("original_max_position_embeddings"), where)
        rope = RopeConfig(theta=given.rope_theta or theta, kind=kind, **taken)
        self._check(rope, where)
        return rope

    def _longrope(self, given: "_Rope", original: int | None, where: str) -> dict[str, Any]:
        """Derive the factors that are not given from lengths (arXiv 2402.13753)."""
        original = original or self.length
        factor = given.factor or self.length / original
        attention = given.attention_factor
        if attention is None:
            if original < 2:
                raise ValueError(
                    f"{where}: RoPE of type 'longrope' needs original_max_position_embeddings "
                    "above 1, or an attention_factor"
                )
            growth = math.log(factor) / math.log(original)
            attention = math.sqrt(1 + growth) if factor > 1 else 1.0
        return {
            "factor": factor,
            "original_max_position_embeddings": original,
            "attention_factor": attention,
        }

    def _check(self, rope: RopeConfig, where: str) -> None:
        dims = rope.dims(self.head_dim)
        if dims % 2 or not 2 <= dims <= self.head_dim:
            raise ValueError(
                f"config.json: partial_rotary_factor {rope.partial_rotary_factor:g} turns {dims} "
                f"of the {self.head_dim} channels of a head; it must turn an even number of them"
            )
        if rope.kind == "llama3" and not rope.low_freq_factor < rope.high_freq_factor:
            raise ValueError(
                f"{where}: low_freq_factor is {rope.low_freq_factor:g} and high_freq_factor "
                f"{rope.high_freq_factor:g}; the low one must be smaller"
            )
        if rope.kind == "yarn" and not rope.theta > 1:
            raise ValueError(
                f"{where}: rope_theta is {rope.theta:g}; RoPE of type 'yarn' needs it above 1"
            )
        if rope.kind == "dynamic" and dims == 2:
            raise ValueError("config.json: RoPE of type 'dynamic' needs a head_dim above 2")
        if rope.kind == "longrope":
            for name in _NEEDS["longrope"]:
                if (entries := len(getattr(rope, name))) != dims // 2:
                    raise ValueError(
                        f"{where}: {name} has {entries} entries; give {dims // 2}, one for each "
                        f"pair of the {dims} channels that are turned"
                    )


def read_ropes(
    config: Mapping[str, Any], variant: Variant, head_dim: int, length: int
) -> tuple[RopeConfig, RopeConfig | None]:
    """Read RoPE from ``rope_parameters`` (v5), or from ``rope_theta`` and ``rope_scaling``.

    Args:
        config: The content of ``config.json``, with what its type assumes where it is silent.
        variant: The row of its type.
        head_dim: The number of channels of a head.
        length: The value of ``max_position_embeddings``.

    Returns:
        The RoPE of all layers and None, or that of layers without a window and that of layers with
        one.

    Raises:
        ValueError: The scaling is of a kind that is not computed for this type, lacks a number, or
            has one that means nothing.
    """
    name = "rope_parameters" if config.get("rope_parameters") else "rope_scaling"
    written = config.get(name) or {}
    where = f"config.json, {name}"
    beside = read(_RopeBeside, config, "config.json")
    reader = _Reader(variant, beside, head_dim, length)
    theta = beside.rope_theta or variant.theta
    nested = isinstance(written, Mapping) and any(isinstance(v, Mapping) for v in written.values())
    if variant.local_theta is None:
        if nested:
            raise ValueError(
                f"{where}: RoPE that differs between layers is not supported; supported is one of "
                f"{', '.join(variant.rope_kinds)} for all layers"
            )
        return reader.read(written, where, theta), None
    of_local: Any = {}
    if name == "rope_parameters":
        if not nested or written.keys() - {_GLOBAL, _LOCAL}:
            raise ValueError(
                f"{where}: RoPE of this type differs between layers; give {_GLOBAL} and {_LOCAL} "
                "and nothing else"
            )
        written, of_local = written.get(_GLOBAL) or {}, written.get(_LOCAL) or {}
    local_theta = beside.rope_local_base_freq or variant.local_theta
    return reader.read(written, where, theta), reader.read(of_local, where, local_theta)


_Positive = Annotated[float, number(1e-30, 1e30)]
_Tokens = Annotated[int, whole(1)]


class _RopeBeside(Document):
    """The fields of RoPE that may stand beside ``rope_scaling``."""

    rope_theta: _Positive | None = None
    rope_local_base_freq: _Positive | None = None
    partial_rotary_factor: _Positive | None = None
    original_max_position_embeddings: _Tokens | None = None


class _Rope(Document):
    """The fields of ``rope_parameters`` or ``rope_scaling``."""

    rope_theta: _Positive | None = None
    partial_rotary_factor: _Positive | None = None
    rope_type: str | None = None
    type: str | None = None
    factor: _Positive | None = None
    original_max_position_embeddings: _Tokens | None = None
    low_freq_factor: _Positive | None = None
    high_freq_factor: _Positive | None = None
    beta_fast: _Positive | None = None
    beta_slow: _Positive | None = None
    attention_factor: _Positive | None = None
    mscale: Annotated[float, number(0, 1e30)] | None = None
    mscale_all_dim: Annotated[float, number(0, 1e30)] | None = None
    truncate: bool | None = None
    short_factor: list[_Positive] | None = None
    long_factor: list[_Positive] | None = None
