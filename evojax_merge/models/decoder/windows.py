"""The sliding windows of a decoder's layers, read from ``config.json`` and written into it."""

from collections.abc import Mapping, Sequence
from typing import Any

from evojax_merge.models.decoder.variants import Windows, variant_of

_KINDS = ("full_attention", "sliding_attention")
_OLD_KINDS = {"attention": "full_attention"}
"""The names that transformers once gave layers -> those that it reads them as."""

WindowFields = dict[str, int | bool | list[str] | None]
"""Entries of ``config.json`` that say the windows of layers."""


def layer_windows(hf_config: Mapping[str, Any]) -> tuple[int | None, ...]:
    """Read the sliding window of every layer, from ``layer_types`` or the older spellings.

    Args:
        hf_config: A ``config.json`` with what its type assumes where it is silent.

    Returns:
        The windows in tokens, or None where the layer attends to all.

    Raises:
        ValueError: The fields contradict one another.
    """
    kind, rule = hf_config["model_type"], variant_of(hf_config).windows
    layers = hf_config["num_hidden_layers"]
    window = _window(rule, hf_config)
    given = hf_config.get("layer_types")
    if given is None:
        sliding = [layer for layer in range(layers) if rule and rule.slides(hf_config, layer)]
        if sliding and rule and rule.needed and window is None:
            raise ValueError(
                f"config.json: sliding_window is null, but a {kind} has a window in the layers "
                f"{listed_layers(sliding)}; give sliding_window, or layer_types"
            )
        return tuple(window if layer in sliding else None for layer in range(layers))
    kinds = [_OLD_KINDS.get(str(one), one) for one in given] if isinstance(given, list) else []
    if len(kinds) != layers or not all(one in _KINDS for one in kinds):
        raise ValueError(
            f"config.json: layer_types must name {' or '.join(_KINDS)} for each of "
            f"the {layers} layers; got {given!r}"
        )
    sliding = [layer for layer, one in enumerate(kinds) if one == "sliding_attention"]
    if sliding and window is None:
        raise ValueError(
            "config.json: layer_types names sliding_attention for the layers "
            f"{listed_layers(sliding)}, but this {kind} has no sliding window; "
            "name full_attention"
            + (", or give sliding_window" if rule else "")
            + (f" and {rule.switch}: true" if rule and rule.switch else "")
        )
    if rule and not rule.by_layer and window is not None and len(sliding) < layers:
        full = [layer for layer in range(layers) if layer not in sliding]
        raise ValueError(
            f"config.json: layer_types names full_attention for the layers {listed_layers(full)}, "
            f"but the sliding_window of a {kind} holds for all layers; leave out layer_types, or "
            "set sliding_window to null"
        )
    return tuple(window if layer in sliding else None for layer in range(layers))


def window_fields(hf_config: Mapping[str, Any], windows: Sequence[int | None]) -> WindowFields:
    """Make the entries of ``config.json`` that say these windows, here and to transformers.

    Args:
        hf_config: The ``config.json`` that the entries are put into.
        windows: The window of every layer in tokens, or None where it attends to all.

    Raises:
        ValueError: No ``config.json`` of this type gives layers these windows. The message says
            which layers have which.
    """
    variant = variant_of(hf_config)
    rule = variant.windows
    sizes = {window for window in windows if window is not None}
    mixed = len(set(windows)) > 1
    if len(sizes) > 1 or (sizes and not rule) or (mixed and rule and not rule.by_layer):
        of_layers = [
            f"layers {listed_layers([i for i, own in enumerate(windows) if own == size])}: {size}"
            for size in sorted(set(windows), key=lambda size: (size is None, size or 0))
        ]
        raise ValueError(
            f"no config.json of a {hf_config['model_type']} gives layers the sliding windows that "
            f"these have ({'; '.join(of_layers)}); it has one window, in all layers"
            + (" or some of them" if not rule or rule.by_layer else "")
        )
    said = {k: v for k, v in hf_config.items() if v is not None or k == "sliding_window"}
    silent = {**variant.defaults, **said, "num_hidden_layers": len(windows)}
    silent.pop("layer_types", None)
    fields: WindowFields = {}
    if rule and rule.needed:
        changed = bool(sizes) and silent["sliding_window"] not in sizes
    else:
        changed = layer_windows(silent) != tuple(windows)
    if changed:
        fields["sliding_window"] = sizes.pop() if sizes else None
        if rule and rule.switch:
            fields[rule.switch] = fields["sliding_window"] is not None
    if hf_config.get("layer_types") or layer_windows(silent | fields) != tuple(windows):
        fields["layer_types"] = [_KINDS[window is not None] for window in windows]
        if rule and rule.explicit_head_dim and hf_config.get("head_dim") is None:
            heads = hf_config["num_attention_heads"]
            fields["head_dim"] = hf_config["hidden_size"] // heads
    return fields


def listed_layers(layers: Sequence[int]) -> str:
    """Write the numbers of layers with neighbours as a range, such as ``0, 2 to 5``."""
    parts: list[list[int]] = []
    for layer in layers:
        if parts and parts[-1][-1] == layer - 1:
            parts[-1].append(layer)
        else:
            parts.append([layer])
    return ", ".join(str(p[0]) if len(p) == 1 else f"{p[0]} to {p[-1]}" for p in parts)


def _window(rule: Windows | None, hf_config: Mapping[str, Any]) -> int | None:
    """Return the window of the layers that have one, or None where none has."""
    if rule is None or (rule.switch and not hf_config.get(rule.switch, False)):
        return None
    return hf_config.get("sliding_window")
