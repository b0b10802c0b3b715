"""Texts as tokens in the way of the harness's models of Hugging Face (its class ``HFLM``)."""

from collections.abc import Sequence
from typing import Any

from evojax_merge.documents.arguments import check_whole
from evojax_merge.fitness.encoder import Encoder

_DEFAULT_LENGTH = 2048
"""The context of models that say nothing of it, in the harness."""


class HarnessEncoder:
    """The tokenizer of a model, used as the harness uses it.

    Special tokens are those that the tokenizer adds, none where a text begins with its first one.
    An end token that it appends stays. What is too long is cut on the left.

    Args:
        model: Anything with ``tokenizer`` and ``config``.
        task: The name of the task in messages.
        max_length: The longest sequence; by default, the model's context.

    Raises:
        ValueError: The model has no tokenizer, or no fast one, or a shorter context.
    """

    def __init__(self, model: Any, task: str, max_length: int | None) -> None:
        self.encoder = Encoder(model, task)
        self.task, self.tokenizer = task, self.encoder.tokenizer
        if max_length is not None:
            check_whole(f"{task}: max_length", max_length, 2)
            self.encoder.require_context(max_length, "a sequence", "lower fitness.max_length")
        self.max_length = max_length or self.encoder.context or _DEFAULT_LENGTH
        bos, eos = self.tokenizer.bos_token_id, self.tokenizer.eos_token_id
        self.first: int | None = eos if bos is None else bos

    def pairs(self, contexts: Sequence[str], texts: Sequence[str]) -> list[tuple[list[int], int]]:
        """Token ids of each context with its text, and how many of them are context.

        Raises:
            ValueError: A text has no token or too many, or a context has none.
        """
        stripped = [context.rstrip() for context in contexts]
        whole = self._ids([a + b for a, b in zip(contexts, texts, strict=True)])
        alone = self._ids(stripped)
        bare = self.encoder.as_given(texts, special=False)
        found = []
        for number, (context, text) in enumerate(zip(contexts, texts, strict=True)):
            if context:
                before, after = alone[number], whole[number][len(alone[number]) :]
            elif bare[number] and bare[number][0] == self.first:
                before, after = bare[number][:1], bare[number][1:]
            else:
                before, after = [self._first()], bare[number]
            if not before or not after:
                what = f"the text {text!r}" if before else f"the context {context!r}"
                raise ValueError(f"{self.task}: {what} has no token, and lm-eval fails there, too")
            if len(after) > self.max_length:
                raise ValueError(
                    f"{self.task}: a text of {len(after)} tokens is scored, and a sequence has "
                    f"{self.max_length} at most; raise fitness.max_length, or use another task"
                )
            row = (before + after)[-(self.max_length + 1) :]
            found.append((row, len(row) - len(after)))
        return found

    def windows(self, text: str) -> list[tuple[list[int], int]]:
        """The windows that all of a text is scored in, and how many of their tokens are context.

        Raises:
            ValueError: The text has no token.
        """
        from lm_eval.utils import get_rolling_token_windows, make_disjoint_window

        ids = self._ids([text])[0]
        if not ids:
            raise ValueError(f"{self.task}: a document without tokens cannot be scored")
        rolling = get_rolling_token_windows(ids, self._first(), self.max_length, context_len=1)
        return [
            (before + after, len(before)) for before, after in map(make_disjoint_window, rolling)
        ]

    def prompts(self, texts: Sequence[str], room: int) -> list[list[int]]:
        """Token ids of prompts, cut on the left to leave room for the answer.

        Raises:
            ValueError: The answer alone is as long as a sequence, or a prompt has no token.
        """
        most = self.max_length - room
        if most < 1:
            raise ValueError(
                f"{self.task}: an answer may have {room} tokens, and a sequence {self.max_length}; "
                "lower it with fitness.generation_kwargs={max_gen_toks: N}"
            )
        bos = self.tokenizer.bos_token
        found = [ids[-most:] for ids in self._encode(texts, bos)]
        if not all(found):
            raise ValueError(f"{self.task}: a prompt has no token")
        return found

    def _ids(self, texts: Sequence[str]) -> list[list[int]]:
        first = None if self.first is None else self.tokenizer.decode(self.first)
        return self._encode(texts, first)

    def _encode(self, texts: Sequence[str], first: str | None) -> list[list[int]]:
        """Token ids, without special tokens where a text begins with that of the first."""
        begun = [first is not None and text.startswith(first) for text in texts]
        if not any(begun):
            return self.encoder.as_given(texts)
        return [
            self.encoder.as_given([text], special=not has)[0]
            for text, has in zip(texts, begun, strict=True)
        ]

    def _first(self) -> int:
        if self.first is None:
            raise ValueError(
                f"{self.task}: an empty context needs a beginning or end token, and the tokenizer "
                "has neither"
            )
        return self.first
