"""The beams of beam search, and how they go on, whatever it is that scores tokens.

This is the beam search of transformers 5 (``_beam_search``) with ``length_penalty=1`` and
``early_stopping=False``. A running beam's score is the sum of the scores of its tokens, and that of
an ended answer is its mean. At each step the best continuations of all of a row's beams are found.
Those of them that end become answers, of which a row keeps as many as it has beams, and the best
that do not end run on. A row is closed once it has as many answers as beams and the mean of its
best running beam, as long as it is now, is no better than the worst of them. What is open when the
longest answer is reached ends there.

Where transformers writes −10⁹ for what must not be chosen, −∞ stands here. Equal scores are taken
in the order of beams and tokens, and there in any order.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from evojax_merge.params.types import Array, Bool, Float, Int


class Beams(NamedTuple):
    """The beams of some rows, the best one first, and the best answers that have ended.

    Attributes:
        tokens: What each running beam has written.
        scores: The sum of the scores of each running beam's tokens.
        answers: The answers that have ended.
        means: The mean of the scores of each answer's tokens, −∞ where there is no answer yet.
        open: Whether a row's answers may still be surpassed.
    """

    tokens: Int[Array, "rows beams new"]
    scores: Float[Array, "rows beams"]
    answers: Int[Array, "rows beams new"]
    means: Float[Array, "rows beams"]
    open: Bool[Array, " rows"]


class Step(NamedTuple):
    """What beams became: the beam that each one goes on from, and its new token."""

    parent: Int[Array, "rows beams"]
    token: Int[Array, "rows beams"]

    def follow(self, what: Array) -> Array:
        """Return what each beam has from its parent, of what has axes ``[rows, beams, *]``."""
        return _of_parents(what, self.parent)


def begin(rows: int, beams: int, new: int, pad_id: int) -> Beams:
    """Make beams that have written nothing. As they are alike, only the first may go on."""
    nothing = jnp.full((rows, beams, new), pad_id, jnp.int32)
    none = jnp.full((rows, beams), -jnp.inf)
    return Beams(nothing, none.at[:, 0].set(0.0), nothing, none, jnp.ones(rows, bool))


def advance(
    beams: Beams,
    scores: Float[Array, "rows beams vocab"],
    ends: Bool[Array, " vocab"],
    written: Int[Array, ""],
) -> tuple[Beams, Step]:
    """Let the beams of each row go on by a token.

    Args:
        beams: The beams.
        scores: The score of each token as the next one of each beam.
        ends: Whether a token ends an answer. At least as many do not as there are beams.
        written: How many tokens the beams have written.
    """
    new = beams.tokens.shape[-1]
    sums = beams.scores[..., None] + scores
    best, step = _best(sums)
    done = (ends[step.token] | (written == new - 1)) & beams.open[:, None]
    means = jnp.where(done, best / (written + 1), -jnp.inf)
    means = jnp.concatenate([beams.means, means], axis=1)
    answers = jnp.concatenate([beams.answers, _extended(beams.tokens, step, written)], axis=1)
    means, kept = jax.lax.top_k(means, best.shape[1])
    running, step = _best(jnp.where(ends, -jnp.inf, sums))
    surpassable = running[:, 0] / (written + 1) > means[:, -1]
    gone_on = Beams(
        tokens=_extended(beams.tokens, step, written),
        scores=running,
        answers=_of_parents(answers, kept),
        means=means,
        open=beams.open & surpassable,
    )
    return gone_on, step


def _best(sums: Float[Array, "rows beams vocab"]) -> tuple[Float[Array, "rows beams"], Step]:
    """Find the best continuations of each row, as many as it has beams."""
    rows, beams, vocabulary = sums.shape
    best, index = jax.lax.top_k(sums.reshape(rows, beams * vocabulary), beams)
    return best, Step(index // vocabulary, index % vocabulary)


def _extended(
    tokens: Int[Array, "rows beams new"], step: Step, written: Int[Array, ""]
) -> Int[Array, "rows beams new"]:
    place = jnp.arange(tokens.shape[-1]) == written
    return jnp.where(place, step.token[..., None], step.follow(tokens))


def _of_parents(what: Array, parent: Int[Array, "rows beams"]) -> Array:
    return jnp.take_along_axis(what, parent[(..., *[None] * (what.ndim - 2))], axis=1)
