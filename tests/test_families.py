"""Families: their sizes, their tokens against upstream's rules, how their files are recognised; and that others fit."""

import json
import random
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny import config, write_lumina, write_tokenizer
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers

from ar_core import ARModel, SamplingSettings
from ar_core.architecture import TransformerConfig
from ar_core.checkpoints.errors import CheckpointError
from ar_core.checkpoints.find import ModelFolder, open_folder
from ar_core.families.layout import Layout
from ar_core.families.lumina_mgpt import LUMINA_512, LUMINA_768, LUMINA_1024
from ar_core.families.miniature import MINIATURE
from ar_core.families.protocol import Protocol, nearest_size
from ar_core.families.registry import FAMILIES, choose_family, family_by_name
from ar_core.model import MINIATURE_FOLDER
from ar_core.sampling.engine import Engine
from ar_core.text import Identifier, TextError, TextTokenizer
from ar_core.transformer import Transformer
from benchmarks.random_checkpoint import protocol_of

LISTS = [
    (LUMINA_512, 512, 49, 1060, 1092),
    (LUMINA_768, 768, 73, 2356, 2404),
    (LUMINA_1024, 1024, 97, 4164, 4228),
]
ALL_SIZES = [(family, size) for family, *_ in LISTS for size in family.sizes]


def bound(family) -> Protocol:
    if family is MINIATURE:
        return family.bind(TextTokenizer.load(MINIATURE_FOLDER / "tokenizer.json"))
    return protocol_of(family)


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


# ---------------------------------------------------------------- sizes


@pytest.mark.parametrize("family, target, count, square, longest", LISTS)
def test_the_sizes_are_upstreams(family, target, count, square, longest):
    assert len(family.sizes) == len(set(family.sizes)) == count
    assert list(family.sizes) == staircase((target // 32) ** 2)
    assert family.recipe.size == (target, target) in family.sizes
    protocol = protocol_of(family)
    lengths = {
        size: len(protocol.header(size)) + len(protocol.image_block(grid_of_codes(*size), size))
        for size in family.sizes
    }
    assert lengths[target, target] == square
    assert max(lengths.values()) == longest


def test_snap_keeps_every_allowed_size():
    for family, size in ALL_SIZES:
        assert family.snap(*size) == size


def test_snap_takes_the_closest_aspect_at_any_scale():
    wishes = random.Random(0)
    for _ in range(300):
        width, height = wishes.randint(40, 4000), wishes.randint(40, 4000)
        for family in (LUMINA_512, LUMINA_768, LUMINA_1024):
            snapped = family.snap(width, height)
            assert snapped in family.sizes

            def stretch(size, wish=width / height):
                ratio = size[0] / size[1] / wish
                return max(ratio, 1 / ratio)

            assert stretch(snapped) <= min(map(stretch, family.sizes)) + 1e-3
            turned = family.snap(height, width)
            assert abs(stretch(snapped) - stretch(turned[::-1])) <= 1e-3


def test_snap_takes_the_closest_area_among_equal_aspects():
    assert LUMINA_768.snap(10, 10) == LUMINA_768.snap(5000, 5000) == (768, 768)
    sizes = ((128, 128), (256, 128), (512, 256), (1024, 512))
    wishes = [(20, 10), (257, 128), (600, 300), (9000, 4500)]
    assert [nearest_size(sizes, *wish) for wish in wishes] == [sizes[1], sizes[1], sizes[2], sizes[3]]


def test_a_shape_keeps_the_recipes_area():
    assert LUMINA_768.size_for(1, 1) == (768, 768)
    for shape in ((4, 3), (3, 4), (16, 9), (9, 16)):
        width, height = LUMINA_768.size_for(*shape)
        assert (width, height) in LUMINA_768.sizes
        assert width * height > 0.9 * 768 * 768 and abs(width / height / (shape[0] / shape[1]) - 1) < 0.06
    assert MINIATURE.size_for(16, 9) == MINIATURE.recipe.size  # it has no other


# ---------------------------------------------------------------- tokens


def test_every_image_token_by_token():
    for family, (width, height) in ALL_SIZES:
        protocol = protocol_of(family)
        codes = grid_of_codes(width, height)
        block = protocol.header((width, height)) + protocol.image_block(codes, (width, height))
        rows, columns = height // 16, width // 16
        assert len(block) == rows * (columns + 1) + 4
        assert block[:3] == [8197, 8804 + height // 32, 8804 + width // 32]
        assert block[-1] == 8196
        for index, row in enumerate(codes):
            start = 3 + index * (columns + 1)
            assert block[start : start + columns] == [4 + code for code in row]
            assert block[start + columns] == 8803
        assert protocol.layout((width, height)) == Layout(rows, columns, 8803)


def test_an_image_block_of_the_wrong_shape_is_refused():
    codes = grid_of_codes(512, 512)
    for wrong in (codes[1:], [*codes[:-1], codes[-1][1:]], grid_of_codes(448, 576)):
        with pytest.raises(ValueError, match="512x512 needs 32 rows of 32 codes"):
            protocol_of(LUMINA_512).image_block(wrong, (512, 512))


@pytest.mark.parametrize(
    "family, begin, turn_end, reserved", [(LUMINA_768, 0, 8710, 16204), (MINIATURE, 0, 1030, 1040)]
)
def test_a_prompt_is_upstreams_turn_and_the_header(family, begin, turn_end, reserved):
    protocol, size = bound(family), family.recipe.size
    text = protocol.text.tokenizer
    ids = protocol.prompt("a [V] dog", size, (Identifier("[V]", "dog", protocol.identifier_base, 2),))
    before = family.instruction.format(width=size[0], height=size[1], prompt="a")
    encoded = [text.encode(part, add_special_tokens=False).ids for part in (before, " dog")]
    turn = [begin, *encoded[0], reserved, reserved + 1, *encoded[1], turn_end]
    assert ids == turn + protocol.header(size)
    assert protocol.unguided(ids) == protocol.header(size)  # as upstream: positions from 0, no begin token
    assert ids[: protocol.concept_position()] == turn


@pytest.mark.parametrize("family", FAMILIES.values(), ids=list(FAMILIES))
def test_the_kinds_of_token_do_not_overlap(family):
    protocol = bound(family)
    named = [protocol.begin, protocol.turn_end, protocol.image_start, protocol.image_end, protocol.row_end]
    kinds = [{token} for token in named if token is not None]
    if protocol.size_base is not None:
        kinds.append({protocol.size_base + side // protocol.size_unit for size in family.sizes for side in size})
    every = set().union(*kinds)
    codes = set(range(protocol.code_base, protocol.code_base + protocol.codes))
    identifiers = set(range(protocol.identifier_base, protocol.identifier_base + protocol.identifiers))
    assert len(every | codes | identifiers) == sum(map(len, (*kinds, codes, identifiers)))
    assert all(protocol.is_control(token) for token in every)
    largest = protocol.text.largest_id()
    assert all(protocol.is_control(token) for token in codes | identifiers if token <= largest)
    assert not any(protocol.is_control(token) for token in protocol.encode("a photo of a dog"))
    assert family.recipe.size in family.sizes
    assert 1 <= family.recipe.top_k <= protocol.codes


def test_control_tokens_are_refused_whether_the_file_marks_them_or_not():
    """A tokenizer's file may list a reserved token without calling it special."""
    tokenizer = Tokenizer.from_str(protocol_of(LUMINA_768).text.tokenizer.to_str())
    content = json.loads(tokenizer.to_str())
    for token in content["added_tokens"]:
        token["special"] = token["content"] in ("<s>", "<pad>")
    protocol = LUMINA_768.bind(TextTokenizer(Tokenizer.from_str(json.dumps(content))))
    for name in ("<s>", "<racm3:break>", "<reserved08706>", "<reserved16200>", "IMGIMGBHZ"):
        with pytest.raises(TextError, match=name):
            protocol.encode(f"a {name} dog")


@pytest.mark.parametrize("name", ["<racm3:break>", "<eoss>", "<reserved08706>", "<reserved08824>", "IMGIMGHZ"])
def test_a_tokenizer_without_a_token_is_refused_by_its_name(name, tmp_path):
    text = protocol_of(LUMINA_768).text.tokenizer.to_str()
    write_lumina(tmp_path / "model")
    (tmp_path / "model" / "tokenizer.json").write_text(text.replace(f'"{name}"', '"<another>"'), encoding="utf-8")
    with pytest.raises(CheckpointError, match=f"tokenizer.json has no token {name}, .* own tokenizer file there"):
        ARModel.load(tmp_path / "model")


def test_tokens_out_of_order_are_refused(tmp_path):
    text = protocol_of(LUMINA_768).text.tokenizer.to_str()
    swapped = text.replace('"IMGIMGBZ"', '"-"').replace('"IMGIMGCZ"', '"IMGIMGBZ"').replace('"-"', '"IMGIMGCZ"')
    with pytest.raises(CheckpointError, match="gives IMGIMGBZ the id 6, expected 5"):
        LUMINA_768.bind(TextTokenizer(Tokenizer.from_str(swapped)))


def test_ids_follow_the_tokenizers_names():
    """Another vocabulary with the same names gives other ids and the same tokens."""
    content = json.loads(protocol_of(LUMINA_768).text.tokenizer.to_str())
    content["model"]["vocab"] = {name: token + 7 for name, token in content["model"]["vocab"].items()}
    for token in content["added_tokens"]:
        token["id"] += 7
    moved, plain = LUMINA_768.bind(TextTokenizer(Tokenizer.from_str(json.dumps(content)))), protocol_of(LUMINA_768)
    assert (moved.code_base, moved.row_end, moved.identifier_base) == (11, 8810, 16211)
    assert moved.prompt("a dog", (768, 768)) == [token + 7 for token in plain.prompt("a dog", (768, 768))]


# ---------------------------------------------------------------- which family


def folder_with(**values) -> ModelFolder:
    return ModelFolder(Path("somewhere/Lumina-mGPT-7B-512"), {**config(), **values}, ())


def test_families_are_found_by_name():
    assert family_by_name("lumina-mgpt-512") is LUMINA_512
    with pytest.raises(ValueError, match='no model family "sdxl".*lumina-mgpt-768.*miniature'):
        family_by_name("sdxl")


def test_what_the_files_say_decides():
    guessed = choose_family(folder_with())
    assert guessed.family is LUMINA_768 and "lumina-mgpt-512 or lumina-mgpt-1024" in guessed.question
    named = choose_family(folder_with(family="lumina-mgpt-1024"))
    assert named.family is LUMINA_1024 and not named.question
    asked = choose_family(folder_with(), "lumina-mgpt-512")
    assert asked.family is LUMINA_512 and not asked.question
    assert choose_family(open_folder(MINIATURE_FOLDER)).family is MINIATURE


def test_files_of_no_family_or_of_another_are_refused():
    with pytest.raises(CheckpointError, match='a "llama" model; models that can be loaded are Lumina-mGPT 7B, 768 px'):
        choose_family(folder_with(model_type="llama"))
    with pytest.raises(CheckpointError, match='a "llama" model, which is not Lumina-mGPT 7B, 512 px'):
        choose_family(folder_with(model_type="llama"), "lumina-mgpt-512")
    with pytest.raises(CheckpointError, match='names the family "lumina-mgpt-9".*It knows: lumina-mgpt-768'):
        choose_family(folder_with(family="lumina-mgpt-9"))


def test_another_family_than_the_files_is_refused_with_a_sentence():
    with pytest.raises(CheckpointError, match="has no token .* or choose the model's own family"):
        ARModel.load("miniature", family="lumina-mgpt-768")


# ---------------------------------------------------------------- families to come


class PaddedProtocol(Protocol):
    """As Janus-Pro's: the unguided row is the prompt with pads in it, and codes are no part of the vocabulary."""

    PAD = 2

    def unguided(self, prompt):
        return [prompt[0], *[self.PAD] * (len(prompt) - 2), prompt[-1]]


def tokenizer_with_high_control_tokens() -> Tokenizer:
    """As a DeepSeek tokenizer: letters first, control tokens behind, and one ordinary letter among them."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    controls = ["<bos>", "<pad>", "<begin_of_image>", "<|User|>", "<|Assistant|>"]
    vocabulary = {name: index for index, name in enumerate([*controls[:3], *letters])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.add_special_tokens(controls[:4])
    tokenizer.add_tokens([AddedToken("ø", normalized=False)])
    tokenizer.add_special_tokens(controls[4:])
    return tokenizer


def janus_like() -> PaddedProtocol:
    text = TextTokenizer(tokenizer_with_high_control_tokens())
    last = max(text.tokenizer.get_vocab().values())
    return PaddedProtocol(
        text=text,
        instruction="<|User|>: {prompt}\n\n<|Assistant|>:",
        begin=text.id_of("<bos>"),
        turn_end=None,
        image_start=text.id_of("<begin_of_image>"),
        image_end=None,
        row_end=None,
        size_base=None,
        size_unit=1,
        code_base=last + 9,
        codes=6,
        factor=16,
        identifier_base=last + 1,
        identifiers=8,
        control=text.special_ids(),
    )


def test_a_protocol_with_roles_and_without_row_ends_or_sizes_fits():
    protocol, size = janus_like(), (48, 32)
    text = protocol.text
    assert protocol.layout(size) == Layout(2, 3, None)
    named = protocol.prompt("a [V] ø", size, (Identifier("[V]", "dog", protocol.identifier_base, 1),))
    colon, *_ = protocol.encode(":")
    assert named[:3] == [text.id_of("<bos>"), text.id_of("<|User|>"), colon]
    assert named[-3:] == [text.id_of("<|Assistant|>"), colon, text.id_of("<begin_of_image>")]
    assert protocol.identifier_base in named and text.id_of("ø") in named  # an ordinary letter with a high id
    assert named[: protocol.concept_position()] == named[:-1]
    assert protocol.image_block([[0, 1, 2], [3, 4, 5]], size) == [protocol.code_base + code for code in range(6)]
    with pytest.raises(TextError, match=r"<\|Assistant\|>"):
        protocol.prompt("a dog <|Assistant|>", size)


def test_an_engine_takes_every_protocols_unguided_row():
    """The guided logits are those of the two rows, computed one by one."""
    protocol, size = janus_like(), (48, 32)
    torch.manual_seed(0)
    dimensions = TransformerConfig(
        vocab_size=protocol.code_base + 6,
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
        head_first=protocol.code_base,
        head_size=6,
    )
    transformer = Transformer(dimensions).requires_grad_(False).eval()
    prompts = [protocol.prompt(text, size) for text in ("a dog", "a red dog in the snow")]
    guided = Engine(transformer, protocol, prompts, size, 3.0).prefill()
    for prompt, found in zip(prompts, guided, strict=True):
        conditional, unconditional = (
            transformer.image_logits(transformer(transformer.embed(torch.tensor([row])))[0, -1])
            for row in (prompt, protocol.unguided(prompt))
        )
        torch.testing.assert_close(found, unconditional + 3.0 * (conditional - unconditional), atol=1e-5, rtol=1e-4)


def test_a_family_with_its_own_architecture_says_so(tmp_path):
    """What config.json leaves out is the family's."""
    write_lumina(tmp_path)
    content = {key: value for key, value in config().items() if key not in ("rope_theta", "rms_norm_eps")}
    (tmp_path / "config.json").write_text(json.dumps(content), encoding="utf-8")
    assert ARModel.load(tmp_path).base.config.rope_theta == TransformerConfig().rope_theta
    other = replace(LUMINA_768, name="other", architecture={"rope_theta": 777.0, "rms_norm_eps": 1e-6})
    FAMILIES["other"] = other
    try:
        loaded = ARModel.load(tmp_path, family="other").base.config
    finally:
        del FAMILIES["other"]
    assert (loaded.rope_theta, loaded.rms_norm_eps) == (777.0, 1e-6)


def test_settings_need_no_tokenizer():
    assert SamplingSettings.resolve(LUMINA_768).size == (768, 768)


def test_a_tokenizer_for_meta_is_read_from_its_own_file(tmp_path):
    write_tokenizer(tmp_path / "text_tokenizer.json")
    protocol = LUMINA_768.bind(TextTokenizer.load(tmp_path / "text_tokenizer.json"))
    assert (protocol.image_start, protocol.image_end, protocol.size_base) == (8197, 8196, 8804)
