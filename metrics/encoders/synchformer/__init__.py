"""Synchformer: the audio-video offset of a clip (one file a part of the network)."""

from __future__ import annotations

from javisbench.metrics.encoders.synchformer.encoder import SynchformerEncoder

__all__ = ["SynchformerEncoder"]
