"""What a UNet can do by itself. A pipeline draws pictures with it."""

from evojax_merge.models.named.abilities import Computation, LayerCount
from evojax_merge.models.request import Compute, CountLayers
from evojax_merge.models.unet.params import layout

ABILITIES = {CountLayers: LayerCount(layout), Compute: Computation(layout)}
