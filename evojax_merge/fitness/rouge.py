"""ROUGE-L, the share of words that two texts have in common in the same order.

Lin, 2004, "ROUGE: A Package for Automatic Evaluation of Summaries", section 3.1, with the
F-measure of the package ``rouge_score``, in which precision and recall count alike.
"""

from collections.abc import Hashable, Sequence

Words = Sequence[Hashable]


def rouge_l(reference: Words, candidate: Words) -> float:
    """The F-measure of ROUGE-L, between 0 and 1.

    With L the length of the longest common subsequence, precision is L / |candidate|, recall is
    L / |reference|, and the result is their harmonic mean, 2 L / (|reference| + |candidate|). Where
    a text has no words it is 0.

    Args:
        reference: The words of the reference.
        candidate: The words of the text that is judged.
    """
    total = len(reference) + len(candidate)
    return 2 * longest_common_subsequence(reference, candidate) / total if total else 0.0


def longest_common_subsequence(first: Words, second: Words) -> int:
    """The length of the longest common subsequence.

    A row of the table of dynamic programming is one whole number, whose bit i is 0 where the length
    grows by one at word i (Hyyrö, 2004, "Bit-parallel LCS-length computation revisited").

    Args:
        first: A sequence of words.
        second: Another one.
    """
    places: dict[Hashable, int] = {}
    for place, word in enumerate(first):
        places[word] = places.get(word, 0) | 1 << place
    every = (1 << len(first)) - 1
    row = every
    for word in second:
        matches = row & places.get(word, 0)
        row = (row + matches | row - matches) & every
    return len(first) - row.bit_count()
