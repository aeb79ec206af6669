"""ImageBind: encoder, network and input, written from the paper's architecture and public tensor names."""

from javisbench.metrics.encoders.imagebind.encoder import ImageBindEncoder

__all__ = ["ImageBindEncoder"]
