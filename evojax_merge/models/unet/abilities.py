"""What a UNet can do: draw pictures, with the rest of its pipeline beside it."""

from evojax_merge.models.diffusion.abilities import Drawer
from evojax_merge.models.named.abilities import Computation, LayerCount
from evojax_merge.models.request import Compute, CountLayers, Draw
from evojax_merge.models.unet.params import layout

ABILITIES = {Draw: Drawer(), CountLayers: LayerCount(layout), Compute: Computation(layout)}
