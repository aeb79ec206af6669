"""SyncNet on the faces that S3FD finds: how well lips and voice of a clip belong together (one file a part)."""

from __future__ import annotations

from javisbench.metrics.encoders.syncnet.encoder import SyncNetEncoder

__all__ = ["SyncNetEncoder"]
