"""The training objective."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from ..transformer import Transformer
from .examples import Batch


def image_code_loss(transformer: Transformer, batch: Batch, vectors: Tensor, first_id: int) -> Tensor:
    """Mean cross-entropy of the image codes given prompt and earlier codes (Sun et al. 2025, eq. 1), a scalar.

    `vectors` (N, hidden) take the place of the reserved tokens from `first_id` on. Forced tokens (size, row ends, end
    of image) are not predicted when sampling and not scored here. The logits of other positions are never computed.
    """
    device = transformer.device
    targets = batch.targets.to(device)  # (B, T)
    scored = targets >= 0
    embeddings = transformer.embed(batch.ids.to(device), vectors, first_id)  # (B, T, hidden)
    hidden = transformer(embeddings)[scored]  # (scored positions, hidden)
    logits = transformer.image_logits(hidden)  # (scored positions, codes)
    return F.cross_entropy(logits, targets[scored])
