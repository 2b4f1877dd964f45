"""What somebody typed, or what a file says, inside our own sentence."""

from __future__ import annotations

LONGEST = 60  # characters: nobody reads on in a message


def quoted(text: object) -> str:
    """`text` in quotation marks, on one line and cut; what cannot be seen is written as an escape."""
    visible = [letter if letter.isprintable() else ascii(letter)[1:-1] for letter in str(text)[:LONGEST]]
    return f'"{"".join(visible)}"'
