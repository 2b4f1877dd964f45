"""Where the codes of a picture stand in the stream of tokens that follows its prompt.

Lumina-mGPT ends every row of codes with a token of its own; Janus-Pro has codes alone. Whatever counts positions, such
as decoding, memory estimates and training examples, asks a `Layout` and needs to know neither.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Layout:
    """The stream of one picture: position 0 is its first code, the last position is its last code.

    Between two rows of codes stands `row_end`, a token that is never sampled; None where the family has no such token.
    """

    rows: int
    columns: int
    row_end: int | None

    @property
    def row_length(self) -> int:
        """Tokens from the first code of a row to the first code of the next."""
        if self.row_end is None:
            return self.columns
        return self.columns + 1

    @property
    def length(self) -> int:
        """Tokens from the first code to the last."""
        if self.row_end is None:
            return self.rows * self.columns
        return self.padded_length - 1  # nothing needs to be known behind the last row

    @property
    def padded_length(self) -> int:
        """Tokens of as many equal rows, the last with its row end too: what caches and training examples hold."""
        return self.rows * self.row_length

    @property
    def codes(self) -> int:
        """How many of the tokens are codes."""
        return self.rows * self.columns

    def is_forced(self, positions: Tensor) -> Tensor:
        """Whether a row end stands at each of `positions` (any shape, also beyond the last row)."""
        return positions % self.row_length == self.columns

    def finished_rows(self, tokens: int) -> int:
        """Rows whose codes are all among the first `tokens` tokens."""
        return (tokens + self.row_length - self.columns) // self.row_length

    def grid(self, stream: Tensor) -> Tensor:
        """What stands at the codes' positions of `stream` (B, at least padded_length), as (B, rows, columns)."""
        padded = stream[:, : self.padded_length]
        return padded.reshape(-1, self.rows, self.row_length)[..., : self.columns]
