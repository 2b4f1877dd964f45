"""One picture of a subject's scores, for an eye to judge."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from PIL import Image, ImageDraw

from ..sheets import BACKGROUND, GAP, HEAD_LINE, INK, fit_into_cell, sheet_font, wrap_text
from .scoring import ScoredPicture, SubjectScores

CELL = 192  # pixels
LINE = 18  # of text below a picture
PROMPT_LINES = 2
TEXT = LINE * PROMPT_LINES + 10  # below a picture, beside its scores
REFERENCES = 4  # columns at least
SHOWN = 6  # columns at most
BEST = (46, 160, 67)  # colour of the frame
WORST = (207, 34, 46)


def score_sheet(
    subject: SubjectScores, photos: Sequence[Image.Image], open_picture: Callable[[ScoredPicture], Image.Image]
) -> Image.Image:
    """Photos in the first row; below, pictures by prompt with their scores.

    The best is framed green and the worst red, by the sum of the first and the last measure.
    """
    pictures = subject.pictures
    across = max(REFERENCES, min(SHOWN, len(pictures)))
    rows = -(-len(pictures) // across)
    text = TEXT + LINE * max(len(score_lines(picture)) for picture in pictures)
    width = across * (CELL + GAP) + GAP
    title = f"{subject.subject}: photos, then pictures with {' | '.join(subject.picture_measures)}"
    heading = wrap_text(title, width - 2 * GAP, sheet_font(18))
    head = HEAD_LINE * len(heading) + 18
    canvas = Image.new("RGB", (width, head + CELL + GAP + rows * (CELL + text + GAP)), BACKGROUND)
    pen = ImageDraw.Draw(canvas)
    for number, line in enumerate(heading):
        pen.text((GAP, GAP + HEAD_LINE * number), line, INK, sheet_font(18))
    for column, photo in enumerate(photos[:across]):
        canvas.paste(fit_into_cell(photo, CELL), (GAP + column * (CELL + GAP), head))
    frames = frame_colours(pictures)
    for index, picture in enumerate(pictures):
        row, column = divmod(index, across)
        x = GAP + column * (CELL + GAP)
        y = head + CELL + GAP + row * (CELL + text + GAP)
        canvas.paste(fit_into_cell(open_picture(picture), CELL), (x, y))
        if index in frames:
            pen.rectangle((x - 3, y - 3, x + CELL + 2, y + CELL + 2), outline=frames[index], width=4)
        write_scores(pen, x, y + CELL, picture)
    return canvas


def frame_colours(pictures: Sequence[ScoredPicture]) -> dict[int, tuple[int, int, int]]:
    """The colours of the best and of the worst picture's frame; none where they are the same."""
    ranked = sorted(range(len(pictures)), key=lambda index: pictures[index].values[0] + pictures[index].values[2])
    if len(ranked) < 2:
        return {}
    return {ranked[-1]: BEST, ranked[0]: WORST}


def score_lines(picture: ScoredPicture) -> list[str]:
    """A picture's numbers, in lines that fit below it."""
    numbers = " | ".join(number_on_sheet(value) for value in picture.values)
    if picture.copied:
        numbers += "  copy?"
    return wrap_text(numbers, CELL, sheet_font(14))


def number_on_sheet(value: float) -> str:
    """Two digits, or for NaN a hyphen: Pillow's font has no dash."""
    if math.isnan(value):
        return "-"
    return f"{value:.2f}"


def write_scores(pen: ImageDraw.ImageDraw, x: int, y: int, picture: ScoredPicture) -> None:
    """Scores and prompt below a picture."""
    scores = score_lines(picture)
    for number, line in enumerate(scores):
        pen.text((x, y + 2 + LINE * number), line, INK, sheet_font(14))
    y += LINE * len(scores) + 2
    for words in wrap_text(picture.prompt, CELL, sheet_font(13), PROMPT_LINES):
        pen.text((x, y), words, INK, sheet_font(13))
        y += LINE
