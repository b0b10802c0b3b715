import pytest

from evojax_merge.documents.nearest import nearest


@pytest.mark.parametrize(
    ("name", "prefix", "hint"),
    [
        ("cma_e", "", " (did you mean CMA_ES?)"),
        ("snez", "strategy=", " (did you mean strategy=snes?)"),
        (7, "", ""),
        ("unlike", "", ""),
        ("a\nbd", "", r" (did you mean 'a\nbc'?)"),  # what a stranger named is escaped
    ],
)
def test_nearest(name: object, prefix: str, hint: str) -> None:
    assert nearest(name, ["CMA_ES", "snes", "a\nbc"], prefix) == hint
