"""What tasks share that give a model prompts: a template, worked examples, and turns of a chat."""

import dataclasses
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

from evojax_merge.documents.arguments import check_switch, check_text
from evojax_merge.fitness.chat import Turn, rendered
from evojax_merge.fitness.data import Record
from evojax_merge.fitness.encoder import Encoder
from evojax_merge.fitness.few_shot import FewShot
from evojax_merge.fitness.picture_prompts import as_content, chat_template_of, spelled
from evojax_merge.fitness.text import TextTask, fill, unescape
from evojax_merge.fitness.turns import FIRST, turns_of


@dataclasses.dataclass(kw_only=True)
class PromptedTask(TextTask):
    """Items that become prompts.

    A prompt is ``prefix``, the examples, and the item's own prompt. In a chat these are turns: the
    system's, a user's and an assistant's for each example, and those of the item. The prefix then
    begins the first turn of a user. What all prompts begin with is read once for all of them.

    Attributes:
        template: The prompt of an item, with its fields in braces.
        chat: Whether prompts are turns in the model's chat template.
        system: The text of the system's turn, in a chat.
        messages: The field of an item's messages, of which the last is a user's, in a chat; by
            default, its only message is the filled template.
        few_shot: The worked examples, a `FewShot` or a mapping of its attributes.
        examples: Those examples. An example that asks what an item of any split asks is passed
            over.
    """

    template: str = "{question}"
    chat: bool = False
    system: str | None = None
    messages: str | None = None
    few_shot: Mapping[str, Any] | FewShot | None = None
    examples: tuple[Record, ...] = dataclasses.field(default=(), init=False)

    def __post_init__(self) -> None:
        check_switch(f"{self.name}: chat", self.chat)
        for key in ("system", "messages"):
            if (text := getattr(self, key)) is None:
                continue
            check_text(f"{self.name}: {key}", text, empty=False)
            if not self.chat:
                raise ValueError(
                    f"{self.name}: {key} needs a chat; set chat=true"
                    + (", or write a prefix instead" if key == "system" else "")
                )
        if self.system is not None:
            self.system = unescape(self.system)
        few_shot = self.few_shot = FewShot.of(self.few_shot, self.name)
        if few_shot is not None and few_shot.template is not None and self.chat:
            raise ValueError(
                f"{self.name}: in a chat an example is a turn of the user and one of the model; "
                "give few_shot.answer instead of few_shot.template"
            )
        super().__post_init__()
        if few_shot is not None:
            items = {self.asked(record) for own in self._records.values() for record in own}
            self.examples = few_shot.choose(items, self.asked, self.name)
            for example in self.examples:
                self.check_example(example)

    def check_example(self, example: Record) -> None:
        """Raise if an example cannot be written; called once for each."""
        self.conversation(example) if self.chat else self.example_text(example)
        self.answered(example)

    def answer_of(self, example: Record) -> str:
        """The text of the right answer of an example.

        Raises:
            DataError: It has none.
        """
        raise ValueError(f"{self.name}: give few_shot.answer, the text of an example's answer")

    def answered(self, example: Record) -> str:
        """The text of the answer of an example, as it is asked for."""
        assert isinstance(self.few_shot, FewShot)
        written = self.few_shot.answer
        return self.answer_of(example) if written is None else fill(written, example)

    def asked(self, record: Record) -> Hashable:
        """What is the same for an item and an example that ask the same."""
        return self.own_text(record)

    def own_text(self, record: Record) -> str:
        """The texts of an item's own prompt, after one another."""
        return "".join(turn["content"] for turn in self.turns(record))

    def turns(self, record: Record) -> list[Turn]:
        """The turns of an item by itself.

        Raises:
            DataError: It lacks something.
        """
        if self.messages is not None:
            return turns_of(record, self.messages)
        return [{"role": "user", "content": fill(self.template, record)}]

    def between(self, prompt: str) -> str:
        """What stands between the prompt of an example and its answer."""
        return " " if prompt and not prompt[-1].isspace() else ""

    def example_text(self, example: Record) -> str:
        """An example as text."""
        assert isinstance(self.few_shot, FewShot)
        if self.few_shot.template is not None:
            return fill(self.few_shot.template, example)
        prompt = fill(self.template, example)
        return prompt + self.between(prompt) + self.answered(example)

    def prompt_of(self, record: Record) -> str:
        """The whole prompt of an item as text, where it is not in a chat.

        Raises:
            DataError: The item lacks something.
        """
        before = self.prefix
        if isinstance(self.few_shot, FewShot):
            separator = self.few_shot.separator
            before += "".join(self.example_text(one) + separator for one in self.examples)
        return before + fill(self.template, record)

    def conversation(self, record: Record) -> list[Turn]:
        """The whole prompt of an item as the turns of a chat.

        Raises:
            ValueError: The item and the task both have a system's turn.
        """
        own = self.turns(record)
        first = [turn for turn in own if turn["role"] in FIRST]
        if self.system is not None:
            if first:
                raise ValueError(
                    f"{record.place}: has a {first[0]['role']} message, and fitness.system is "
                    "given; leave one of them out"
                )
            first = [{"role": "system", "content": self.system}]
        found = list(first)
        for example in self.examples:
            found += [turn for turn in self.turns(example) if turn["role"] not in FIRST]
            found.append({"role": "assistant", "content": self.answered(example)})
        found += [turn for turn in own if turn["role"] not in FIRST]
        if self.prefix:
            turn = next(one for one in found if one["role"] == "user")
            found[found.index(turn)] = {**turn, "content": self.prefix + turn["content"]}
        return found

    def prompts(self, encoder: Encoder, sights: Any = None) -> list[str]:
        """The whole prompt of each item of the split, as a model reads it.

        Args:
            encoder: The tokenizer of the model.
            sights: The pictures of the items, an `evojax_merge.fitness.seeing.Sights`, if there
                are some.

        Raises:
            ChatTemplateError: The chat template cannot be used.
        """
        tokenizer = encoder.tokenizer
        if not self.chat:
            texts = [self.prompt_of(record) for record in self.records]
            return texts if sights is None else spelled(texts, tokenizer, sights.place)
        chats = [self.conversation(record) for record in self.records]
        if sights is None:
            return rendered(tokenizer, chats, encoder.directory or self.name)
        template = chat_template_of(sights.directory)
        return rendered(tokenizer, list(map(_in_parts, chats)), sights.directory, template)


def _in_parts(turns: Sequence[Turn]) -> list[Turn]:
    """Turns as chat templates of models that see take them."""
    return [{**turn, "content": as_content(turn["content"])} for turn in turns]


def first_answer(record: Record, field: str) -> str:
    """The text of an answer, or of the first of several.

    Raises:
        DataError: There is none, or it is neither a text nor a number.
    """
    given = record.field(field)
    first = given[0] if isinstance(given, list) and given else given
    return record._replace(fields={field: first}).text(field)
