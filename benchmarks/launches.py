"""How many operations a decoding step of the 7B starts on a graphics card, counted without one:

    python -m benchmarks.launches

A large card takes a few microseconds for each of them whatever its size, so their number bounds the speed of small
steps. Counted on tensors without content (torch's "meta" device): what does nothing but view is left out. It also shows
that a step reads nothing back and moves nothing from the host, for neither exists on such tensors.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from ar_core.architecture import TransformerConfig
from ar_core.families.lumina_mgpt import LUMINA_768
from ar_core.sampling.engine import Engine
from ar_core.sampling.rule import code_probabilities
from ar_core.transformer import Transformer

from .random_checkpoint import protocol_of

WINDOW = 64
PROMPT = 40  # tokens


class Launches(TorchDispatchMode):
    """Counts operations by name whose result is new memory or changed memory; finds those that leave the device."""

    def __init__(self, device: str = "meta"):
        super().__init__()
        self.device = device
        self.counted: Counter[str] = Counter()
        self.elsewhere: list[str] = []

    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = operation(*args, **(kwargs or {}))
        given = tensors_in((args, kwargs))
        made = tensors_in(result)
        if any(t.device.type != self.device for t in given + made):
            self.elsewhere.append(str(operation))
        if operation._schema.is_mutable or not {storage_of(t) for t in made} <= {storage_of(t) for t in given}:
            self.counted[str(operation).removeprefix("aten.")] += 1
        return result


def tensors_in(tree: object) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]


def storage_of(tensor: Tensor) -> int:
    return tensor.untyped_storage()._cdata


@torch.inference_mode()
def launches_of_a_step(config: TransformerConfig, window: int) -> Launches:
    """One step with guidance, from the tokens to the distributions, of a model with these dimensions."""
    transformer = Transformer(config, device="meta", dtype=torch.bfloat16)
    recipe = LUMINA_768.recipe
    protocol = protocol_of(LUMINA_768)
    prompt = [0] * PROMPT + protocol.header(recipe.size)
    engine = Engine(transformer, protocol, [prompt], recipe.size, recipe.cfg, spare=window)
    engine.prefill()
    tokens = torch.zeros(1, window, dtype=torch.long, device="meta")
    done = torch.zeros(1, dtype=torch.long, device="meta")
    with Launches() as seen:
        code_probabilities(engine.look_ahead(tokens, done, 0), recipe.top_k, recipe.temperature)
    return seen


def launches_per_layer(window: int) -> Counter[str]:
    """What one layer more adds."""
    one = launches_of_a_step(replace(TransformerConfig(), num_hidden_layers=1), window).counted
    two = launches_of_a_step(replace(TransformerConfig(), num_hidden_layers=2), window).counted
    return two - one


def main() -> None:
    for window in (1, WINDOW):
        seen = launches_of_a_step(TransformerConfig(), window)
        layer = launches_per_layer(window)
        names = ", ".join(f"{count} {name}" for name, count in layer.most_common())
        print(f"window {window}: {seen.counted.total()} operations per step, {layer.total()} per layer ({names})")


if __name__ == "__main__":
    main()
