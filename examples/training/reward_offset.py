"""A generator learns by policy gradient when to sound, from AV-Sync as its reward; the truth is printed beside it.

    python examples/training/reward_offset.py
    python examples/training/reward_offset.py --steps 60 --plot offset.png     # needs matplotlib

The "generator" draws clips in which a disc jumps and clicks are heard, with a delay that it draws from a normal
distribution; all it learns is the mean. Nothing tells it the true delay: only the reward does.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from javisbench.rewards import Scale, reward

FPS, RATE, SECONDS = 24, 16000, 4


@dataclass(frozen=True)
class Training:
    """How long, how wide and how fast the generator searches."""

    steps: int = 30
    clips: int = 12
    start_s: float = 0.3
    spread_s: float = 0.12
    learning_rate: float = 0.05


def clip(delay_s: float, seed: int) -> tuple[Tensor, Tensor]:
    """Frames ``(T, H, W, 3)`` with four jumps of a disc, and a click `delay_s` after each, ``(1, samples)``."""
    draw = np.random.default_rng(seed)
    frames = draw.integers(0, 40, (SECONDS * FPS, 48, 64, 3)).astype(np.uint8)
    sound = draw.normal(0, 0.005, SECONDS * RATE).astype(np.float32)
    jumps = np.sort(draw.choice(np.arange(12, SECONDS * FPS - 12), 4, replace=False))
    rows, columns = np.mgrid[:48, :64]
    place = draw.uniform((10, 10), (38, 54))
    for frame in range(len(frames)):
        if frame in jumps:
            place = draw.uniform((10, 10), (38, 54))
            first = int((frame / FPS + delay_s) * RATE)
            click = 0.7 * np.exp(-np.arange(1600) / 240) * np.sin(np.arange(1600) * 0.4)
            kept = slice(max(first, 0), max(first + len(click), 0))
            room = len(sound[kept])
            sound[kept] += click[len(click) - room :] if first < 0 else click[:room]
        frames[frame][(rows - place[0]) ** 2 + (columns - place[1]) ** 2 < 64] = (230, 180, 90)
    return torch.from_numpy(frames), torch.from_numpy(sound[None].clip(-1, 1))


def train(training: Training) -> list[tuple[float, float]]:
    """REINFORCE with the batch's mean as baseline.

    Returns:
        the mean reward, and the mean absolute delay in seconds that only we know, of each step.
    """
    # Heavy tails: in a scale of its own, AV-Sync is kept within the range in which it is averaged.
    in_step = reward("av_sync", scale=Scale(0.0, 1.0))
    mean = torch.tensor(training.start_s, requires_grad=True)
    optimiser = torch.optim.Adam([mean], lr=training.learning_rate)
    torch.manual_seed(0)
    seen = []
    for step in range(training.steps):
        policy = torch.distributions.Normal(mean, training.spread_s)
        delays = policy.sample((training.clips,))
        made = [clip(float(delay), step * training.clips + row) for row, delay in enumerate(delays)]
        values = in_step([frames for frames, _ in made], FPS, [sound for _, sound in made], RATE)
        kept = ~values.isnan()  # a clip without a value teaches nothing
        gain = values[kept] - values[kept].mean()
        loss = -(gain * policy.log_prob(delays[kept])).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        seen.append((float(values[kept].mean()), float(delays.abs().mean())))
    return seen


def plot(seen: list[tuple[float, float]], path: str) -> None:
    """Reward and truth, one below the other."""
    import matplotlib.pyplot as plt

    figure, (above, below) = plt.subplots(2, sharex=True, figsize=(6, 4))
    above.plot([value for value, _ in seen])
    above.set_ylabel("AV-Sync (reward)")
    below.plot([1000 * delay for _, delay in seen])
    below.set_ylabel("true delay (ms)")
    below.set_xlabel("step")
    figure.tight_layout()
    figure.savefig(path, dpi=150)


def main() -> None:
    """Train, and print reward and truth side by side."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=Training.steps)
    parser.add_argument("--plot", metavar="FILE", help="draw both curves into this file")
    options = parser.parse_args()
    seen = train(Training(steps=options.steps))
    print("step  reward  true delay (ms)")
    for step, (value, delay) in enumerate(seen):
        print(f"{step:4}  {value:6.2f}  {1000 * delay:15.0f}")
    if options.plot:
        plot(seen, options.plot)


if __name__ == "__main__":
    main()
