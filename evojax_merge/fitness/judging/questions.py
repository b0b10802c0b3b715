"""Questions to a judge: asked several at a time, again where it helps, and within a budget."""

import hashlib
import json
import threading
from collections.abc import Mapping
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from typing import Any, NamedTuple

from evojax_merge.documents.errors import shown
from evojax_merge.fitness.judging.chat_client import ChatClient
from evojax_merge.fitness.judging.kept_replies import KeptReplies
from evojax_merge.fitness.judging.replies import Reading, UnreadableReplyError
from evojax_merge.fitness.judging.score import Verdict
from evojax_merge.hosts import Interrupted


class Question(NamedTuple):
    """A request to a judge.

    Attributes:
        text: The request as JSON, in which equal requests are equal.
        name: Its SHA-256.
    """

    text: str
    name: str

    @classmethod
    def of(cls, request: Mapping[str, Any]) -> "Question":
        """Take a request, as plain values."""
        text = json.dumps(request, sort_keys=True, ensure_ascii=False)
        return cls(text, hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest())

    @property
    def request(self) -> dict[str, Any]:
        """The request."""
        found: dict[str, Any] = json.loads(self.text)
        return found


class Budget:
    """How many questions may still be asked.

    Args:
        most: How many in all; None for any number.
    """

    def __init__(self, most: int | None) -> None:
        self._left = self._most = most
        self._lock = threading.Lock()

    def spend(self) -> None:
        """Count a question that is about to be asked.

        Raises:
            Interrupted: There is none left.
        """
        with self._lock:
            if self._left is None:
                return
            if self._left == 0:
                raise Interrupted(
                    f"the budget of {self._most} questions to the judge (fitness.judge.requests), "
                    "whose replies are kept"
                )
            self._left -= 1


class Questions:
    """What asks questions whose replies are not known yet.

    Args:
        client: Whom to ask.
        read: What reads the score in a reply.
        kept: The replies that are known.
        unreadable: The score of an answer of which no reply holds one; None where that is an error.
        budget: How many questions may be asked.
        concurrency: How many are asked at the same time.
        attempts: How often one is asked at most, for a reply that can be read.
    """

    def __init__(
        self,
        client: ChatClient,
        read: Reading,
        kept: KeptReplies,
        unreadable: float | None,
        budget: Budget,
        concurrency: int,
        attempts: int,
    ) -> None:
        self._client, self._read, self._kept = client, read, kept
        self._unreadable, self._budget = unreadable, budget
        self._concurrency, self._attempts = concurrency, attempts

    def __call__(self, questions: Mapping[Question, str]) -> dict[Question, Verdict]:
        """The verdict of each question. What is replied before an error is kept.

        Args:
            questions: The questions, with the item that each is about, for messages.

        Raises:
            Interrupted: The budget is used up.
            ValueError: The judge cannot be asked, or says no score.
        """
        known = {question: self._known(question) for question in questions}
        missing = {one: place for one, place in questions.items() if known[one] is None}
        found = {one: verdict for one, verdict in known.items() if verdict is not None}
        return found | self._ask_all(missing) if missing else found

    def _known(self, question: Question) -> Verdict | None:
        reply = self._kept.get(question.name)
        if reply is None:
            return None
        try:
            return Verdict(self._read(reply), reply)
        except UnreadableReplyError:
            return None if self._unreadable is None else Verdict(self._unreadable, reply)

    def _ask_all(self, questions: Mapping[Question, str]) -> dict[Question, Verdict]:
        pool = ThreadPoolExecutor(self._concurrency, thread_name_prefix="judge")
        try:
            running = {one: pool.submit(self._ask, one, place) for one, place in questions.items()}
            done, _ = wait(running.values(), return_when=FIRST_EXCEPTION)
            failed = [error for future in done if (error := future.exception()) is not None]
            if failed:  # a used-up budget is no failure, whatever else failed beside it
                raise next((one for one in failed if isinstance(one, Interrupted)), failed[0])
            return {one: future.result() for one, future in running.items()}
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def _ask(self, question: Question, place: str) -> Verdict:
        request, reply, reason = question.request, None, ""
        for _ in range(self._attempts):
            self._budget.spend()
            try:
                reply = self._client(request, place)
                score = self._read(reply)
            except UnreadableReplyError as error:
                reason = str(error)
            else:
                self._kept.put(question.name, request, reply)
                return Verdict(score, reply)
        if self._unreadable is None:
            raise ValueError(
                f"the judge's reply to the answer to {place} cannot be read, {self._attempts} "
                f"times: {reason}: {shown(reply or '', 200)}; change fitness.judge.template or "
                "reads, or give fitness.judge.unreadable as the score of such answers"
            )
        if reply is not None:  # what is no reply at all may be one the next time
            self._kept.put(question.name, request, reply)
        return Verdict(self._unreadable, reply or "")
