"""Sheets of pictures with texts, whatever the texts are and whatever font this Pillow has."""

import pytest
from PIL import Image, ImageFont

from ar_core import sheets
from ar_core.sheets import loss_curves, picture_grid

NAMES = ["Łódź", "狗🐶", "plain", "\ud800", ""]


@pytest.mark.parametrize("font", ["usual", "bitmap"])
def test_any_text_can_stand_on_a_sheet(font, monkeypatch):
    if font == "bitmap":  # of a Pillow that was built without FreeType
        bitmap = getattr(ImageFont, "load_default_imagefont", ImageFont.load_default)()
        monkeypatch.setattr(sheets, "sheet_font", lambda size: bitmap)
    names = [name for name in NAMES if font == "bitmap" or name != "\ud800"]
    row = [Image.new("RGB", (9, 9), "red")] * len(names)
    sheet = picture_grid([row], cell=64, columns=names, labels=[" ".join(names)], note="狗" * 40, title="Łódź")
    assert sheet.width > 64 * len(names)
    assert loss_curves({"狗": [1.0, 0.5], "Łódź": [1.0]}).size == (900, 420)
