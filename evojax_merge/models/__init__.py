from evojax_merge.models.family import FAMILIES, Family, family_of
from evojax_merge.models.layout import COMMON_GROUPS, Layout, Leaf, Slot, Stack

__all__ = [
    "COMMON_GROUPS",
    "FAMILIES",
    "Family",
    "Layout",
    "Leaf",
    "Slot",
    "Stack",
    "family_of",
]
