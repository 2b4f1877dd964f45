"""Where a deep concept starts: at what the frozen model has there for the class word, and for pictures.

Published (Wu et al. 2025, arXiv 2508.07341) is that the image vectors start at the mean state of the photos' codes.
That vectors are learned in units of each layer's own states is ours: states grow many times over from the first layer
to the third, and with one learning rate for all of them the vectors of the deeper ones would hardly move.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..concepts import Concepts, states_entering
from ..families.protocol import Protocol
from ..text import Identifier
from ..transformer import Transformer
from .examples import make_training_batch
from .subject import Subject
from .templates import SLOT
from .trainable import DeepStart


@torch.no_grad()
def deep_start(
    transformer: Transformer, protocol: Protocol, subject: Subject, vectors: Tensor, depth: int, with_image: bool
) -> DeepStart:
    """The start of a concept whose embedding starts at `vectors` (k, hidden).

    At first the concept changes nothing beyond that embedding: deeper vectors are the states that it leads to in "a
    photo of [V] dog". `with_image`: one more position, for what pictures of the subject have in common.
    """
    identifier = Identifier("[V]", subject.class_name, protocol.identifier_base, len(vectors))
    sentence = subject.templates[0].replace(SLOT, identifier.full_name)
    ids = torch.tensor([protocol.prompt(sentence, subject.size, (identifier,))], device=transformer.device)
    embedding = Concepts.stacked([vectors.to(transformer.device)[None]], protocol.identifier_base)
    states = states_entering(transformer, transformer.embed(ids), depth, embedding.placed_in(ids))
    own = (ids[0] >= identifier.first_id) & (ids[0] < identifier.first_id + identifier.count)
    origin = torch.stack([state[0, own] for state in states])  # (depth, k, hidden)
    units = origin.flatten(1).std(1)
    if with_image:
        origin = torch.cat([origin, picture_states(transformer, protocol, subject, depth)[:, None]], 1)
    return DeepStart(origin, units)


@torch.no_grad()
def picture_states(transformer: Transformer, protocol: Protocol, subject: Subject, depth: int) -> Tensor:
    """The mean state (depth, hidden) entering each layer, over all codes of the subject's photos and views."""
    prompt = protocol.prompt(subject.plain_prompt, subject.size)
    total = torch.zeros(depth, transformer.config.hidden_size, device=transformer.device)
    count = 0
    for codes in subject.codes:
        batch = make_training_batch([(prompt, codes)], protocol, subject.size)
        ids = batch.ids.to(transformer.device)
        is_code = (ids[0] >= protocol.code_base) & (ids[0] < protocol.code_base + protocol.codes)
        for layer, state in enumerate(states_entering(transformer, transformer.embed(ids), depth)):
            total[layer] += state[0, is_code].sum(0)
        count += int(is_code.sum())
    return total / count
