"""Pictures drawn of prompts, and what is measured of them."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from evojax_merge.documents.arguments import check_option, check_text, check_whole
from evojax_merge.fitness.base import Measure
from evojax_merge.fitness.data import Record
from evojax_merge.fitness.drawing.aesthetic import Aesthetic
from evojax_merge.fitness.drawing.bound import BoundDrawings
from evojax_merge.fitness.drawing.drawings import Drawings
from evojax_merge.fitness.drawing.frechet import Frechet
from evojax_merge.fitness.drawing.items import SEEDS, items_of
from evojax_merge.fitness.drawing.labels import Labels
from evojax_merge.fitness.drawing.network import Networks
from evojax_merge.fitness.drawing.notes import DrawingNotes
from evojax_merge.fitness.drawing.own_function import OwnFunction
from evojax_merge.fitness.drawing.pipeline import Pipeline
from evojax_merge.fitness.drawing.sampling import Sampling
from evojax_merge.fitness.drawing.score import Score
from evojax_merge.fitness.drawing.similarity import Similarity
from evojax_merge.fitness.several import SeveralTasks
from evojax_merge.fitness.text import TextTask
from evojax_merge.fitness.zero_shot import TEMPLATES

SCORES = ("text", "reference", "aesthetic", "classification", "fid", "function")


@dataclasses.dataclass(kw_only=True)
class TextToImageTask(TextTask):
    """What pictures are worth that a model draws of prompts.

    Several such tasks that differ in their score alone draw each picture once
    (see `evojax_merge.fitness.several`).

    Attributes:
        prompt: The field of the prompt.
        image: The field of the path of a reference, from the directory of the file.
        label: The field of the class that a picture is to show.
        seed: The number that fixes the noise of the first line of a file; the next line has the
            next number. An item may have its own as ``seed``.
        negative: What guidance leads away from; an item may have its own as ``negative``.
        score: What is measured, one of `SCORES`; by default ``function`` where one is named, and
            else ``text``.
        scorer: The directory or hub id of the CLIP that looks at the pictures.
        processor: The directory or hub id of the checkpoint whose image processor and tokenizer the
            scorer has; by default, its own.
        formula: What is made of a cosine, one of
            `evojax_merge.fitness.drawing.similarity.FORMULAS`.
        head: The file of an aesthetic head, or of a linear head for ``classification``.
        classes: The names of classes, see `evojax_merge.fitness.drawing.labels.Labels`.
        templates: The prompts of a class, likewise.
        references: The folder of pictures that ``fid`` compares with.
        function: A function of the user's own, as ``FILE.py:FUNCTION`` or ``MODULE:FUNCTION``.
        worst: What a black picture scores by that function.
        tokenizers: The directory or hub id of a folder of diffusers whose tokenizers read the
            prompts; by default, the pipeline itself.
        keep_features: The directory that conditions and features are kept in, ``default`` for that
            of statistics, or None to keep none.
        shown: How many items the gallery of a run shows, the first ones.

    The other attributes are those of `evojax_merge.fitness.drawing.sampling.Sampling`.

    Raises:
        DataError: An item or a file cannot be used; file and line are named.
        ValueError: A setting makes no sense.
    """

    prompt: str = "prompt"
    image: str = "image"
    label: str = "label"
    seed: int = 0
    negative: str = ""
    score: str | None = None
    scorer: str = "openai/clip-vit-large-patch14"
    processor: str | None = None
    formula: str = "cosine"
    head: str | None = None
    classes: Sequence[str] | Mapping[str, str] | None = None
    templates: Sequence[str] = TEMPLATES
    references: str | None = None
    function: str | None = None
    worst: float = 0.0
    steps: int = 30
    sampler: str | None = None
    spacing: str | None = None
    prediction: str | None = None
    guidance: float = 5.0
    height: int | None = None
    width: int | None = None
    pooled: str = "first_projected"
    clip_skip: int = 0
    rows: int | None = None
    tokenizers: str | None = None
    keep_features: str | None = "default"
    shown: int = 8
    buckets: int = dataclasses.field(default=1, init=False)
    name: str = "text_to_image"
    measure: Measure = dataclasses.field(init=False)

    def __post_init__(self) -> None:
        for field in ("prompt", "image", "label", "scorer"):
            check_text(f"{self.name}: {field}", getattr(self, field), empty=False)
        check_text(f"{self.name}: negative", self.negative)
        check_whole(f"{self.name}: seed", self.seed, 0, SEEDS - 1)
        check_whole(f"{self.name}: shown", self.shown, 0)
        self.sampling = self._sampling()
        self._score = self._chosen_score()
        self.measure = self._score.measure
        self._networks = Networks(self.name, self.keep_features, self.processor)
        self._pipelines: list[Pipeline] = []
        super().__post_init__()
        self._score.check(self._records)

    def __len__(self) -> int:
        return 1 if self._score.whole else len(self.records)

    def check(self, records: tuple[Record, ...]) -> None:
        self._items(records)

    def bind(self, model: Any) -> BoundDrawings:
        """Prepare prompts and networks for models like this one. Their weights are read later.

        Raises:
            CheckpointError: A network or a tokenizer is damaged.
            ValueError: The model does not draw, there is no pipeline around it, or it cannot draw
                as is asked for.
        """
        made = Pipeline.of(model, self.sampling, self.name, self.keep_features, self.tokenizers)
        pipeline = self._shared(made)
        items = self._items(self.records)
        score = self._score.bind(items, self._networks)
        if score.network is not None:
            score.network.check_size(*pipeline.size)
        return BoundDrawings(Drawings(items, pipeline), score, self._score.whole, self.shown)

    def _items(self, records: tuple[Record, ...]) -> tuple[Any, ...]:
        return items_of(records, self.prompt, self.prefix, self.negative, self.seed)

    def _shared(self, pipeline: Pipeline) -> Pipeline:
        """The pipeline that the splits have in common."""
        known = next((one for one in self._pipelines if one.alike(pipeline)), None)
        if known is None:
            self._pipelines.append(known := pipeline)
        return known

    def _sampling(self) -> Sampling:
        fields = dataclasses.fields(Sampling)
        try:
            return Sampling(**{field.name: getattr(self, field.name) for field in fields})
        except ValueError as error:
            raise ValueError(f"{self.name}: {error}") from None

    def _chosen_score(self) -> Score:
        chosen = self.score or ("text" if self.function is None else "function")
        check_option(f"{self.name}: score", chosen, SCORES)
        if (chosen == "function") != (self.function is not None):
            raise ValueError(
                f"{self.name}: score is {chosen} and function {self.function}; a function of your "
                "own is named as fitness.function=FILE.py:FUNCTION, and is a score of its own"
            )
        match chosen:
            case "text" | "reference":
                image = self.image if chosen == "reference" else None
                return Similarity(self.scorer, image, self.formula, self.name)
            case "aesthetic":
                return Aesthetic(self.scorer, self.head, self.name)
            case "classification":
                return Labels(
                    self.scorer, self.label, self.classes, self.templates, self.head, self.name
                )
            case "fid":
                return Frechet(self.scorer, self.references, self.name)
        assert self.function is not None
        return OwnFunction(self.function, self.worst, self.name)


def drawing_notes(task: Any) -> dict[str, Any]:
    """What a recipe says of how its pictures are drawn; nothing where none are."""
    tasks = task.tasks.values() if isinstance(task, SeveralTasks) else [task]
    first = next((one for one in tasks if isinstance(one, TextToImageTask)), None)
    if first is None:
        return {}
    return DrawingNotes(first.sampling, first.negative, first.seed, first.tokenizers).as_notes()
