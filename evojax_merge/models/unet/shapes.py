"""The shapes of the modules that UNets and autoencoders are built of, by path."""

from collections.abc import Mapping

Shape = tuple[int, ...]


def inside(name: str, shapes: Mapping[str, Shape]) -> dict[str, Shape]:
    """Put paths under a name."""
    return {f"{name}.{path}": shape for path, shape in shapes.items()}


def linear(name: str, inputs: int, outputs: int) -> dict[str, Shape]:
    """Map the paths of a linear layer to their shapes."""
    return {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}


def conv(name: str, inputs: int, outputs: int, kernel: int = 3) -> dict[str, Shape]:
    """Map the paths of a convolution to their shapes."""
    return {f"{name}.weight": (outputs, inputs, kernel, kernel), f"{name}.bias": (outputs,)}


def norm(name: str, width: int) -> dict[str, Shape]:
    """Map the paths of a norm to their shapes."""
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}


def resnet(inputs: int, outputs: int, time_width: int | None = None) -> dict[str, Shape]:
    """Map the paths of a residual block to their shapes."""
    return {
        **norm("norm1", inputs),
        **conv("conv1", inputs, outputs),
        **({} if time_width is None else linear("time_emb_proj", time_width, outputs)),
        **norm("norm2", outputs),
        **conv("conv2", outputs, outputs),
        **({} if inputs == outputs else conv("conv_shortcut", inputs, outputs, 1)),
    }


def downsampler(width: int) -> dict[str, Shape]:
    """Map the paths of what halves the resolution to their shapes."""
    return conv("downsamplers.0.conv", width, width)


def upsampler(width: int) -> dict[str, Shape]:
    """Map the paths of what doubles the resolution to their shapes."""
    return conv("upsamplers.0.conv", width, width)
