"""Procedural clips: drawn and synthesised scenes whose events are known.

`script` decides what happens, `places` and `actors` draw it with `painting`, `sounds` synthesises it, `kinds` ties
words, pictures and sounds together, `damage` spoils finished clips on purpose. `sync` holds families of scenes with
true event times.
"""

from javisbench.baselines.procedural.generator import Procedural
from javisbench.baselines.procedural.sync.clips import scene_events

__all__ = ["Procedural", "scene_events"]
