"""The stream of tokens of a picture, with and without row ends."""

import pytest
import torch

from ar_core.families.layout import Layout

LAYOUTS = [Layout(3, 4, row_end=9), Layout(3, 4, row_end=None), Layout(1, 5, row_end=9), Layout(5, 1, row_end=None)]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_stream_holds_the_codes_and_what_is_forced_between_rows(layout):
    written = []  # as upstream writes it: row after row
    for row in range(layout.rows):
        written += [100 * row + column for column in range(layout.columns)]
        if layout.row_end is not None:
            written.append(-1)
    positions = torch.arange(len(written))
    assert layout.is_forced(positions).tolist() == [token == -1 for token in written]
    assert layout.length == len(written) - (layout.row_end is not None)
    grid = layout.grid(torch.tensor([written]))
    assert grid.tolist() == [[[100 * row + column for column in range(layout.columns)] for row in range(layout.rows)]]
    assert layout.codes == grid[0].numel()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_row_is_finished_with_its_last_code(layout):
    for tokens in range(layout.length + 1):
        forced = layout.is_forced(torch.arange(tokens)).sum().item()
        assert layout.finished_rows(tokens) == (tokens - forced) // layout.columns
    assert layout.finished_rows(layout.length) == layout.rows
