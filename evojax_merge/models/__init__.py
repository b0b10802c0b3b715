from evojax_merge.models.family import FAMILIES, Family, Group, Slot, family_of

__all__ = ["FAMILIES", "Family", "Group", "Slot", "family_of"]
