from evojax_merge.models.family import FAMILIES, Family, family_of
from evojax_merge.models.layout import COMMON_GROUPS, Layout, Leaf, Slot, Stack
from evojax_merge.models.named.config import kind_of

__all__ = [
    "COMMON_GROUPS",
    "FAMILIES",
    "Family",
    "Layout",
    "Leaf",
    "Slot",
    "Stack",
    "family_of",
    "kind_of",
]
