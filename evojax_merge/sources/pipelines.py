"""Diffusion models of different kinds are told apart before any weights are read."""

from collections.abc import Sequence

from evojax_merge.checkpoints import Checkpoint, CheckpointError
from evojax_merge.models.diffusion.architectures import BY_CONTEXT_WIDTH
from evojax_merge.models.unet.config import UNetConfig

_LATENTS = 4
"""The channels that a UNet reads, if it paints over no picture."""


def check_pipelines(reference: Checkpoint, models: Sequence[Checkpoint]) -> None:
    """Check that UNets read and predict the same.

    Args:
        reference: The model whose configuration the merge carries.
        models: All that are merged.

    Raises:
        CheckpointError: Some are of another architecture, read other channels, or predict something
            else than the reference. All are listed.
    """
    problems = [
        f"{model.directory}: {problem}"
        for model in models
        if (problem := _problem(reference, model)) is not None
    ]
    if problems:
        raise CheckpointError(
            f"sources cannot be merged with {reference.directory}:\n  "
            + "\n  ".join(dict.fromkeys(problems))
        )


def _problem(reference: Checkpoint, model: Checkpoint) -> str | None:
    ours, theirs = _unet(reference), _unet(model)
    if ours is None or theirs is None:
        return None
    if ours.context_width != theirs.context_width:
        return (
            f"its UNet attends to texts {_width(theirs)} wide, and not {_width(ours)}: it is of "
            "another architecture; give models of one"
        )
    if ours.in_channels != theirs.in_channels:
        inpainting = theirs if theirs.in_channels > _LATENTS else ours
        whose = "its" if inpainting is theirs else "the reference's"
        return (
            f"its UNet reads {theirs.in_channels} channels, and not {ours.in_channels}; {whose} is "
            "one for inpainting or the like, which is merged with its own kind only"
        )
    predicted = [_prediction(one) for one in (reference, model)]
    if None not in predicted and predicted[0] != predicted[1]:
        return (
            f"its UNet predicts {predicted[1]}, and not {predicted[0]} (prediction_type of its "
            "scheduler); a merge of both predicts neither"
        )
    return None


def _unet(checkpoint: Checkpoint) -> UNetConfig | None:
    found = checkpoint.family.unet
    return None if found is None else found(checkpoint.config)


def _prediction(checkpoint: Checkpoint) -> str | None:
    """Return what a UNet predicts; one by itself does not say it."""
    whole = checkpoint if checkpoint.carrier is None else checkpoint.carrier
    return whole.config.prediction if whole.family.pipeline else None


def _width(unet: UNetConfig) -> str:
    known = BY_CONTEXT_WIDTH.get(unet.context_width)
    return f"{unet.context_width}" + (f" (as those of {known})" if known else "")
