"""How a learning rate changes over a training, as a share of its peak."""

from __future__ import annotations


def warm_up_and_fall(step: int, steps: int, warm_up: int, falling: float) -> float:
    """Rise over `warm_up` steps, stay, then fall linearly towards zero over the last `falling` steps."""
    return min(1.0, (step + 1) / warm_up, max(0.01, (steps - step) / falling))
