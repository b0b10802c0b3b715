"""The requests that a task of the harness makes of its documents."""

import contextlib
import copy
import dataclasses
import io
import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from evojax_merge.fitness.chat import Conversation, as_conversations
from evojax_merge.fitness.harness.documents import Documents
from evojax_merge.fitness.harness.loading import quiet, seeded

_PLACE = re.compile("\0([0-9]+)\0")
"""What stands for a conversation until the templates of all are rendered at once."""


class Prompting(NamedTuple):
    """How prompts are made, in the words of the harness's command.

    Attributes:
        apply_chat_template: Whether they are conversations by the chat template of the model.
        fewshot_as_multiturn: Whether worked examples are turns of their own in these.
        system_instruction: What stands before everything.
        fewshot_seed: The seed of the choice of worked examples.
    """

    apply_chat_template: bool
    fewshot_as_multiturn: bool
    system_instruction: str | None
    fewshot_seed: int


def build_requests(
    task: Any,
    documents: Documents,
    name: str,
    prompting: Prompting,
    render: Callable[[Sequence[Conversation]], list[str]],
) -> list[list[Any]]:
    """Make the requests of each document of a split of the data, as the harness does.

    Where worked examples come from the same split, an item is not among its own.

    Args:
        task: The task of the harness.
        documents: Its documents.
        name: The split of the data.
        prompting: How prompts are made.
        render: The function that renders conversations.

    Returns:
        The harness's instances of each document.

    Raises:
        ValueError: A document cannot be made into a prompt.
    """
    part = _on(task, documents, name)
    conversations: list[Conversation] = []

    def keep(messages: list[dict[str, Any]], add_generation_prompt: bool = True) -> str:
        conversations.append(Conversation(messages, add_generation_prompt))
        return f"\0{len(conversations) - 1}\0"

    chat: dict[str, Any] = {}
    if prompting.apply_chat_template:
        multiturn = prompting.fewshot_as_multiturn
        chat = {
            "apply_chat_template": True,
            "fewshot_as_multiturn": multiturn,
            "chat_template": keep,
        }
    try:
        # A progress bar of its own would run through ours.
        with seeded(), quiet(), contextlib.redirect_stderr(io.StringIO()):
            part.set_fewshot_seed(seed=prompting.fewshot_seed)
            part.build_all_requests(system_instruction=prompting.system_instruction, **chat)
    except Exception as error:
        first = (str(error).strip() or "no reason given").splitlines()[0]
        raise ValueError(
            f"{task.task_name}: lm-eval cannot make its prompts of the split {name!r} "
            f"({type(error).__name__}: {first})"
        ) from error
    by_document: list[list[Any]] = [[] for _ in documents.of(name)]
    for instance in part.instances:
        by_document[instance.doc_id].append(instance)
    if conversations:
        texts = render(conversations)
        for instance in part.instances:
            instance.arguments = tuple(_filled(one, texts) for one in instance.args)
    return [sorted(own, key=lambda instance: instance.idx) for own in by_document]


def renderer(tokenizer: Any, owner: Any) -> Callable[[Sequence[Conversation]], list[str]]:
    """The function that renders conversations by the chat template of a model.

    Args:
        tokenizer: The tokenizer of the model.
        owner: Its directory, or another name in messages.
    """

    def render(conversations: Sequence[Conversation]) -> list[str]:
        return as_conversations(tokenizer, conversations, owner, "fitness.apply_chat_template")

    return render


def _filled(argument: Any, texts: Sequence[str]) -> Any:
    if not isinstance(argument, str):
        return argument
    return _PLACE.sub(lambda found: texts[int(found[1])], argument)


def _on(task: Any, documents: Documents, name: str) -> Any:
    """The same task, which evaluates the documents of some split of the data."""
    part, found = copy.copy(task), documents.of(name)
    if name == documents.evaluated:
        role = "test" if task.has_test_docs() else "validation"
        setattr(part, f"{role}_docs", lambda: found)
        return part
    part.has_test_docs, part.test_docs = lambda: True, lambda: found
    # The harness keeps an item out of its own examples where the names of their splits are equal.
    part._config = copy.copy(task.config)
    part._config.test_split = name
    given = getattr(task, "fewshot_cfg", None)
    if given is not None and given.split is None and given.samples is None:
        config = task.config
        split = config.training_split or config.validation_split or config.test_split
        part.fewshot_cfg = dataclasses.replace(given, split=split)
    return part
