"""What strangers' files can be: seeded changes of valid ones, as values, as text and as files."""

import copy
import json
import math
import os
import random
import shutil
from pathlib import Path
from typing import Any

import yaml

CANARY = "fuzz-canary"
"""Name of a file that code hidden in an input would make."""

NUMBERS: list[Any] = [
    *(0, 1, 2, 3, -1, 7, 64, 2**31, 2**63, 2**70, 10**39, 10**400, -(2**31)),
    *(0.0, 2.0, 1.5, -0.5, 1e-300, 1e300, 1e39, math.nan, math.inf, -math.inf),
]
TEXTS = [
    *(
        "",
        "x",
        "2",
        "1.5",
        "true",
        "null",
        "nan",
        "a" * 5_000,
        "\0",
        "\x1b]0;x\x07",
        "\u202e",
        "数",
    ),
    *("\ud800", "~", "~nobody_of_this_name/x", "../..", "/etc/passwd", "/dev/zero", "{", "{x}"),
    *("{question:>99999999999}", "{question:{answer}}", "{question.__class__}", "${oc.env:HOME}"),
    *("os.system", "numpy.load", "evojax_merge.operators.base.np.load", "!!python/name:os.system"),
    *("(a+)+$", "[", "%s%n", "{{ x }}", "float32", "int8", "default", "yarn", "sliding_attention"),
]
CODE = [
    {
        "_target_": "pathlib.Path.touch",
        "_args_": [{"_target_": "pathlib.Path", "_args_": [CANARY]}],
    },
    {"_target_": "os.system", "command": f"touch {CANARY}"},
    {"_target_": "numpy.savetxt", "fname": CANARY, "X": [1]},
    f"${{oc.create:{{_target_: numpy.savetxt, fname: {CANARY}, X: [1]}}}}",
]
SHAPES: list[Any] = [None, True, False, [], {}, [1], ["x"], {"a": 1}, [[]], {"": None}, [None] * 99]


def value(rng: random.Random) -> Any:
    """A value that is seldom expected."""
    kind = rng.randrange(12)
    if kind < 5:
        return rng.choice(NUMBERS)
    if kind < 8:
        return rng.choice(TEXTS)
    if kind < 10:
        return copy.deepcopy(rng.choice(SHAPES))
    return copy.deepcopy(rng.choice(CODE)) if kind == 10 else deep(rng.choice([5, 70, 150]))


def deep(levels: int) -> Any:
    """Lists within lists."""
    found: Any = []
    for _ in range(levels):
        found = [found]
    return found


def tree(rng: random.Random, given: Any) -> Any:
    """The values with one to three of them changed."""
    changed = copy.deepcopy(given)
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        place = _place(rng, changed)
        if place is None:
            return value(rng)
        inner, key = place
        action = rng.randrange(8)
        if action < 4:
            inner[key] = value(rng)
        elif action == 4:
            del inner[key]
        elif action == 5 and isinstance(inner, dict):
            inner[f"{key}x" if rng.random() < 0.5 else rng.choice(TEXTS)] = inner.pop(key)
        elif action == 6:
            inner[key] = [inner[key]]
        elif isinstance(inner, list):
            inner.insert(key, copy.deepcopy(inner[key]))
        else:
            inner[rng.choice(TEXTS)] = value(rng)
    return changed


def _place(rng: random.Random, given: Any) -> tuple[Any, Any] | None:
    places: list[tuple[Any, Any]] = []
    stack = [given]
    while stack:
        inner = stack.pop()
        keys = inner if isinstance(inner, dict) else range(len(inner))
        for key in keys:
            places.append((inner, key))
            if isinstance(inner[key], dict | list):
                stack.append(inner[key])
        if len(places) > 500:
            break
    return rng.choice(places) if places else None


def as_json(rng: random.Random, given: Any) -> bytes:
    """JSON of changed values, or changed JSON."""
    text = json_of(tree(rng, given) if rng.random() < 0.8 else given)
    if rng.random() < 0.1 and text.startswith("{") and len(text) > 2:
        return (text[:-1] + ", " + text[1:]).encode()  # every key twice
    return text.encode() if rng.random() < 0.8 else text_of(rng, text.encode())


def json_of(given: Any) -> str:
    """JSON, also of what is too deep to be written."""
    try:
        return json.dumps(given)
    except RecursionError:
        return "[" * 2_000


def text_of(rng: random.Random, content: bytes) -> bytes:
    """The text with some of it changed, as no program writes it."""
    at = rng.randrange(len(content) + 1)
    action = rng.randrange(9)
    if action == 0:
        return content[:at]
    if action == 1:
        return content[:at] + bytes(rng.randrange(256) for _ in range(4)) + content[at:]
    if action == 2:
        return content[:at] + b"[" * rng.choice([3, 100_000]) + content[at:]
    if action == 3:
        return content[:at] + b'{"a":' * rng.choice([3, 100_000]) + content[at:]
    if action == 4:
        return b"\xef\xbb\xbf" + content
    if action == 5:
        return content.decode(errors="replace").encode("utf-16")
    if action == 6:
        return content[:at] + rng.choice([b"\0", b"\xff", b"\\ud800", b"9" * 5_000, b"&a *a"])
    if action == 7:
        return content + content
    return rng.choice([b"", b" ", b"null", b"[]", b"{}", b"3", b'"x"', b"\n" * 9])


def file(rng: random.Random, path: Path) -> None:
    """Put something else in the place of a file."""
    action = rng.randrange(7)
    content = path.read_bytes() if path.is_file() else b""
    path.unlink(missing_ok=True)
    if action == 0:
        os.mkfifo(path)
    elif action == 1:
        path.mkdir()
    elif action == 2:
        path.symlink_to(rng.choice(["/etc/passwd", "/dev/zero", "nowhere", path.name, "../.."]))
    elif action == 3:
        path.write_bytes(b"")
    elif action == 4:
        outside = path.parent.parent / f"outside-{path.name}"
        outside.write_bytes(content)
        path.symlink_to(outside)
    elif action == 5:
        inside = path.parent / f"inside-{path.name}"
        inside.write_bytes(content)
        path.symlink_to(inside.name)


def copied(source: Path, target: Path) -> Path:
    """A directory of its own for an input."""
    shutil.copytree(source, target)
    return target


def as_yaml(rng: random.Random, given: Any) -> bytes:
    changed = tree(rng, given) if rng.random() < 0.8 else given
    try:
        text = yaml.safe_dump(changed, sort_keys=False)
    except (yaml.YAMLError, RecursionError, ValueError):
        text = "a: " + "[" * 2_000
    try:
        content = text.encode()
    except UnicodeEncodeError:
        content = json_of(changed).encode()
    kind = rng.randrange(20)
    if kind == 0:
        laughs = [f"x{n}: &x{n} [{f'*x{n - 1}, ' * 9}]" for n in range(1, 12)]
        return content + "\n".join(["x0: &x0 [1]", *laughs]).encode()
    if kind == 1:
        return content + rng.choice(
            [b"a: &a [*a]", b"<<: *b", b"a: &a {<<: *a}", b"!!python/object/apply:os.system [x]"]
        )
    return text_of(rng, content) if kind < 5 else content
