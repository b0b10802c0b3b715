"""Whether a text is in the wanted language.

The script rule is the default for Japanese. It is exact, instant, and right on the short and
numeric texts that statistical identifiers get wrong (they call 東京都 Chinese). The identifiers
are for other languages and for comparability with published scores.
"""

import importlib
import re
import unicodedata
from abc import ABC, abstractmethod
from types import ModuleType
from typing import Any

from evojax_merge.documents.arguments import check_number, check_text, check_whole
from evojax_merge.documents.files import at_home

_CACHED_TEXTS = 8_192
_KANA = re.compile("[\u3041-\u3096\u309d-\u309f\u30a1-\u30fa\u30fc-\u30ff\u31f0-\u31ff]")
_KANJI = re.compile("[\u3005-\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")
_LETTERS = re.compile(r"[^\W\d_]+")
_LATIN = re.compile("[A-Za-z\u00c0-\u024f]+")


class Language(ABC):
    """A condition on the language of a text; its verdicts are cached by text."""

    def __init__(self, language: str) -> None:
        self.language = check_text("language", language, empty=False)
        self._verdicts: dict[str, bool] = {}

    def __call__(self, text: str) -> bool:
        """Whether the text is in the language; an empty text is in none."""
        if not text.strip():
            return False
        verdict = self._verdicts.get(text)
        if verdict is None:
            if len(self._verdicts) >= _CACHED_TEXTS:
                self._verdicts.clear()
            verdict = self._verdicts[text] = self.matches(text)
        return verdict

    @abstractmethod
    def matches(self, text: str) -> bool:
        """Whether a text that is not blank is in the language."""


class ScriptRule(Language):
    """A condition that knows Japanese by its script.

    After NFKC, with J kana and kanji and O letters of other scripts, a text is Japanese when
    J / (J + O) ≥ ``share`` and it holds a kana, or else, being all kanji like 東京都, at most
    ``kanji_only`` of them, each in JIS X 0208 (这 and 们 are not). Latin runs of one or two
    letters are not counted: kg, cm and x are how Japanese writes units and variables.

    Args:
        language: The code of the language, which can only be ``ja``.
        share: The least share of kana and kanji among the letters.
        kanji_only: The most kanji of a text without kana; running Japanese text has kana.
    """

    def __init__(self, language: str = "ja", share: float = 0.5, kanji_only: int = 20) -> None:
        if language != "ja":
            raise ValueError(
                f"the script rule knows 'ja', not {language!r}; "
                "choose fitness/language=langid or lingua for other languages"
            )
        check_number("script rule: share", share, 0, 1)
        check_whole("script rule: kanji_only", kanji_only, 0)
        if share == 0:
            raise ValueError(f"script rule: share must lie in (0, 1], not {share}")
        super().__init__(language)
        self.share = share
        self.kanji_only = kanji_only

    def matches(self, text: str) -> bool:
        text = unicodedata.normalize("NFKC", text)
        rest, kana = _KANA.subn(" ", text)
        rest, kanji = _KANJI.subn(" ", rest)
        japanese = kana + kanji
        other = sum(
            len(run) for run in _LETTERS.findall(rest) if len(run) > 2 or not _LATIN.fullmatch(run)
        )
        if japanese == 0 or japanese < self.share * (japanese + other):
            return False
        if kana:
            return True
        return kanji <= self.kanji_only and _in_jis("".join(_KANJI.findall(text)))


class LangId(Language):
    """The identifier py3langid (Lui and Baldwin, 2012, retrained).

    It works offline, has 4.5 MB and needs the ``langid`` extra.

    Args:
        language: The ISO 639-1 code of the language.
        threshold: The least probability of the language.
    """

    def __init__(self, language: str, threshold: float = 0.5) -> None:
        super().__init__(language)
        check_number("language: threshold", threshold, 0, 1)
        module = _import("py3langid.langid", "pip install 'evojax-merge[langid]'")
        self.threshold = threshold
        self._identifier = module.LanguageIdentifier.from_model_file(
            module.MODEL_FILE, norm_probs=True
        )
        _check_language(language, self._identifier.labels)

    def matches(self, text: str) -> bool:
        return dict(self._identifier.rank(text))[self.language] > self.threshold


class Lingua(Language):
    """The identifier lingua, for short texts of many languages.

    It works offline and has 96 MB. It is not among the dependencies.

    Args:
        language: The ISO 639-1 code of the language.
        threshold: The least probability of the language.
    """

    def __init__(self, language: str, threshold: float = 0.5) -> None:
        super().__init__(language)
        check_number("language: threshold", threshold, 0, 1)
        module = _import("lingua", "pip install lingua-language-detector")
        self.threshold = threshold
        known = {one.iso_code_639_1.name.lower(): one for one in module.Language.all()}
        _check_language(language, known)
        self._wanted = known[language]
        self._detector = module.LanguageDetectorBuilder.from_all_languages().build()

    def matches(self, text: str) -> bool:
        confidence = self._detector.compute_language_confidence(text, self._wanted)
        return bool(confidence > self.threshold)


class FastText(Language):
    """A fastText model file such as ``lid.176.ftz``, with which the paper's scores were made.

    In Akiba et al., arXiv 2403.13187, an answer is right only when P(ja) > 0.5, newlines removed.

    Args:
        language: The code that follows ``__label__`` in the model.
        path: The model file, which is not ours to ship.
        threshold: The least probability of the language.
    """

    def __init__(self, language: str, path: str, threshold: float = 0.5) -> None:
        super().__init__(language)
        check_number("language: threshold", threshold, 0, 1)
        file = at_home(path)
        if not file.is_file():
            raise ValueError(
                f"fasttext: no file {path}; fetch lid.176.ftz from fasttext.cc and name it "
                "in fitness.language.path"
            )
        module = _import("fasttext", "pip install fasttext-predict")
        self.threshold = threshold
        self._model: Any = module.load_model(str(file))

    def matches(self, text: str) -> bool:
        labels, probabilities = self._model.predict(text.replace("\n", ""), k=-1)
        found = dict(zip(labels, probabilities, strict=True))
        return bool(found.get(f"__label__{self.language}", 0.0) > self.threshold)


def as_language(language: "Language | str | None") -> Language | None:
    """A language condition from a configuration value: an object, the code ``ja``, or none."""
    return ScriptRule(language) if isinstance(language, str) else language


def _in_jis(kanji: str) -> bool:
    try:
        kanji.encode("shift_jis")
    except UnicodeEncodeError:
        return False
    return True


def _import(name: str, install: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        package = name.partition(".")[0]
        raise ValueError(
            f"this language condition needs {package}, which cannot be imported ({error}); "
            f"{install}, or choose fitness/language=script"
        ) from error


def _check_language(language: str, known: Any) -> None:
    if language not in known:
        codes = ", ".join(sorted(known))
        raise ValueError(f"no language {language!r}; the codes are {codes}")
