"""The source of four steps: it learns to jump along the paths that its teacher walks.

The teacher is the base with eight steps of Euler's method and guidance. The student needs no
guidance, since the paths have it in them. This is progressive distillation (Salimans & Ho, 2022,
arXiv 2202.00512) in one round, towards fixed paths.
"""

import torch
from diffusers import UNet2DConditionModel

from experiments.images import networks
from experiments.images.diffusion import BATCH, SIGMAS, World, clean, guided, trailing
from experiments.images.train import Stage, fit

TEACHER_STEPS, STEPS = 8, 4
GUIDANCE = 2.5
STAGES = (0, 0, 1, 1, 2, 3)
"""The step that is learnt, in turn: the first two twice as often as the last two."""


@torch.no_grad()
def paths(
    teacher: UNet2DConditionModel, stream: World, count: int
) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Walk from noise to latents for English prompts.

    Returns:
        The latents at each of the student's times and in the end
        ``[count, 5, channels, height, width]``, and the conditions.
    """
    condition = stream.english(count)
    size = (teacher.config.in_channels, networks.LATENT, networks.LATENT)
    times = trailing(TEACHER_STEPS)
    sigmas = torch.cat([SIGMAS[times], torch.zeros(1)])
    found = []
    for first in range(0, count, BATCH):
        own = [part[first : first + BATCH] for part in condition]
        x, kept = sigmas[0] * torch.randn(len(own[0]), *size), []
        for step, time in enumerate(times):
            if step % (TEACHER_STEPS // STEPS) == 0:
                kept.append(x)
            now = time.expand(len(x))
            target = guided(teacher, x, now, own, GUIDANCE)
            x = x + (sigmas[step + 1] - sigmas[step]) * (x - target) / sigmas[step]
        found.append(torch.stack([*kept, x], 1))
    return torch.cat(found), condition


def distil(
    student: UNet2DConditionModel,
    walked: torch.Tensor,
    condition: list[torch.Tensor],
    stage: Stage,
) -> UNet2DConditionModel:
    """Train a UNet whose every step lands where the teacher's two do."""
    times = trailing(STEPS)
    sigmas = torch.cat([SIGMAS[times], torch.zeros(1)])

    def loss() -> torch.Tensor:
        rows = torch.randint(len(walked), (BATCH,))
        step = torch.tensor(STAGES).repeat(BATCH // len(STAGES) + 1)[:BATCH]
        now, then = (sigmas[part].reshape(-1, 1, 1, 1) for part in (step, step + 1))
        x, after = walked[rows, step], walked[rows, step + 1]
        wanted = x - now * (x - after) / (now - then)
        found = clean(student, x, times[step], [part[rows] for part in condition])
        return ((found - wanted) ** 2).mean()

    return fit(student, loss, stage)
