"""Fitness tasks: what a merge is measured by."""

from evojax_merge.fitness.agreement import AgreementTask
from evojax_merge.fitness.base import (
    ACCURACY,
    FRACTION,
    Batch,
    BoundTask,
    ClassifyBatch,
    GenerateBatch,
    LoglikelihoodBatch,
    Measure,
    Task,
)
from evojax_merge.fitness.classification import ClassificationTask, classification_task
from evojax_merge.fitness.data import DataError
from evojax_merge.fitness.digit_pictures import digit_pictures_task
from evojax_merge.fitness.digits import digits_task, load_digits
from evojax_merge.fitness.distance import DistanceTask
from evojax_merge.fitness.external.task import ExternalTask, external_task
from evojax_merge.fitness.generation import GenerationTask
from evojax_merge.fitness.harness.task import HarnessTask, lm_eval_task
from evojax_merge.fitness.image_classification import (
    ImageClassificationTask,
    image_classification_task,
)
from evojax_merge.fitness.judging import ChatJudge
from evojax_merge.fitness.language import FastText, LangId, Language, Lingua, ScriptRule
from evojax_merge.fitness.length import LengthTask
from evojax_merge.fitness.multiple_choice import MultipleChoiceTask
from evojax_merge.fitness.perplexity import PerplexityTask, corpus_perplexity
from evojax_merge.fitness.several import SeveralTasks
from evojax_merge.fitness.size import SizeTask
from evojax_merge.fitness.text_to_image import TextToImageTask
from evojax_merge.fitness.visual_question import VisualQuestionTask

__all__ = [
    "ACCURACY",
    "FRACTION",
    "AgreementTask",
    "Batch",
    "BoundTask",
    "ChatJudge",
    "ClassificationTask",
    "ClassifyBatch",
    "DataError",
    "DistanceTask",
    "ExternalTask",
    "FastText",
    "GenerateBatch",
    "GenerationTask",
    "HarnessTask",
    "ImageClassificationTask",
    "LangId",
    "Language",
    "LengthTask",
    "Lingua",
    "LoglikelihoodBatch",
    "Measure",
    "MultipleChoiceTask",
    "PerplexityTask",
    "ScriptRule",
    "SeveralTasks",
    "SizeTask",
    "Task",
    "TextToImageTask",
    "VisualQuestionTask",
    "classification_task",
    "corpus_perplexity",
    "digit_pictures_task",
    "digits_task",
    "external_task",
    "image_classification_task",
    "lm_eval_task",
    "load_digits",
]
