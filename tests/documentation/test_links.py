"""Links of the documentation lead somewhere, and every page is in the table of contents."""

import re
import unicodedata

import pytest
import yaml

from tests.documentation.pages import DOCS, PAGES, ROOT, WRITTEN

_CODE = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_INCLUDED = re.compile(r'^--8<-- "([^":]+)(?::\w+)?"$', re.MULTILINE)


def anchors(text: str) -> set[str]:
    """What Markdown's table of contents calls the headings of a page."""
    whole = _INCLUDED.sub(lambda found: PAGES[found[1]], text)
    heads = re.findall(r"^#+ (.*)$", _CODE.sub("", whole), re.MULTILINE)
    plain = [
        unicodedata.normalize("NFKD", head).encode("ascii", "ignore").decode() for head in heads
    ]
    return {re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", head).strip().lower()) for head in plain}


@pytest.mark.parametrize("page", WRITTEN)
def test_links_lead_somewhere(page):
    for link in _LINK.findall(_CODE.sub("", PAGES[page])):
        if link.startswith("https://"):
            continue
        path, _, anchor = link.partition("#")
        target = ((ROOT / page).parent / path).resolve() if path else ROOT / page
        assert target.exists(), link
        if page.startswith("docs/"):  # else the built pages would lack it
            assert target.is_relative_to(DOCS), link
        if anchor:
            assert anchor in anchors(PAGES[str(target.relative_to(ROOT))]), link


def test_what_pages_include_exists():
    included = [one for page in WRITTEN for one in _INCLUDED.findall(PAGES[page])]
    assert set(included) <= PAGES.keys()
    assert len(included) >= 6


def test_every_page_is_in_the_table_of_contents():
    settings = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))

    def listed(entries):
        for entry in entries:
            for value in entry.values() if isinstance(entry, dict) else [entry]:
                yield from listed(value) if isinstance(value, list) else [value]

    assert sorted(listed(settings["nav"])) == sorted(
        page.removeprefix("docs/") for page in WRITTEN if page.startswith("docs/")
    )
    assert settings["theme"]["font"] is False  # or every page would fetch some


@pytest.mark.parametrize("page", PAGES)
def test_files_that_are_named_exist(page):
    named = re.findall(r"`((?:evojax_merge|tests|conf|experiments|docs)/[\w/.-]+)`", PAGES[page])
    assert [one for one in named if "NAME" not in one and not (ROOT / one).exists()] == []
