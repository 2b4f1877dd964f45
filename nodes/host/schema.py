"""Parts of a node's schema that only later versions of ComfyUI know: given where they are known, left out elsewhere."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from comfy_api.latest import io

ALIASES = ("autoregressive", "personalize", "lumina mgpt", "janus")  # by which every node of the pack is found


def node_schema(*, search_aliases: tuple[str, ...] = (), **fields: Any) -> io.Schema:
    """A Schema; `search_aliases`: further words by which the node is found."""
    later = {"search_aliases": [*search_aliases, *ALIASES]}
    return io.Schema(**fields, **known(io.Schema, later))


def advanced(make: Callable[..., io.Input], name: str, **fields: Any) -> io.Input:
    """An input that is folded away until the user asks for it: what the recipe decides well."""
    return make(name, **fields, **known(make, {"advanced": True}))


def known(function: Callable[..., Any], fields: dict[str, Any]) -> dict[str, Any]:
    """Those of `fields` that `function` has a parameter for."""
    parameters = inspect.signature(function).parameters
    return {name: value for name, value in fields.items() if name in parameters}
