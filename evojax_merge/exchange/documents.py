"""The documents of a mergekit YAML: one merge, or several that use each other's results.

As ``mergekit-multi`` has it, each document but one has a ``name``, by which others call the model
that it makes, in whatever order they stand. The result is the document without a name; where all
have a name, it is the last.
"""

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from evojax_merge.documents.yaml_text import load_documents
from evojax_merge.exchange.configuration import Configuration
from evojax_merge.exchange.errors import ExchangeError
from evojax_merge.exchange.schema import read_configuration, read_file
from evojax_merge.exchange.yaml_anchors import anchored_keys


@dataclasses.dataclass(frozen=True, eq=False)
class Document:
    """A document is one merge of a file.

    Attributes:
        name: The name by which others call its result, if it has one.
        tree: The tree of the YAML, without the name.
        where: What messages call the document.
        anchored: The keys that hold what others repeat.
    """

    name: str | None
    tree: Mapping[str, Any]
    where: str
    anchored: frozenset[str]


@dataclasses.dataclass(frozen=True)
class File:
    """The merges of a file, in an order in which each follows those whose results it uses.

    Attributes:
        documents: The documents. The last is the result.
        beside: The directory where those that are not in the working directory may be.
        notes: Texts about what was passed over.
    """

    documents: tuple[Document, ...]
    beside: Path
    notes: tuple[str, ...]

    def read(self, document: Document, folder: Path) -> Configuration:
        """Read the configuration of one of the documents.

        Args:
            document: The document.
            folder: The folder of the results of the others, each in a directory of its name.

        Raises:
            ExchangeError: The document is no merge of mergekit's, or has keys or values that are
                not supported.
        """
        others = [one.name for one in self.documents if one.name and one is not document]
        made = {name: folder / name for name in others}
        return read_configuration(
            document.tree, document.where, self.beside, document.anchored, made
        )


def load_file(path: str | Path) -> File:
    """Read a file. Directories in it are relative to the working directory or to the file.

    Raises:
        ExchangeError: There is no such file, or `parse_file` refuses it.
    """
    return parse_file(read_file(path), str(path), Path(path).parent)


def parse_file(text: str, where: str = "mergekit YAML", beside: Path = Path()) -> File:
    """Read and check the documents of a YAML.

    Args:
        text: The text of the YAML.
        where: What messages call the YAML.
        beside: The directory where those that are not in the working directory may be.

    Raises:
        ExchangeError: The text is no YAML, a document is no merge of mergekit's, two have one name
            or none, or they use each other's results in a circle.
    """
    try:
        trees = load_documents(text)
        anchored = list(anchored_keys(text))
    except yaml.YAMLError as error:
        raise ExchangeError(f"{where}: cannot be read as YAML: {error}") from None
    given = [pair for pair in zip(trees, anchored, strict=True) if pair[0] is not None]
    if not given:
        raise ExchangeError(f"{where}: holds nothing; a merge of mergekit was expected")
    if len(given) == 1:
        return File((Document(None, given[0][0], where, given[0][1]),), beside, ())
    documents = [
        _named(tree, keys, f"{where}, document {number}")
        for number, (tree, keys) in enumerate(given, start=1)
    ]
    _check_names(documents, where)
    result = next((one for one in documents if one.name is None), documents[-1])
    file = File(tuple(documents), beside, ())
    order = tuple(_ordered(result, _uses(file), where))
    idle = [one.name for one in documents if one not in order]
    notes = [f"the document {name} is not run (the result does not use it)" for name in idle]
    return File(order, beside, tuple(notes))


def _named(tree: Any, keys: frozenset[str], where: str) -> Document:
    if not isinstance(tree, Mapping):
        raise ExchangeError(f"{where}: must be a mapping, is {type(tree).__name__}")
    name = tree.get("name")
    plain = isinstance(name, str) and name not in ("", ".", "..") and not set(name) & set("/\\\0")
    if name is not None and not plain:
        raise ExchangeError(f"{where}: name: {name!r} is no name; give a word without slashes")
    return Document(name, {k: v for k, v in tree.items() if k != "name"}, where, keys)


def _check_names(documents: list[Document], where: str) -> None:
    names = [one.name for one in documents]
    if names.count(None) > 1:
        raise ExchangeError(
            f"{where}: {names.count(None)} of its documents have no name; only the one that is the "
            "result may lack it"
        )
    if twice := sorted({name for name in names if name and names.count(name) > 1}):
        raise ExchangeError(f"{where}: two documents have the name {', '.join(twice)}")


def _uses(file: File) -> dict[Document, list[Document]]:
    """Find the documents whose results each document uses."""
    places = {str(Path(one.name)): one for one in file.documents if one.name}
    found = {}
    for document in file.documents:
        configuration = file.read(document, Path())
        used = dict.fromkeys(configuration.uses)
        found[document] = [places[name] for name in used if name in places]
    return found


def _ordered(
    document: Document,
    uses: Mapping[Document, list[Document]],
    where: str,
    above: tuple[Document, ...] = (),
) -> Iterator[Document]:
    """Yield a document after all those whose results it uses."""
    if document in above:
        circle = [*above[above.index(document) :], document]
        raise ExchangeError(
            f"{where}: documents use each other's results in a circle: "
            + " uses ".join(str(one.name) for one in circle)
        )
    seen: set[str | None] = set()
    for other in uses[document]:
        for one in _ordered(other, uses, where, (*above, document)):
            if one.name not in seen:
                seen.add(one.name)
                yield one
    yield document
