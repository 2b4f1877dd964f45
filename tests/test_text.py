import pytest
from toy import FAMILY, toy_model

from ar_core.text import Identifier, TextError, check_identifier_name, resolve

V = Identifier("[V]", "dog", 1040, 2)
W = Identifier("[W]", "red hat", 1042, 1)
TEXT = toy_model().text


@pytest.mark.parametrize(
    "text, final",
    [
        ("a photo of [V] dog on the beach", "a photo of [V] dog on the beach"),
        ("a photo of [V] on the beach", "a photo of [V] dog on the beach"),
        ("[V]", "[V] dog"),
        ("[V] doghouse", "[V] dog doghouse"),
        ("[V] dog with [W] and [V]", "[V] dog with [W] red hat and [V] dog"),
        ("no subject here", "no subject here"),
    ],
)
def test_the_class_word_follows_every_identifier(text, final):
    assert resolve(text, (V, W)) == final


def test_an_unknown_bracketed_word_lists_those_available():
    with pytest.raises(TextError, match=r"\[X\], .*available: \[V\], \[W\]"):
        resolve("a photo of [X] dog", (V, W))
    with pytest.raises(TextError, match="not personalized"):
        resolve("a photo of [V] dog", ())


def test_a_dropped_identifier_leaves_the_class_word():
    dropped = Identifier("[V]", "dog", 1040, 2, dropped=True)
    assert resolve("a photo of [V] on the beach", (dropped,)) == "a photo of dog on the beach"


def test_identifier_tokens_replace_the_name_and_nothing_else():
    plain = TEXT.prompt_ids("a photo of dog", (96, 96))
    named = TEXT.prompt_ids("a photo of [V] dog", (96, 96), (V,))
    assert [i for i in named if i not in V.ids] == plain
    where = named.index(1040)
    assert named[where : where + 2] == [1040, 1041]
    assert named[0] == FAMILY.protocol.begin and named[-1] == FAMILY.protocol.turn_end


@pytest.mark.parametrize("text", ["a <reserved01036> dog", "an IMGIMGAZ dog", "<s>", "x<pad>"])
def test_control_tokens_in_a_users_text_are_refused_by_name(text):
    token = [word for word in text.replace("x", "").split() if "<" in word or "IMG" in word][0]
    with pytest.raises(TextError, match=token):
        TEXT.prompt_ids(text, (96, 96))


def test_other_scripts_are_text_and_unknown_words_are_reported():
    ids = TEXT.prompt_ids("Dog ü 狗 cobblestone on the beach", (96, 96))
    assert min(ids[1:-1]) >= FAMILY.protocol.first_text
    assert TEXT.unknown_words("[V] dog on Cobblestone 狗 beach") == ["cobblestone", "狗"]


def test_identifier_names():
    assert check_identifier_name("sks") == "[sks]"
    assert check_identifier_name(" [V] ") == "[V]"
    for bad in ("", "[a b]", "a[b]", "[]"):
        with pytest.raises(TextError, match="square brackets"):
            check_identifier_name(bad)
