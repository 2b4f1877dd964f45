from ar_core.quoting import LONGEST, quoted


def test_what_was_typed_stays_on_one_line_and_can_be_seen():
    assert quoted("red dog 🐶") == '"red dog 🐶"'
    assert quoted("a\nb\x00\u200b\ud800") == '"a\\nb\\x00\\u200b\\ud800"'
    assert quoted(7) == '"7"'


def test_nobody_reads_a_thousand_letters():
    assert quoted("x" * 1000) == f'"{"x" * LONGEST}"'
