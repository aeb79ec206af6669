"""Procedural clips: drawn and synthesised scenes whose events are known.

`script` decides what happens, `places` and `actors` draw it with `painting`, `sounds` synthesises it, `kinds` ties
words, pictures and sounds together, `damage` spoils finished clips on purpose.
"""

from javisbench.baselines.procedural.generator import Procedural

__all__ = ["Procedural"]
