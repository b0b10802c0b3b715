"""How answers in text are judged: what a score is, all scores, and the tasks that have them."""

from evojax_merge.fitness.judging.chat_judge import ChatJudge
from evojax_merge.fitness.judging.judge import Judge
from evojax_merge.fitness.judging.score import Case, Known, Score, Verdict
from evojax_merge.fitness.judging.task import SCORES, JudgedAnswers, JudgedTask

__all__ = [
    "SCORES",
    "Case",
    "ChatJudge",
    "Judge",
    "JudgedAnswers",
    "JudgedTask",
    "Known",
    "Score",
    "Verdict",
]
