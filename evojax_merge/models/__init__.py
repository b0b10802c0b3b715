from evojax_merge.models.family import FAMILIES, Family, Group, Slot, family_of, flatten, unflatten

__all__ = ["FAMILIES", "Family", "Group", "Slot", "family_of", "flatten", "unflatten"]
