"""The training objective."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from ..attention import WholeSequences
from ..concepts import Concepts
from ..transformer import Transformer
from .examples import Batch

NEXT_TOKEN_SHARE = 0.5  # in dual prior preservation, as published


def image_code_loss(transformer: Transformer, batch: Batch, concepts: Concepts | None) -> Tensor:
    """Mean cross-entropy of the image codes given prompt and earlier codes (Sun et al. 2025, eq. 1), a scalar.

    `concepts`: what stands at the positions of reserved tokens, None where a batch has none. Forced tokens (size, row
    ends, end of image) are not predicted when sampling and not scored here. The logits of other positions are never
    computed. A batch with weights has every code's loss times its weight. Where the batch says what the frozen model
    expects, half of it is the divergence from that (dual prior preservation, Wu et al. 2025).
    """
    device = transformer.device
    targets = batch.targets.to(device)  # (B, T)
    scored = targets >= 0
    ids = batch.ids.to(device)  # (B, T)
    entering = None
    attention = None
    if concepts is not None:
        entering = concepts.placed_in(ids)
        attention = WholeSequences(ids.shape[1], device, concepts.identity_mask(ids))
    hidden = transformer(transformer.embed(ids), attention, entering)[scored]  # (scored positions, hidden)
    logits = transformer.image_logits(hidden)  # (scored positions, codes)
    loss = _cross_entropy(logits, targets[scored], batch.weights, scored)
    if batch.frozen is None:
        return loss
    return NEXT_TOKEN_SHARE * loss + (1 - NEXT_TOKEN_SHARE) * batch.frozen.divergence(logits)


def _cross_entropy(logits: Tensor, targets: Tensor, weights: Tensor | None, scored: Tensor) -> Tensor:
    if weights is None:
        return F.cross_entropy(logits, targets)
    each = F.cross_entropy(logits, targets, reduction="none")
    return (each * weights.to(each.device)[scored]).mean()
