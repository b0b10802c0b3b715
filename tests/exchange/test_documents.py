"""Files of several documents, run in order."""

import numpy as np
import pytest
import yaml

from evojax_merge.exchange import ExchangeError, apply_mergekit, is_mergekit
from evojax_merge.exchange.documents import parse_file
from tests.exchange.conftest import entries, merged, tensors_of

HALF = {"weight": 0.5}


def document(models, name=None, method="linear", **entry):
    tree = {"merge_method": method, "models": entries(models, **entry), "dtype": "float32"}
    return tree if name is None else {"name": name} | tree


def chain(models):
    """The result first: documents stand in any order."""
    made = models | {"first": "first", "second": "second"}
    return [
        document(made, second=HALF, a=HALF),
        document(made, "first", a=HALF, b=HALF),
        document(made, "second", first=HALF, c=HALF),
    ]


def write(path, documents):
    path.write_text(yaml.safe_dump_all(documents))
    return path


def expected(models, tmp_path):
    first = merged(document(models, a=HALF, b=HALF), tmp_path / "x")
    found = {name: (first[name] + tensors_of(models["c"])[name]) / 2 for name in first}
    return {name: (found[name] + tensors_of(models["a"])[name]) / 2 for name in first}


def test_documents_use_each_others_results(models, tmp_path):
    file = write(tmp_path / "file.yml", chain(models))
    assert is_mergekit(file)
    apply_mergekit(file, tmp_path / "out")
    found = tensors_of(tmp_path / "out")
    for name, tensor in expected(models, tmp_path).items():
        np.testing.assert_allclose(found[name], tensor, rtol=1e-5, atol=1e-6)
    assert (tmp_path / "out" / "mergekit_config.yml").read_text() == file.read_text()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file.yml", "out", "x"]


def test_the_last_is_the_result_where_all_have_names(models, tmp_path):
    documents = [
        document(models, "a merge", a=HALF, b=HALF),
        document(models | {"it": "a merge"}, "final", it=HALF, c=HALF),
    ]
    apply_mergekit(write(tmp_path / "file.yml", documents), tmp_path / "out")
    found = tensors_of(tmp_path / "out")["model.norm.weight"]
    parts = [tensors_of(models[name])["model.norm.weight"] for name in "abc"]
    np.testing.assert_allclose(found, 0.25 * parts[0] + 0.25 * parts[1] + 0.5 * parts[2], rtol=1e-5)


def test_a_document_that_the_result_does_not_use_is_not_run(models, tmp_path):
    documents = [document(models, "alone", a=HALF), document(models, b=HALF)]
    file = write(tmp_path / "file.yml", documents)
    with pytest.warns(UserWarning, match="the document alone is not run"):
        apply_mergekit(file, tmp_path / "out")
    with pytest.raises(ExchangeError, match="the document alone is not run"):
        apply_mergekit(file, tmp_path / "other", strict=True)


@pytest.mark.parametrize(
    ("documents", "message"),
    [
        (lambda m: [document(m, a=HALF), document(m, b=HALF)], "2 of its documents have no name"),
        (lambda m: [document(m, "x", a=HALF), document(m, "x", a=HALF)], "have the name x"),
        (lambda m: [document(m, "../x", a=HALF), document(m, a=HALF)], "is no name"),
        (lambda m: [document(m, 3, a=HALF), document(m, a=HALF)], "3 is no name"),
        (lambda m: [[1], document(m, a=HALF)], "document 1: must be a mapping, is list"),
        (
            lambda m: [
                document(m | {"y": "y"}, "x", y=HALF),
                document(m | {"x": "x"}, "y", x=HALF),
            ],
            "in a circle: y uses x uses y",
        ),
        (
            lambda m: [document(m, "x", a=HALF), document(m, a=HALF) | {"dtpe": "float32"}],
            r"document 2: unknown key dtpe \(did you mean dtype\?\)",
        ),
    ],
)
def test_documents_that_cannot_be_run(models, documents, message):
    with pytest.raises(ExchangeError, match=message):
        parse_file(yaml.safe_dump_all(documents(models)))


def test_what_is_wrong_with_a_later_document_leaves_nothing(models, tmp_path):
    documents = chain(models)
    documents[0]["models"][0]["parameters"] = {"weight": [{"filter": "mpl", "value": 1}]}
    with pytest.raises(ExchangeError, match="needs the parameter weight"):
        apply_mergekit(write(tmp_path / "file.yml", documents), tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["file.yml"]


def test_an_empty_document_is_none(models, tmp_path):
    text = "---\n# nothing\n---\n" + yaml.safe_dump(document(models, a=HALF)) + "---\n"
    assert len(parse_file(text).documents) == 1
    with pytest.raises(ExchangeError, match="holds nothing"):
        parse_file("# nothing\n")


@pytest.mark.parity
def test_the_same_as_mergekit_multi(models, tmp_path):
    from click.testing import CliRunner
    from mergekit.scripts.multimerge import main

    file = write(tmp_path / "file.yml", chain(models))
    apply_mergekit(file, tmp_path / "ours")
    asked = [str(file), "--out-path", str(tmp_path / "theirs"), "-I", str(tmp_path / "parts")]
    CliRunner().invoke(main, [*asked, "--no-copy-tokenizer"], catch_exceptions=False)
    ours, theirs = (tensors_of(tmp_path / who) for who in ("ours", "theirs"))
    assert ours.keys() == theirs.keys()
    for name, tensor in theirs.items():
        np.testing.assert_allclose(ours[name], tensor, rtol=1e-5, atol=1e-6)
