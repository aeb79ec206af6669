"""Models behind an HTTP API: submitted, polled, downloaded, and paid for once.

`Hosted` is the generator (``hosted:FILE.toml``, ``hosted:CARD``), `Service` what is known of an API, `serve` the same
for a program of one's own behind ``command:`` (examples/generators/http_api.py).
"""

from __future__ import annotations

from javisbench.baselines.hosted.generator import Hosted
from javisbench.baselines.hosted.program import serve
from javisbench.baselines.hosted.service import Service

__all__ = ["Hosted", "Service", "serve"]
