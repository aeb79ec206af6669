"""Per-sample metrics as rewards of a training loop: tensors in, one number a clip out, no files.

    from javisbench.rewards import reward, combine

    in_step = reward("av_sync")
    values = in_step(frames, 24, audio, 16000)                       # (B,)
    both = combine({"av_ib": 0.5, "desync": 0.5}, scales="runs/baseline/demo", device="cuda")

See docs/training.md for what each metric can be cheated with.
"""

from __future__ import annotations

from javisbench.rewards.reward import Part, Reward, Rewarded, combine, refusal, reward, reward_ids
from javisbench.rewards.scale import Scale

__all__ = ["Part", "Reward", "Rewarded", "Scale", "combine", "refusal", "reward", "reward_ids"]
