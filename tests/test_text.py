import pytest
from toy import toy_protocol

from ar_core.text import (
    Identifier,
    TextError,
    check_class_name,
    check_identifier_name,
    plain_words,
    resolve_prompt,
    split_at_identifiers,
)

V = Identifier("[V]", "dog", 1040, 2)
W = Identifier("[W]", "red hat", 1042, 1)
PROTOCOL = toy_protocol()
SIZE = (96, 96)


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
    assert resolve_prompt(text, (V, W)) == final


@pytest.mark.parametrize(
    "noun, following",
    [
        ("dog", "Dog"),
        ("dog", "DOGS on the beach"),
        ("dog", "dogs, playing"),
        ("dog", "dog's bowl"),
        ("dog", "-dog"),
        ("dog", "(dog)"),
        ("dog", '"dog" in the snow'),
        ("Dog", "dog"),
        ("puppy", "puppies"),
        ("loaf", "loaves of bread"),
        ("wooden knife", "Wooden Knives"),
        ("mouse", "mice"),
        ("box", "boxes"),
        ("coffee mug", "coffee\u00a0mug"),
        ("coffee mug", "coffee-mug"),
        ("teddy-bear", "teddy bear"),
        ("AC\\DC dog", "AC\\DC dog"),
        ("St. Bernard", "st. bernard"),
        ("toy (red)", "toy (red)"),
        ("C++", "C++ book"),
        ("café", "cafe\u0301 sign"),
        ("cafe\u0301", "CAFÉ"),
        ("straße", "STRASSE"),
        ("犬", "犬が海岸にいる"),
        ("狗", "狗在海滩上"),
        ("개", "개가 해변에"),
        ("หมา", "หมาบนชายหาด"),
    ],
)
def test_a_class_word_is_recognised_as_a_person_would(noun, following):
    identifier = Identifier("[V]", noun, 1040, 1)
    for prompt in (f"[V] {following}", f"a photo of [V]{following}"):
        assert resolve_prompt(prompt, (identifier,)) == prompt


@pytest.mark.parametrize(
    "noun, following",
    [
        ("dog", "doghouse"),
        ("dog", "dogma"),
        ("cat", "catsuit"),
        ("dog", "and a dog"),
        ("dog", ", dog"),
        ("AC\\DC dog", "on the beach"),
        ("a+", "aa"),
        (".", "x"),
        ("café", "cafeteria"),
        ("犬", "が海岸にいる"),
        ("dog", "dog\u0301"),
    ],
)
def test_a_missing_class_word_is_put_in_as_it_is_written(noun, following):
    identifier = Identifier("[V]", noun, 1040, 1)
    assert resolve_prompt(f"[V] {following}", (identifier,)) == f"[V] {noun} {following}"


@pytest.mark.parametrize(
    "text, final",
    [
        ("[V]'s dog on the beach", "[V] dog on the beach"),
        ("[V]\u2019s Dog on the beach", "[V] Dog on the beach"),
        ("[V]'S DOG", "[V] DOG"),
        ("[V]'s dog's bowl", "[V] dog's bowl"),
        ("[V]'s bowl", "[V] dog's bowl"),
        ("[V]'s doghouse", "[V] dog's doghouse"),
        ("[V]'s", "[V] dog's"),
        ("[V]'spare dog", "[V] dog'spare dog"),
        ("[W]'s red hat and [V]'s dog", "[W] red hat and [V] dog"),
    ],
)
def test_a_possessive_before_the_class_word_means_the_subject_itself(text, final):
    assert resolve_prompt(text, (V, W)) == final


@pytest.mark.parametrize("unseen", ["\u200b", "\ufeff", "\u200e", "\u2060", "\u00ad", "\u200d"])
def test_letters_that_nobody_sees_are_no_part_of_names(unseen):
    assert check_class_name(f"{unseen}d{unseen}og{unseen}") == "dog"
    assert check_identifier_name(f"{unseen}[V{unseen}]{unseen}") == check_identifier_name(f"V{unseen}") == "[V]"
    for prompt in (f"[V{unseen}] on the beach", f"[{unseen}V] on the beach"):
        assert resolve_prompt(prompt, (V,)) == "[V] dog on the beach"
    for following in (f" {unseen}dog", f"{unseen} dog", f" d{unseen}og"):
        assert resolve_prompt(f"[V]{following} runs", (V,)) == f"[V]{following} runs"
    with pytest.raises(TextError, match="empty"):
        check_class_name(unseen)


@pytest.mark.parametrize("word", ["\u0646\u06cc\u0645\u200c\u0641\u0627\u0635\u0644\u0647", "\u0915\u094d\u200d\u0937"])
def test_joiners_stay_in_scripts_that_spell_with_them(word):
    assert check_class_name(word) == word
    identifier = Identifier("[V]", word, 1040, 1)
    assert resolve_prompt(f"[V] {word}", (identifier,)) == f"[V] {word}"
    assert resolve_prompt(f"[V] {word.replace(chr(0x200C), '')}", (identifier,)).startswith("[V] ")


def test_a_dropped_identifier_takes_its_possessive_along():
    dropped = Identifier("[V]", "dog", 1040, 2, dropped=True)
    assert resolve_prompt("a photo of [V]'s dog on the beach", (dropped,)) == "a photo of dog on the beach"
    assert resolve_prompt("[V]'s bowl", (dropped,)) == "dog's bowl"


def test_an_unknown_bracketed_word_lists_those_available():
    with pytest.raises(TextError, match=r"\[X\], .*available: \[V\], \[W\]"):
        resolve_prompt("a photo of [X] dog", (V, W))
    with pytest.raises(TextError, match="not personalized"):
        resolve_prompt("a photo of [V] dog", ())


def test_a_dropped_identifier_leaves_the_class_word():
    dropped = Identifier("[V]", "dog", 1040, 2, dropped=True)
    assert resolve_prompt("a photo of [V] on the beach", (dropped,)) == "a photo of dog on the beach"
    assert resolve_prompt("a photo of [V] Dogs on the beach", (dropped,)) == "a photo of Dogs on the beach"
    for joint in ("-", " - ", "\u2011", "  "):
        assert resolve_prompt(f"a photo of [V]{joint}dog on the beach", (dropped,)) == "a photo of dog on the beach"


def test_identifier_tokens_replace_the_name_and_nothing_else():
    plain = PROTOCOL.prompt("a photo of dog", SIZE)
    named = PROTOCOL.prompt("a photo of [V] dog", SIZE, (V,))
    assert [i for i in named if i not in V.ids] == plain
    where = named.index(1040)
    assert named[where : where + 2] == [1040, 1041]
    turn = named[: PROTOCOL.concept_position()]
    assert turn[0] == PROTOCOL.begin and turn[-1] == PROTOCOL.turn_end
    assert named == turn + PROTOCOL.header(SIZE)


@pytest.mark.parametrize(
    "text, pieces",
    [
        ("a dog", ["a dog"]),
        ("", [""]),
        ("[V]", ["", V, ""]),
        ("a [V] dog in a [W] red hat", ["a ", V, " dog in a ", W, " red hat"]),
        ("[W][V][X]", ["", W, "", V, "[X]"]),
    ],
)
def test_a_prompt_is_cut_at_its_identifiers(text, pieces):
    assert split_at_identifiers(text, (V, W)) == pieces


@pytest.mark.parametrize("text", ["[V] dog", "a photo of [V] dog and [W] red hat", "[V] [W]"])
def test_the_space_before_an_identifier_belongs_to_it(text):
    ids = PROTOCOL.prompt(text, SIZE, (V, W))
    words = [token for token in ids if token not in V.ids + W.ids]
    assert words == PROTOCOL.prompt(text.replace(" [V]", "").replace("[V]", "").replace(" [W]", ""), SIZE)


@pytest.mark.parametrize("text", ["a <reserved01036> dog", "an IMGIMGAZ dog", "<s>", "x<pad>"])
def test_control_tokens_in_a_users_text_are_refused_by_name(text):
    token = [word for word in text.replace("x", "").split() if "<" in word or "IMG" in word][0]
    with pytest.raises(TextError, match=token):
        PROTOCOL.prompt(text, SIZE)


def test_other_scripts_are_text_and_unknown_words_are_reported():
    ids = PROTOCOL.prompt("Dog ü 狗 cobblestone on the beach", SIZE)
    turn = ids[1 : PROTOCOL.concept_position() - 1]
    assert not any(PROTOCOL.is_control(token) for token in turn)
    assert PROTOCOL.text.tokenizer.decode(turn) == "Draw 96x96:\nDog ü 狗 cobblestone on the beach"
    assert PROTOCOL.text.unknown_words("[V] dog on Cobblestone 狗 beach") == ["cobblestone", "狗"]


def test_identifier_names():
    assert check_identifier_name("sks") == "[sks]"
    assert check_identifier_name(" [V] ") == "[V]"
    for bad in ("", "[a b]", "a[b]", "[]"):
        with pytest.raises(TextError, match="square brackets"):
            check_identifier_name(bad)


def test_class_names():
    assert check_class_name("  coffee   mug ") == "coffee mug"
    for bad in ("[V] cat", "a small brown dog with a hat", "x" * 41):
        with pytest.raises(TextError, match="one or two words"):
            check_class_name(bad)
    with pytest.raises(TextError, match="is empty"):
        check_class_name(" ")


def test_a_prompt_of_a_whole_book_is_refused_before_it_is_drawn():
    with pytest.raises(TextError, match="at most 1024 are read"):
        PROTOCOL.prompt("dog " * 2000, SIZE)


@pytest.mark.parametrize(
    "prompt, found",
    [
        ("a dog (red hat:1.3) BREAK a cat", ["(red hat:1.3)", "BREAK"]),
        ("<lora:dog:0.8> a dog", ["<lora:dog:0.8>"]),
        ("a dog (with a hat), at 10:30", []),
    ],
)
def test_what_other_software_reads_as_weights_is_found(prompt, found):
    assert plain_words(prompt) == found
