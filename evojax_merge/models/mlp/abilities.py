"""What multilayer perceptrons can do: they classify feature vectors."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from evojax_merge.models.ability import Ability, Batch, ItemLoglikelihood, Predict, Program
from evojax_merge.models.mlp.config import MLPConfig
from evojax_merge.models.mlp.modeling import forward
from evojax_merge.models.request import Classify
from evojax_merge.params.types import Array, Float, Int, Params


class Classification(Ability):
    """This ability computes the logits of feature vectors."""

    def program(self, config: MLPConfig, request: Classify, axes: Any) -> Program:
        def one(params: Params, inputs: Float[Array, "batch features"]) -> Array:
            return forward(config, params, inputs)

        return jax.vmap(one, in_axes=(axes, None))

    def bytes(
        self,
        config: MLPConfig,
        request: Classify,
        batch: Batch,
        itemsize: int,
        hops: int | None = None,
    ) -> int:
        return 4 * batch[0].shape[0] * 2 * max(config.hidden_sizes)

    def predict(self, config: MLPConfig, request: Classify) -> Predict:
        def classes(params: Params, inputs: Float[Array, "batch features"]) -> tuple[Array, Array]:
            return forward(config, params, inputs)[:, None], jnp.ones((len(inputs), 1))

        return classes

    def loglikelihood(self, config: MLPConfig) -> ItemLoglikelihood:
        def of_class(
            params: Params, inputs: Float[Array, " features"], label: Int[Array, ""]
        ) -> Float[Array, ""]:
            logits = forward(config, params, inputs[None])[0]
            return jax.nn.log_softmax(logits.astype("float32"))[label]

        return of_class

    def rows(
        self, fields: tuple[np.ndarray, ...], real: np.ndarray
    ) -> tuple[tuple[np.ndarray, ...], np.ndarray]:
        return fields[:1], real


ABILITIES = {Classify: Classification()}
