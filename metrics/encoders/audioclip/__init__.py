"""AudioCLIP's audio branch: FBSP transform, network, and the encoder around both."""

from javisbench.metrics.encoders.audioclip.encoder import AudioCLIPEncoder

__all__ = ["AudioCLIPEncoder"]
