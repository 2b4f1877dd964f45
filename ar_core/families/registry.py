"""The list of all families, and which of them a model's files belong to."""

from __future__ import annotations

from dataclasses import dataclass

from ..checkpoints.errors import CheckpointError
from ..checkpoints.find import ModelFolder
from ..quoting import quoted
from .family import Family
from .janus_pro import JANUS_PRO_1B, JANUS_PRO_7B
from .lumina_mgpt import LUMINA_512, LUMINA_768, LUMINA_1024
from .miniature import MINIATURE

# Where the files fit several, the first is taken.
FAMILIES: dict[str, Family] = {
    family.name: family for family in (LUMINA_768, LUMINA_512, LUMINA_1024, MINIATURE, JANUS_PRO_1B, JANUS_PRO_7B)
}


@dataclass(frozen=True, eq=False)
class Choice:
    """A model's family, how it was chosen, and what the user should know about that ("" where there is nothing)."""

    family: Family
    reason: str
    question: str = ""


def family_by_name(name: str) -> Family:
    """Raises ValueError, listing all families, where there is none of that name."""
    if name not in FAMILIES:
        raise ValueError(f"There is no model family {quoted(name)}. Choose one of: {', '.join(FAMILIES)}.")
    return FAMILIES[name]


def choose_family(folder: ModelFolder, name: str | None = None) -> Choice:
    """The family called `name`, else the one that config.json names, else the first that recognises the files.

    Raises CheckpointError for files of no family, or of another than the one called `name`.
    """
    if name is not None:
        chosen = family_by_name(name)
        if not chosen.detect(folder):
            raise CheckpointError(
                f"{folder.config_path} describes {_described(folder)}, which is not {chosen.title}. "
                "Leave the family out, or choose the model's own."
            )
        return Choice(chosen, "as asked for")
    named = folder.config.get("family")
    if named is not None and (not isinstance(named, str) or named not in FAMILIES):
        raise CheckpointError(
            f"{folder.config_path} names the family {quoted(named)}, which this version does not know. "
            f"It knows: {', '.join(FAMILIES)}."
        )
    if named is not None and not FAMILIES[named].detect(folder):
        raise CheckpointError(
            f"{folder.config_path} names the family {quoted(named)}, but describes {_described(folder)} of another "
            'size or kind. Remove the line "family" from it.'
        )
    if named is not None:
        return Choice(FAMILIES[named], "named in config.json")
    for family in FAMILIES.values():
        if family.detect(folder):
            return Choice(family, "recognised by its files", family.question)
    known = ", ".join(family.title for family in FAMILIES.values())
    raise CheckpointError(
        f"{folder.config_path} describes {_described(folder)}; models that can be loaded are {known}."
    )


def _described(folder: ModelFolder) -> str:
    return f'a "{folder.config.get("model_type")}" model'
