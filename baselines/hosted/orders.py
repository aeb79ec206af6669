"""What a clip is called towards a service, and what its description's places are filled with."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from javisbench.baselines.hosted.service import Service, aspect


def order_key(facts: Any) -> str:
    """A name for what decides a clip, of at most 48 characters."""
    return "javisbench-" + hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()[:32]


def places(
    service: Service, prompt: str, seed: int, *, width: int, height: int, duration_s: float, fps: float
) -> dict[str, Any]:
    """Values for `Service.body`: what is wanted, as far as the service offers it."""
    width, height = service.chosen_size(width, height)
    seconds = service.chosen_seconds(duration_s)
    return {
        "prompt": prompt,
        "seed": seed % service.seed_below,
        "width": width,
        "height": height,
        "seconds": int(seconds) if seconds == int(seconds) else seconds,
        "fps": int(fps) if fps == int(fps) else fps,
        "aspect": aspect(width, height),
    }
