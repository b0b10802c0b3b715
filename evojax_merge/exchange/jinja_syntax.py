"""Whether a text is a Jinja template, as transformers reads chat templates; it is not run."""

from collections.abc import Collection

from jinja2 import Environment, TemplateError, nodes
from jinja2.ext import Extension
from jinja2.parser import Parser

from evojax_merge.documents.nearest import nearest


def problem(text: str) -> str | None:
    """What is wrong with a template; None where nothing is."""
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
    """Filters and tests by name, those that there are, and their lines."""
    filters = [(n.name, environment.filters, n.lineno) for n in tree.find_all(nodes.Filter)]
    tests = [(n.name, environment.tests, n.lineno) for n in tree.find_all(nodes.Test)]
    return [*filters, *tests]


class _Generation(Extension):
    """``{% generation %}`` of transformers, which marks what a model says."""

    tags = {"generation"}  # noqa: RUF012 (declared so by Jinja)

    def parse(self, parser: Parser) -> list[nodes.Node]:
        """The statements within."""
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)
