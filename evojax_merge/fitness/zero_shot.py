"""Classes described in words, for classification without training.

Radford et al., 2021, arXiv 2103.00020, section 3.1.4: the name of a class is put into several
prompts, and the class is the mean of what a text encoder makes of them.
"""

from collections.abc import Sequence

import jax.numpy as jnp

from evojax_merge.fitness.data import DataError
from evojax_merge.models.clip.modeling import normalised
from evojax_merge.params.types import Array, Float

TEMPLATES = ("a photo of a {}.",)
"""The prompt that the paper gives for pictures of which nothing else is known."""


def prompts(names: Sequence[str], templates: Sequence[str] = TEMPLATES) -> list[list[str]]:
    """The prompts of each class, one per template; ``{}`` stands for the name of the class.

    Raises:
        DataError: There is no class or no template, two classes have one name, a name is blank,
            or a template does not hold ``{}`` once.
    """
    if isinstance(names, str) or isinstance(templates, str) or not names or not templates:
        raise DataError(
            f"zero-shot classes need a list of at least one name and of at least one template; "
            f"got {names!r} and {templates!r}"
        )
    for name in names:
        if not name.strip() or names.count(name) > 1:
            raise DataError(f"class {name!r}: every class needs a name of its own")
    for template in templates:
        if template.count("{}") != 1:
            raise DataError(f"template {template!r}: write {{}} once, where the class name goes")
    return [[template.replace("{}", name) for template in templates] for name in names]


def class_features(
    features: Float[Array, "classes templates features"],
) -> Float[Array, "classes features"]:
    """One vector of length 1 per class: the mean of its prompts' directions, in float32."""
    return normalised(jnp.mean(normalised(features), axis=1))
