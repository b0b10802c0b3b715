"""Checks of Jinja templates, as transformers reads chat templates. They are never run."""

from collections.abc import Collection

from jinja2 import Environment, TemplateError, nodes
from jinja2.ext import Extension
from jinja2.parser import Parser

from evojax_merge.documents.nearest import nearest


def problem(text: str) -> str | None:
    """Say what is wrong with a template. It returns None where nothing is."""
    environment = Environment(extensions=["jinja2.ext.loopcontrols", _Generation])
    try:
        # Parsed, never compiled: that works out what is constant, however large.
        tree = environment.parse(text)
    except TemplateError as error:
        return f"{error} (line {getattr(error, 'lineno', 1)})"
    except RecursionError:
        return "it is nested too deeply"
    for name, known, line in _uses(tree, environment):
        if name not in known:
            return f"Jinja has no filter or test {name}{nearest(name, known)} (line {line})"
    return None


def _uses(tree: nodes.Template, environment: Environment) -> list[tuple[str, Collection[str], int]]:
    """List the filters and tests that are used: name, names that there are, and line."""
    filters = [(n.name, environment.filters, n.lineno) for n in tree.find_all(nodes.Filter)]
    tests = [(n.name, environment.tests, n.lineno) for n in tree.find_all(nodes.Test)]
    return [*filters, *tests]


class _Generation(Extension):
    """The tag ``{% generation %}`` of transformers marks what a model says."""

    tags = {"generation"}  # noqa: RUF012 (declared so by Jinja)

    def parse(self, parser: Parser) -> list[nodes.Node]:
        """Parse the statements within the tag."""
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)
