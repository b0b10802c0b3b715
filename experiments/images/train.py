"""Training with AdamW and a moving average of the weights."""

import copy
import time
from collections.abc import Callable, Iterable
from typing import NamedTuple, TypeVar

import torch
from torch import nn

Model = TypeVar("Model", bound=nn.Module)


class Stage(NamedTuple):
    """For how long training goes on, and how fast.

    Attributes:
        name: What it is called while it runs.
        steps: The number of steps.
        rate: The learning rate after warm-up. It falls to 0 in the last 30 % of the steps.
        average: The share that the moving average keeps at each step.
        warmup: The number of steps until the rate is reached.
    """

    name: str
    steps: int
    rate: float
    average: float = 0.98
    warmup: int = 30


def fit(
    model: Model,
    loss_fn: Callable[[], torch.Tensor],
    stage: Stage,
    beside: Iterable[nn.Module] = (),
) -> Model:
    """Train a model, and return the moving average of its weights.

    Args:
        model: The model, which is changed.
        loss_fn: The loss on a new batch at each call.
        stage: For how long, and how fast.
        beside: Modules that are trained with it, such as heads that nobody keeps.
    """
    averaged = copy.deepcopy(model).requires_grad_(False)
    trained = [*model.parameters(), *(own for one in beside for own in one.parameters())]
    optimizer = torch.optim.AdamW(trained, betas=(0.9, 0.99), weight_decay=0.01)
    began, losses = time.monotonic(), []
    for step in range(1, stage.steps + 1):
        left = (stage.steps - step + 1) / (0.3 * stage.steps)
        for group in optimizer.param_groups:
            group["lr"] = stage.rate * min(1.0, step / stage.warmup, left)
        loss = loss_fn()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        keep = min(stage.average, step / (step + 9))
        with torch.no_grad():
            for kept, own in zip(averaged.parameters(), model.parameters(), strict=True):
                kept.lerp_(own, 1 - keep)
        losses.append(loss.item())
        if step % 100 == 0 or step == stage.steps:
            mean, seconds = sum(losses[-100:]) / len(losses[-100:]), time.monotonic() - began
            print(f"{stage.name}: step {step}, loss {mean:.4f}, {seconds:.0f} s", flush=True)
    return averaged.eval()
