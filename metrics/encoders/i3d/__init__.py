"""I3D: its network, what it sees, and the encoder around both."""

from javisbench.metrics.encoders.i3d.encoder import I3DEncoder

__all__ = ["I3DEncoder"]
