"""CAVP: contrastively trained audio and video features, four a second."""

from __future__ import annotations

from javisbench.metrics.encoders.cavp.encoder import CAVPEncoder

__all__ = ["CAVPEncoder"]
