"""What a clip is called towards a service, and what its description's places are filled with."""

from __future__ import annotations

import base64
import hashlib
import json
import mimetypes
from pathlib import Path
from typing import Any

from javisbench.baselines.hosted.service import Service, aspect
from javisbench.errors import MediaError

IMAGE_BYTES = 32 * 2**20


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


def data_address(image: Path) -> str:
    """A picture as a ``data:`` address.

    Raises:
        MediaError: it cannot be read, or is larger than 32 MiB.
    """
    try:
        with image.open("rb") as file:
            content = file.read(IMAGE_BYTES + 1)
    except OSError as error:
        raise MediaError(f"The picture {image.name} cannot be read: {error.strerror}.", kind="no_file") from error
    if len(content) > IMAGE_BYTES:
        raise MediaError(f"The picture {image.name} is larger than 32 MiB, and is not sent.", kind="too_large")
    kind = mimetypes.guess_type(image.name)[0] or "image/png"
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
