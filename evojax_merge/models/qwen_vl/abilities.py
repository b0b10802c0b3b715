"""What a Qwen2.5-VL can do."""

from evojax_merge.models.qwen_vl.vision import QwenVision
from evojax_merge.models.seeing.abilities import seeing_abilities

ABILITIES = seeing_abilities(QwenVision)
