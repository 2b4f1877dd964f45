"""What holds an image concept back (Wu et al. 2025, arXiv 2508.07341): both reach its vectors and nothing else.

**Context self-regularization** holds its vectors near where they started, the mean states of the photos' codes.
**Dual prior preservation** trains them on pictures of the class that the frozen model draws: these are to stay as
likely (next-token loss), and everything else beside each of their codes too (divergence from the frozen model).
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..families.protocol import Protocol


def context_distance(image_vectors: Tensor) -> Tensor:
    """Mean over layers of how far an image concept is from its start, a scalar.

    `image_vectors` (depth, images, hidden): differences from the start in units of each layer's states, in which
    everything of a deep concept is learned. In the states' own numbers the deeper layers, with states many times as
    large, would be held many times as strongly. Of the notes on the paper one says the distance and one its square.
    This is the distance, which pulls equally hard wherever a vector is; its square would not hold what is still near,
    and would hold with any force what the photos draw far away.
    """
    return torch.linalg.vector_norm(image_vectors, dim=-1).mean()


def with_image_concept(prompt: list[int], protocol: Protocol, images: int, own: int) -> list[int]:
    """`prompt`, which names no subject, with the `images` reserved tokens of an image concept where they always stand.

    They are those behind the `own` ones of the identifier.
    """
    first = protocol.identifier_base + own
    place = protocol.concept_position()
    return prompt[:place] + list(range(first, first + images)) + prompt[place:]
