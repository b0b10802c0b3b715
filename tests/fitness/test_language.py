import sys
from types import ModuleType, SimpleNamespace

import pytest

from evojax_merge.fitness.language import FastText, LangId, Lingua, ScriptRule, as_language

JAPANESE = [
    "東京都",
    "東京都千代田区永田町一丁目七番一号",
    "答えは5です。",
    "りんごを3個食べたので、残りは 7 - 3 = 4 個です。",
    "重さは 15 kg です。x = 3",
    "Johnはりんごを5個買いました。",
    "ｱﾝｻｰは５",
    "12個",
]
OTHER = [
    "",
    " \n",
    "5",
    "3 + 4 = 7",
    "The answer is 12.",
    "The answer is 12 個.",
    "so the answer は 5",
    "我们有五个苹果",
    "小明有五个苹果，吃了两个，还剩三个。",
    "사과 다섯 개",
    "kg",
]


@pytest.mark.parametrize("text", JAPANESE)
def test_script_rule_accepts_japanese(text):
    assert ScriptRule()(text)


@pytest.mark.parametrize("text", OTHER)
def test_script_rule_refuses_the_rest(text):
    assert not ScriptRule()(text)


def test_script_rule_share_and_kanji_can_be_set():
    assert not ScriptRule(share=0.9)("Johnはりんごを5個買いました。")
    assert not ScriptRule(kanji_only=2)("東京都")


def test_langid_tells_sentences_apart():
    japanese = LangId("ja")
    assert japanese("りんごを三つ食べたので、残りは四つです。")
    assert not japanese("He ate three apples, so four are left.")
    assert not japanese("")
    assert LangId("en")("He ate three apples, so four are left.")


def test_a_text_is_judged_once():
    rule = ScriptRule()
    calls = []
    rule.matches = lambda text: calls.append(text) or True
    assert [rule("答え"), rule("答え")] == [True, True]
    assert calls == ["答え"]


def test_fasttext_reads_the_labels_of_its_file(tmp_path, monkeypatch):
    seen = []

    def predict(text, k):
        seen.append((text, k))
        return ("__label__ja", "__label__en"), (0.6, 0.4)

    module = ModuleType("fasttext")
    module.load_model = lambda path: SimpleNamespace(predict=predict)
    monkeypatch.setitem(sys.modules, "fasttext", module)
    file = tmp_path / "lid.176.ftz"
    file.touch()
    assert FastText("ja", str(file))("答え\nは")
    assert not FastText("en", str(file))("答え\nは")
    assert not FastText("fr", str(file))("答え")
    assert seen[0] == ("答えは", -1)


@pytest.mark.parametrize(
    ("package", "make"),
    [
        ("py3langid.langid", lambda file: LangId("ja")),
        ("lingua", lambda file: Lingua("ja")),
        ("fasttext", lambda file: FastText("ja", file)),
    ],
)
def test_a_missing_package_is_named(package, make, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    file = tmp_path / "model"
    file.touch()
    with pytest.raises(ValueError, match=r"needs (py3langid|lingua|fasttext).*pip install"):
        make(str(file))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ScriptRule("fr"), "knows 'ja', not 'fr'"),
        (lambda: as_language("en"), "knows 'ja', not 'en'"),
        (lambda: ScriptRule(share=0.0), "share"),
        (lambda: LangId("xx"), "no language 'xx'"),
        (lambda: FastText("ja", "nowhere.ftz"), "no file nowhere.ftz"),
    ],
)
def test_impossible_conditions_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_the_short_form():
    assert isinstance(as_language("ja"), ScriptRule)
    assert as_language(None) is None
