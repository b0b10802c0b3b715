"""What a UNet can do. The rest of its pipeline, with which it draws, is given in batches."""

from evojax_merge.models.diffusion.abilities import Drawer
from evojax_merge.models.named.abilities import Computation, LayerCount
from evojax_merge.models.request import Compute, CountLayers, Draw
from evojax_merge.models.unet.params import layout

ABILITIES = {CountLayers: LayerCount(layout), Compute: Computation(layout), Draw: Drawer()}
