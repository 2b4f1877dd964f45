"""Sheets of pictures with texts, whatever the texts are and whatever font this Pillow has."""

import pytest
from PIL import Image, ImageDraw, ImageFont

from ar_core import sheets
from ar_core.dreambench import sheet
from ar_core.dreambench.scoring import ScoredPicture, SubjectScores
from ar_core.sheets import loss_curves, picture_grid

NAMES = ["Łódź", "狗🐶", "plain", "\ud800", ""]


@pytest.mark.parametrize("font", ["usual", "bitmap"])
def test_any_text_can_stand_on_a_sheet(font, monkeypatch):
    if font == "bitmap":  # of a Pillow that was built without FreeType
        bitmap = getattr(ImageFont, "load_default_imagefont", ImageFont.load_default)()
        monkeypatch.setattr(sheets, "sheet_font", lambda size: bitmap)
    names = [name for name in NAMES if font == "bitmap" or name != "\ud800"]
    row = [Image.new("RGB", (9, 9), "red")] * len(names)
    grid = picture_grid([row], cell=64, columns=names, labels=[" ".join(names)], note="狗" * 40, title="Łódź")
    assert grid.width > 64 * len(names)
    assert loss_curves({"狗": [1.0, 0.5], "Łódź": [1.0]}).size == (900, 420)


# ---------------------------------------------------------------- nothing is cut, nothing overlaps

TEXTS = [
    "in the jungle",
    "a cat in the snow with a mountain in the background and a very long story about it that never ends",
    "Donaudampfschifffahrtsgesellschaftskapitänsmützenabzeichen" * 3,
    "a Donaudampfschifffahrtsgesellschaftskapitänsmützenabzeichen in the snow",
    "狗" * 90,
    "W" * 400 + " " + "i" * 400,
    "one\ntwo\n" * 9,
    "",
]


@pytest.fixture(params=["usual", "bitmap"])
def font(request, monkeypatch):
    """Both kinds of font that a Pillow may have."""
    if request.param == "bitmap":
        bitmap = getattr(ImageFont, "load_default_imagefont", ImageFont.load_default)()
        monkeypatch.setattr(sheets, "sheet_font", lambda size: bitmap)
        monkeypatch.setattr(sheet, "sheet_font", lambda size: bitmap)
    return request.param


@pytest.fixture
def written(monkeypatch):
    """Every text that is written: the rectangle that it takes."""
    boxes = []
    original = ImageDraw.ImageDraw.text

    def text(pen, place, words, *arguments, **options):
        face = next(value for value in arguments if hasattr(value, "getlength"))
        x, y = place
        boxes.append((x, y, x + face.getlength(words), y + 11, words))  # letters of the smallest font are 11 high
        return original(pen, place, words, *arguments, **options)

    monkeypatch.setattr(ImageDraw.ImageDraw, "text", text)
    return boxes


def assert_readable(boxes, drawn):
    assert boxes
    for left, top, right, bottom, words in boxes:
        assert left >= 0 and right <= drawn.width and top >= 0 and bottom <= drawn.height, words
    for number, one in enumerate(boxes):
        for other in boxes[:number]:
            apart = one[2] <= other[0] or other[2] <= one[0] or one[3] <= other[1] or other[3] <= one[1]
            assert apart or not one[4] or not other[4], (one, other)


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("cell", [64, 128])
def test_heads_of_columns_are_neither_cut_nor_overlap(text, cell, font, written):
    row = [Image.new("RGB", (9, 9), "red")] * 3
    grid = picture_grid([row], cell=cell, columns=[text, text, "short"], labels=[text], note=text, title=text)
    assert_readable(written, grid)


def test_a_short_head_stands_where_it_stood_and_a_long_one_gets_lines(written):
    row = [Image.new("RGB", (9, 9), "red")]
    plain = picture_grid([row], cell=128, columns=["short"])
    assert written[0][:2] == (10, 12) and plain.height == 10 + 28 + 128 + 10 + 10
    longer = picture_grid([row], cell=128, columns=["a cat in the snow with a mountain behind it, far away from home"])
    assert longer.height == plain.height + 2 * 22 and written[-1][4].endswith("…")


def test_a_text_is_cut_only_where_it_does_not_fit():
    face = sheets.sheet_font(15)
    assert sheets.shorten_text("in the jungle", 200, face) == "in the jungle"
    cut = sheets.shorten_text("in the jungle " * 20, 200, face)
    assert cut.endswith("…") and 150 < face.getlength(cut) <= 200
    assert "".join(sheets.wrap_text("Donaudampfschiff" * 9, 200, face)) == "Donaudampfschiff" * 9
    assert sheets.wrap_text("in the jungle", 200, face, 1) == ["in the jungle"]


@pytest.mark.parametrize("text", TEXTS)
def test_scores_and_prompts_below_pictures_neither_overlap_nor_are_cut(text, font, written):
    measures = ("DINO", "CLIP-I", "CLIP-T", "DINOv2", "first in gallery")
    pictures = tuple(
        ScoredPicture("cup", text, str(number), "", (-0.25, 0.5, float("nan"), -0.75, 1.0), 0.9, True)
        for number in range(8)
    )
    scored = SubjectScores("s" * 80, measures, pictures, {}, 0.1, 0.1)
    square = Image.new("RGB", (9, 9))
    assert_readable(written, sheet.score_sheet(scored, [square], lambda picture: square))


def test_names_of_curves_do_not_overlap(written):
    curves = {name: [1.0, 0.5] for name in ("two stages of training with LoRA", "joint training of everything", "base")}
    assert_readable(written, loss_curves(curves))
