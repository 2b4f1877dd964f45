import random
from dataclasses import replace

import pytest

from ar_core.families.lumina_mgpt import LUMINA_512, LUMINA_768, LUMINA_1024
from ar_core.families.miniature import MINIATURE
from ar_core.families.registry import FAMILIES, family_by_name

LISTS = [
    (LUMINA_512, 512, 49, 1060, 1092),
    (LUMINA_768, 768, 73, 2356, 2404),
    (LUMINA_1024, 1024, 97, 4164, 4228),
]
ALL_SIZES = [(family.protocol, size) for family, *_ in LISTS for size in family.protocol.sizes]


def staircase(cells):
    """Upstream's walk over the sizes, in units of 32 pixels: one row more while it fits, else one column less."""
    columns, rows, sizes = cells, 1, []
    while columns > 0:
        if max(columns, rows) <= 4 * min(columns, rows):
            sizes.append((32 * columns, 32 * rows))
        if (rows + 1) * columns <= cells:
            rows += 1
        else:
            columns -= 1
    return sizes


def grid_of_codes(width, height):
    draw = random.Random(width * 10000 + height)
    return [[draw.randrange(8192) for _ in range(width // 16)] for _ in range(height // 16)]


@pytest.mark.parametrize("family, target, count, square, longest", LISTS)
def test_the_sizes_are_upstreams(family, target, count, square, longest):
    sizes = family.protocol.sizes
    assert len(sizes) == len(set(sizes)) == count
    assert list(sizes) == staircase((target // 32) ** 2)
    assert family.recipe.size == (target, target) in sizes
    lengths = {size: len(family.protocol.image_block(grid_of_codes(*size), size)) for size in sizes}
    assert lengths[target, target] == square
    assert max(lengths.values()) == longest


def test_every_image_block_token_by_token():
    for protocol, (width, height) in ALL_SIZES:
        codes = grid_of_codes(width, height)
        block = protocol.image_block(codes, (width, height))
        rows, columns = height // 16, width // 16
        assert len(block) == rows * (columns + 1) + 4
        assert block[:3] == [8197, 8804 + height // 32, 8804 + width // 32]
        assert block[-1] == 8196
        for index, row in enumerate(codes):
            start = 3 + index * (columns + 1)
            assert block[start : start + columns] == [4 + code for code in row]
            assert block[start + columns] == 8803


def test_an_image_block_of_the_wrong_shape_is_refused():
    protocol = LUMINA_512.protocol
    codes = grid_of_codes(512, 512)
    for wrong in (codes[1:], [*codes[:-1], codes[-1][1:]], grid_of_codes(448, 576)):
        with pytest.raises(ValueError, match="512x512 needs 32 rows of 32 codes"):
            protocol.image_block(wrong, (512, 512))


def test_snap_keeps_every_allowed_size():
    for protocol, size in ALL_SIZES:
        assert protocol.snap(*size) == size


def test_snap_takes_the_closest_aspect_at_any_scale():
    wishes = random.Random(0)
    for _ in range(300):
        width, height = wishes.randint(40, 4000), wishes.randint(40, 4000)
        for family in (LUMINA_512, LUMINA_768, LUMINA_1024):
            protocol = family.protocol
            snapped = protocol.snap(width, height)
            assert snapped in protocol.sizes

            def stretch(size, wish=width / height):
                ratio = size[0] / size[1] / wish
                return max(ratio, 1 / ratio)

            assert stretch(snapped) <= min(map(stretch, protocol.sizes)) + 1e-3
            turned = protocol.snap(height, width)
            assert abs(stretch(snapped) - stretch(turned[::-1])) <= 1e-3


def test_snap_takes_the_closest_area_among_equal_aspects():
    assert LUMINA_768.protocol.snap(10, 10) == LUMINA_768.protocol.snap(5000, 5000) == (768, 768)
    sizes = ((128, 128), (256, 128), (512, 256), (1024, 512))
    protocol = replace(LUMINA_768.protocol, sizes=sizes)
    wishes = [(20, 10), (257, 128), (600, 300), (9000, 4500)]
    assert [protocol.snap(*wish) for wish in wishes] == [sizes[1], sizes[1], sizes[2], sizes[3]]


@pytest.mark.parametrize("family", FAMILIES.values(), ids=list(FAMILIES))
def test_the_kinds_of_token_do_not_overlap(family):
    protocol = family.protocol
    sides = {side // protocol.size_unit for size in protocol.sizes for side in size}
    kinds = [
        {protocol.begin},
        {protocol.turn_end},
        {protocol.image_start},
        {protocol.image_end},
        {protocol.row_end},
        {protocol.size_base + side for side in sides},
        set(range(protocol.code_base, protocol.code_base + protocol.codes)),
        set(range(protocol.identifier_base, protocol.identifier_base + protocol.identifiers)),
    ]
    every = set().union(*kinds)
    assert len(every) == sum(map(len, kinds))
    assert max(every) < protocol.first_text
    assert family.recipe.size in protocol.sizes
    assert 1 <= family.recipe.top_k <= protocol.codes


def test_families_are_found_by_name():
    assert family_by_name("lumina-mgpt-512") is LUMINA_512
    with pytest.raises(ValueError, match='no model family "sdxl".*lumina-mgpt-768.*miniature'):
        family_by_name("sdxl")


def test_a_shape_keeps_the_recipes_area():
    assert LUMINA_768.size_for(1, 1) == (768, 768)
    for shape in ((4, 3), (3, 4), (16, 9), (9, 16)):
        width, height = LUMINA_768.size_for(*shape)
        assert (width, height) in LUMINA_768.protocol.sizes
        assert width * height > 0.9 * 768 * 768 and abs(width / height / (shape[0] / shape[1]) - 1) < 0.06
    assert MINIATURE.size_for(16, 9) == MINIATURE.recipe.size  # it has no other
