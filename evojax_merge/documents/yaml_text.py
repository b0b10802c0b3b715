"""YAML within bounds, in which a key given twice is an error instead of silently the last one.

A few lines of aliases can stand for more values than there is memory, or for themselves. Values are
made only after the text's graph of nodes was measured as what it stands for.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import yaml

from evojax_merge.documents.errors import shown

DEEPEST = 64
"""How many mappings and lists may lie within one another, with aliases followed."""

MOST = 1_000_000
"""How many values there may be in all, with aliases followed."""

LARGEST = 4 * 2**20
"""How many characters a text may have."""

_MOST_NODES = 300_000
"""How many values a text may have, with aliases not followed; these take ten seconds to read."""

_LONGEST_NUMBER = 1_000
"""How many characters a scalar without quotes that is no text may have; its reading can be
quadratic."""

_TEXT = "tag:yaml.org,2002:str"
_MERGE = "tag:yaml.org,2002:merge"


class _Measured(NamedTuple):
    """What a node stands for."""

    values: int
    depth: int


class _Loader(yaml.SafeLoader):
    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = self._nodes = 0
        self._known: dict[yaml.Node, _Measured | None] = {}

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """Compose a node within bounds, as the base class follows the text by recursion."""
        self._depth, self._nodes = self._depth + 1, self._nodes + 1
        if self._depth > DEEPEST + 1:
            raise _error(f"is nested more than {DEEPEST} deep", self.peek_event().start_mark)
        if self._nodes > _MOST_NODES:
            raise _error(f"has more than {_MOST_NODES:,} values", self.peek_event().start_mark)
        try:
            return super().compose_node(parent, index)
        finally:
            self._depth -= 1

    def documents(self) -> Iterator[Any]:
        """The values of each document, in order."""
        while self.check_node():
            node = self.get_node()
            assert node is not None  # of a document there is one
            self._measure(node)
            yield self._constructed(node)

    def _measure(self, node: yaml.Node) -> _Measured:
        if node in self._known:
            measured = self._known[node]
            if measured is None:
                raise _error("an alias stands for what it is in", node.start_mark)
            return measured
        self._known[node] = None  # until it is known, it is being measured
        values, depth = 1, 0
        if isinstance(node, yaml.ScalarNode):
            _check_scalar(node)
        elif isinstance(node, yaml.MappingNode):
            self._check_keys(node)
        for child in _children(node):
            inner = self._measure(child)
            values, depth = values + inner.values, max(depth, inner.depth + 1)
        if values > MOST:
            raise _error(f"stands for more than {MOST:,} values", node.start_mark)
        if depth > DEEPEST:
            raise _error(f"is nested more than {DEEPEST} deep", node.start_mark)
        self._known[node] = _Measured(values, depth)
        return _Measured(values, depth)

    def _check_keys(self, node: yaml.MappingNode) -> None:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            if not isinstance(key_node, yaml.ScalarNode) or key_node.tag == _MERGE:
                continue  # a list is no key, as the base says
            _check_scalar(key_node)
            key = self._constructed(key_node)
            if key in seen:
                raise _error(f"the key {shown(key)} is given twice", key_node.start_mark)
            seen.add(key)

    def _constructed(self, node: yaml.Node) -> Any:
        try:
            return self.construct_document(node)
        except yaml.YAMLError:
            raise
        # A tag that does not fit, as in `!!int ''`, or a date that there is not.
        except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError) as error:
            reason = f" ({error})" if isinstance(error, ValueError) else ""
            raise _error(f"a value is not what it looks like{reason}", node.start_mark) from None


def load_yaml(text: str) -> Any:
    """Read the plain values of one document; an empty one gives None.

    Raises:
        yaml.YAMLError: The text is no YAML, holds several documents, stands for too much or for
            itself, or a mapping has a key twice.
    """
    found = load_documents(text)
    if len(found) > 1:
        raise _error(f"holds {len(found)} documents; one was expected", None)
    return found[0] if found else None


def load_documents(text: str) -> list[Any]:
    """Read the plain values of every document.

    Raises:
        yaml.YAMLError: A document is one that `load_yaml` refuses.
    """
    if len(text) > LARGEST:
        raise _error(f"is longer than {LARGEST / 2**20:g} million characters", None)
    try:
        return list(_Loader(text).documents())
    except yaml.MarkedYAMLError as error:
        raise yaml.YAMLError(_on_a_line(error)) from None
    except yaml.YAMLError as error:  # of characters that are none of YAML's
        raise yaml.YAMLError(" ".join(str(error).split())) from None


def _on_a_line(error: yaml.MarkedYAMLError) -> str:
    """What PyYAML says on several lines with an excerpt, which may be a whole text, on one line."""
    said = ", ".join(filter(None, (error.context, error.problem)))
    mark = error.problem_mark or error.context_mark
    return f"{said} at line {mark.line + 1}, column {mark.column + 1}" if mark else said


def _children(node: yaml.Node) -> Iterator[yaml.Node]:
    if isinstance(node, yaml.SequenceNode):
        yield from node.value
    elif isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield key
            yield value


def _check_scalar(node: yaml.ScalarNode) -> None:
    if node.tag != _TEXT and len(node.value) > _LONGEST_NUMBER:
        raise _error(f"a value of {len(node.value):,} characters is no text", node.start_mark)
    try:
        node.value.encode()
    except UnicodeEncodeError:
        raise _error(
            f"the text {shown(node.value)} holds half of a surrogate pair, which is no character",
            node.start_mark,
        ) from None


def _error(problem: str, mark: yaml.Mark | None) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=mark)
