"""A language model that judges answers, at an address like that of OpenAI.

Zheng et al., "Judging LLM-as-a-Judge with MT-Bench and Chatbot Arena", arXiv 2306.05685.
"""

import importlib.util
import os
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from typing import Any
from urllib.parse import urlsplit

from evojax_merge.documents.arguments import check_number, check_text, check_whole
from evojax_merge.documents.errors import shown
from evojax_merge.fitness.base import FRACTION, Measure
from evojax_merge.fitness.data import Record
from evojax_merge.fitness.judging.chat_client import ChatClient
from evojax_merge.fitness.judging.kept_replies import KeptReplies
from evojax_merge.fitness.judging.replies import Reading, UnreadableReplyError
from evojax_merge.fitness.judging.score import Case, Score, Verdict
from evojax_merge.fitness.text import fill, template_fields
from evojax_merge.hosts import Interrupted

TEMPLATE = (
    "Question:\n{question}\n\nRight answer:\n{reference}\n\nAnswer to be judged:\n{answer}\n\n"
    "How good is the answer to be judged, from 1 (wrong) to 10 (right and complete)? Reply with "
    "the number alone."
)

INSTALL = "pip install 'evojax-merge[judge]'"


class ChatJudge(Score):
    """A judge that is asked about each answer, once for equal questions, also in later runs.

    An empty answer, and one in another language than the wanted one, is worth 0 unasked.

    Args:
        url: The address, e.g. ``http://localhost:8000/v1``.
        model: The name of the model there.
        template: The question to the judge, with ``{answer}`` for the answer, ``{reference}`` for
            the right ones, a line each, and fields of the item in braces.
        system: What the judge is told before, if anything.
        reads: How its reply becomes a score, see `evojax_merge.fitness.judging.replies.Reading`.
        least: The number that is worth 0.
        most: The number that is worth 1.
        pattern: A regular expression, for ``reads="pattern"``.
        unreadable: The score of an answer of which the judge says none even when it is asked
            again; by default, that is an error.
        key_variable: The environment variable that holds the key of the address, if it needs one.
        temperature: The temperature, or None to leave it to the address.
        max_tokens: The most tokens of a reply, or None to leave it to the address.
        options: Further keys of the request.
        requests: How many questions may be asked before the run stops; by default, any number.
            Replies that are kept cost nothing.
        concurrency: How many questions are asked at the same time.
        seconds: The time after which a question is given up and asked again.
        attempts: How often a question is asked at most, where the address fails or is busy, or the
            reply cannot be read.
        keep_replies: The folder that replies are kept in, see `KeptReplies`.

    Raises:
        ValueError: A setting makes no sense, the key is not there, or a package is missing.
    """

    compares = False
    outside = True

    def __init__(
        self,
        url: str,
        model: str,
        template: str = TEMPLATE,
        system: str | None = None,
        reads: str = "number",
        least: float = 1,
        most: float = 10,
        pattern: str | None = None,
        unreadable: float | None = None,
        key_variable: str | None = None,
        temperature: float | None = 0,
        max_tokens: int | None = 64,
        options: Mapping[str, Any] | None = None,
        requests: int | None = None,
        concurrency: int = 8,
        seconds: float = 60,
        attempts: int = 5,
        keep_replies: str | None = "default",
    ) -> None:
        where = "fitness.judge"
        check_text(f"{where}.model", model, empty=False)
        address = urlsplit(check_text(f"{where}.url", url, empty=False))
        if address.scheme not in ("http", "https") or not address.hostname:
            raise ValueError(f"{where}.url is {shown(url)}; give one as http://localhost:8000/v1")
        if address.username or address.password:
            raise ValueError(
                f"{where}.url holds a password, which would be written into the run's files; put "
                f"the key into an environment variable, and name that as {where}.key_variable"
            )
        if "answer" not in template_fields(template):
            raise ValueError(f"{where}.template has no {{answer}}, the answer to be judged")
        if unreadable is not None:
            check_number(f"{where}.unreadable", unreadable, 0, 1)
        if requests is not None:
            check_whole(f"{where}.requests", requests, 0)
        check_whole(f"{where}.concurrency", concurrency, 1, 1_000)
        check_whole(f"{where}.attempts", attempts, 1, 100)
        check_number(f"{where}.seconds", seconds, 0.01)
        self._read = Reading(reads, least, most, pattern, where)
        self._template, self._unreadable = template, unreadable
        self.compares = "reference" in template_fields(template)
        self._request: dict[str, Any] = {"url": url, "model": model, **dict(options or {})}
        if temperature is not None:
            check_number(f"{where}.temperature", temperature, 0)
            self._request["temperature"] = temperature
        if max_tokens is not None:
            self._request["max_tokens"] = check_whole(f"{where}.max_tokens", max_tokens, 1)
        self._before = []
        if system is not None:
            self._before = [{"role": "system", "content": check_text(f"{where}.system", system)}]
        if importlib.util.find_spec("openai") is None:
            raise ValueError(f"{where}: a judge needs the package openai; {INSTALL}")
        self._client = ChatClient(url, _key(key_variable, where), seconds, attempts)
        self._attempts, self._concurrency = attempts, concurrency
        self._left = self._requests = requests
        self._lock = threading.Lock()
        self._kept = KeptReplies(keep_replies)
        self.measure = Measure(f"score by {model}", FRACTION)

    def known(self, value: Any) -> Any:
        """Nothing; the judge reads the text."""
        return None

    def check(self, record: Record) -> None:
        """Raise a `DataError` if an item lacks a field of the question."""
        fill(self._template, _with(record, "", ""))

    def verdicts(
        self, answers: Sequence[str], cases: Sequence[Case], foreign: Sequence[bool]
    ) -> list[Verdict]:
        """Ask about each answer.

        Raises:
            Interrupted: No more questions may be asked.
            ValueError: The judge cannot be asked, or says no score.
        """
        asked = [
            None if other or not text.strip() else self._question(text, case)
            for text, case, other in zip(answers, cases, foreign, strict=True)
        ]
        questions = {KeptReplies.name(one): one for one in asked if one is not None}
        places = {
            KeptReplies.name(one): case.record.place
            for one, case in zip(asked, cases, strict=True)
            if one is not None
        }
        found = {name: self._known(name) for name in questions}
        missing = [name for name, verdict in found.items() if verdict is None]
        found |= self._ask_all({name: questions[name] for name in missing}, places)
        unasked = Verdict(0.0, "not asked")
        return [
            unasked if one is None else found[KeptReplies.name(one)] or unasked for one in asked
        ]

    def _question(self, answer: str, case: Case) -> dict[str, Any]:
        reference = "\n".join(one.text for one in case.known)
        content = fill(self._template, _with(case.record, answer, reference))
        return {**self._request, "messages": [*self._before, {"role": "user", "content": content}]}

    def _known(self, name: str) -> Verdict | None:
        reply = self._kept.get(name)
        try:
            return None if reply is None else Verdict(self._read(reply), reply)
        except UnreadableReplyError:
            return None if self._unreadable is None else Verdict(self._unreadable, reply or "")

    def _ask_all(
        self, questions: Mapping[str, Mapping[str, Any]], places: Mapping[str, str]
    ) -> dict[str, Verdict]:
        """Ask several questions at a time; what was replied before an error is kept."""
        if not questions:
            return {}
        pool = ThreadPoolExecutor(self._concurrency, thread_name_prefix="judge")
        try:
            running = {
                name: pool.submit(self._ask, name, question, places[name])
                for name, question in questions.items()
            }
            done, waiting = wait(running.values(), return_when=FIRST_EXCEPTION)
            for future in waiting:
                future.cancel()
            failed = [error for future in done if (error := future.exception()) is not None]
            if failed:  # a used-up budget is no failure, whatever else failed beside it
                raise next((one for one in failed if isinstance(one, Interrupted)), failed[0])
            return {name: future.result() for name, future in running.items()}
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def _ask(self, name: str, question: Mapping[str, Any], place: str) -> Verdict:
        reply, reason = "", ""
        for _ in range(self._attempts):
            self._spend()
            try:
                reply = self._client(question, place)
                score = self._read(reply)
            except UnreadableReplyError as error:
                reason = str(error)
            else:
                self._kept.put(name, question, reply)
                return Verdict(score, reply)
        if self._unreadable is None:
            raise ValueError(
                f"the judge's reply to the answer to {place} cannot be read, {self._attempts} "
                f"times: {reason}: {shown(reply, 200)}; change fitness.judge.template or reads, or "
                "give fitness.judge.unreadable as the score of such answers"
            )
        self._kept.put(name, question, reply)
        return Verdict(self._unreadable, reply)

    def _spend(self) -> None:
        with self._lock:
            if self._left is None:
                return
            if self._left == 0:
                raise Interrupted(
                    f"the budget of {self._requests} questions to the judge "
                    "(fitness.judge.requests); its replies are kept"
                )
            self._left -= 1


def _with(record: Record, answer: str, reference: str) -> Record:
    return record._replace(fields={**record.fields, "answer": answer, "reference": reference})


def _key(variable: str | None, where: str) -> str | None:
    if variable is None:
        return None
    check_text(f"{where}.key_variable", variable, empty=False)
    key = os.environ.get(variable)
    if not key:
        raise ValueError(
            f"{where}.key_variable: the environment variable {shown(variable)} is not set; put the "
            "key into it"
        )
    return key
