"""What a LLaVA can do."""

from evojax_merge.models.llava.vision import LlavaVision
from evojax_merge.models.seeing.abilities import seeing_abilities

ABILITIES = seeing_abilities(LlavaVision)
