"""The list of all families."""

from __future__ import annotations

from .family import Family
from .lumina_mgpt import LUMINA_512, LUMINA_768, LUMINA_1024
from .miniature import MINIATURE

FAMILIES = {family.name: family for family in (LUMINA_768, LUMINA_512, LUMINA_1024, MINIATURE)}


def family_by_name(name: str) -> Family:
    if name not in FAMILIES:
        raise ValueError(f'There is no model family "{name}". Choose one of: {", ".join(FAMILIES)}.')
    return FAMILIES[name]
