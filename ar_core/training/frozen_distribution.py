"""What the frozen model expects at each code of its own pictures of a class: computed once and kept beside them."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from ..concepts import Concepts
from ..control import Cancel, Progress, stop_if
from ..families.protocol import Protocol, Size
from ..transformer import Transformer
from .examples import make_training_batch
from .runs import Run
from .top_codes import KEPT_CODES, TopCodes

NAME = "frozen-distribution"


def frozen_distribution(
    transformer: Transformer,
    protocol: Protocol,
    prompt: list[int],
    pictures: Tensor,
    size: Size,
    run: Run,
    progress: Progress,
    cancel: Cancel,
) -> TopCodes:
    """(pictures, codes of one, ...) for `pictures` (N, rows, columns) that follow `prompt`; remembered in `run`.

    Each goes through the model alone, so that its numbers do not depend on how many are asked for. Raises Cancelled.
    """
    pictures = pictures.cpu()
    with run.locked(progress, cancel):
        kept = run.kept_tensors(NAME, lambda tensors: _fits(tensors, pictures, protocol.codes))
        done = 0
        parts = []
        if kept is not None:
            done = min(len(kept["pictures"]), len(pictures))
            parts.append(TopCodes(kept["codes"], kept["log_probabilities"])[:done])
        for number in range(done, len(pictures)):
            stop_if(cancel)
            parts.append(_top_codes(transformer, protocol, prompt, pictures[number], size))
            progress(number + 1, len(pictures), "reading class images")
        whole = TopCodes(torch.cat([p.codes for p in parts]), torch.cat([p.log_probabilities for p in parts]))
        if done < len(pictures):
            run.open()
            tensors = {"pictures": pictures, "codes": whole.codes, "log_probabilities": whole.log_probabilities}
            run.keep_tensors(NAME, tensors)
    return whole


def _top_codes(
    transformer: Transformer, protocol: Protocol, prompt: list[int], picture: Tensor, size: Size
) -> TopCodes:
    """(1, codes of a picture, ...) on the CPU, for a `picture` (rows, columns)."""
    found = TopCodes.of(code_logits(transformer, protocol, prompt, picture, size))
    return TopCodes(found.codes[None].cpu(), found.log_probabilities[None].cpu())


@torch.no_grad()
def code_logits(
    transformer: Transformer,
    protocol: Protocol,
    prompt: list[int],
    picture: Tensor,
    size: Size,
    concepts: Concepts | None = None,
) -> Tensor:
    """(codes of a picture, codes) by the frozen model, for a `picture` (rows, columns) that follows `prompt`.

    `concepts`: put in place of their reserved tokens, where the prompt has some.
    """
    batch = make_training_batch([(prompt, picture)], protocol, size)
    ids = batch.ids.to(transformer.device)
    entering = None
    if concepts is not None:
        entering = concepts.placed_in(ids)
    scored = batch.targets.to(transformer.device) >= 0
    return transformer.image_logits(transformer(transformer.embed(ids), entering=entering)[scored])


def _fits(tensors: Mapping[str, Tensor], pictures: Tensor, codes: int) -> bool:
    """Whether these are the distributions of `pictures`, or of as many of the first as there are."""
    if set(tensors) != {"pictures", "codes", "log_probabilities"}:
        return False
    own = tensors["pictures"]
    both = min(len(own), len(pictures))
    count = min(KEPT_CODES, codes - 1)
    shape = (len(own), pictures[0].numel())
    return (
        both > 0
        and torch.equal(own[:both], pictures[:both])
        and tensors["codes"].shape == (*shape, count)
        and tensors["log_probabilities"].shape == (*shape, count + 1)
        and int(tensors["codes"].min()) >= 0
        and int(tensors["codes"].max()) < codes
    )
