"""What an autoencoder can do by itself. A pipeline decodes pictures with it."""

from evojax_merge.models.named.abilities import Computation, LayerCount
from evojax_merge.models.request import Compute, CountLayers
from evojax_merge.models.vae.params import layout

ABILITIES = {CountLayers: LayerCount(layout), Compute: Computation(layout)}
