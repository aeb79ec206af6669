"""What a comparison can show: the smallest difference that it would find, and the prompts that a difference needs.

Normal theory with Student's quantiles in place of the normal ones (Cohen, 1988, section 2.4): a difference of
``(t[1 - alpha/2] + t[power]) * error`` is found with probability `power` by a two-sided test.
"""

from __future__ import annotations

import math

ALPHA = 0.05
POWER = 0.8
MOST_PROMPTS = 10**9
"""More prompts than this are no plan."""


def smallest_difference(error: float, prompts: int) -> float:
    """The smallest true difference that a test finds in 80 of 100 cases.

    Args:
        error: standard error of a difference at this n.
        prompts: independent prompts behind it, at least 2.
    """
    return _quantiles(prompts) * error


def prompts_needed(difference: float, error: float, prompts: int) -> int | None:
    """Prompts that find a true difference of this size in 80 of 100 cases; None beyond a thousand millions.

    Args:
        difference: the difference, not 0; its sign does not matter.
        error: standard error of a difference, measured with `prompts`; it shrinks with the root of their number.
        prompts: at least 2.
    """
    size, spread = abs(difference), error * math.sqrt(prompts)

    def enough(count: int) -> bool:
        return _quantiles(count) * spread / math.sqrt(count) <= size

    high = 2
    while not enough(high):
        high *= 2
        if high > MOST_PROMPTS:
            return None
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def _quantiles(prompts: int) -> float:
    from scipy.special import stdtrit

    return float(stdtrit(prompts - 1, 1 - ALPHA / 2) + stdtrit(prompts - 1, POWER))
