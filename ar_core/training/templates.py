"""Training templates of the user's own: a text file, one template a line."""

from __future__ import annotations

from pathlib import Path

from ..families.protocol import Protocol, Size
from ..files import read_text
from ..quoting import quoted
from ..styles import STYLE_TEMPLATES, full_name
from ..text import BRACKETED, NEUTRAL_TEMPLATES, TextError

SLOT = "{}"  # where the subject goes
MOST = 10_000  # templates: each is tokenised and held


def default_templates(class_name: str) -> tuple[str, ...]:
    """What prompts in training are where nobody chose: of a style, which has no class name, or of a subject."""
    if not class_name:
        return STYLE_TEMPLATES
    return NEUTRAL_TEMPLATES


def read_templates(
    path: Path, protocol: Protocol, size: Size, identifier: str = "", class_name: str = ""
) -> tuple[str, ...]:
    """The templates in a file, with {} where the subject goes, also where a line has "[V] dog" or "[V]" there.

    `identifier`, `class_name`: of the subject; "" where there are several, whose names no line can have.

    Empty lines are passed over. Raises UnreadableFile, and TextError with the line's number for one that does not say
    where the subject goes, or cannot be read as a prompt.
    """
    templates = []
    for number, line in enumerate(read_text(path).splitlines(), 1):
        template = " ".join(line.split())
        if not template:
            continue
        if identifier:
            template = with_slot(template, identifier, class_name)
        _check(template, f"{path}, line {number}", identifier, class_name)
        try:
            protocol.prompt(template.replace(SLOT, class_name), size)
        except TextError as error:
            raise TextError(f"{path}, line {number}: {error}") from error
        templates.append(template)
    if not 1 <= len(templates) <= MOST:
        raise TextError(f"{path} holds {len(templates)} templates; write from 1 to {MOST}, one a line.")
    return tuple(templates)


def with_slot(text: str, identifier: str, class_name: str) -> str:
    """`text` with {} for "[V] dog" and "[V]"."""
    return text.replace(full_name(identifier, class_name), SLOT).replace(identifier, SLOT)


def _check(template: str, where: str, identifier: str, class_name: str) -> None:
    named = SLOT
    if identifier:
        named = f'{SLOT} or "{full_name(identifier, class_name)}"'
    if SLOT not in template:
        raise TextError(f"{where}: {quoted(template)} does not say where the subject goes. Write {named} there.")
    other = BRACKETED.search(template)
    if other is not None:
        raise TextError(f"{where}: {quoted(other.group())} names nothing in a training. The subject is {named}.")
