"""One picture of a subject's scores, for an eye to judge."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from PIL import Image, ImageDraw

from ..sheets import BACKGROUND, GAP, INK, fit_into_cell, sheet_font
from .scoring import ScoredPicture, SubjectScores

CELL = 192  # pixels
HEAD = 40  # of the title
TEXT = 64  # below a picture
REFERENCES = 4  # columns at least
SHOWN = 6  # columns at most
LETTERS = 28  # of a prompt in one line
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
    height = HEAD + CELL + GAP + rows * (CELL + TEXT + GAP)
    canvas = Image.new("RGB", (across * (CELL + GAP) + GAP, height), BACKGROUND)
    pen = ImageDraw.Draw(canvas)
    pen.text(
        (GAP, GAP), f"{subject.subject}: photos, then pictures with {' | '.join(subject.measures)}", INK, sheet_font(18)
    )
    for column, photo in enumerate(photos[:across]):
        canvas.paste(fit_into_cell(photo, CELL), (GAP + column * (CELL + GAP), HEAD))
    frames = frame_colours(pictures)
    for index, picture in enumerate(pictures):
        row, column = divmod(index, across)
        x = GAP + column * (CELL + GAP)
        y = HEAD + CELL + GAP + row * (CELL + TEXT + GAP)
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


def write_scores(pen: ImageDraw.ImageDraw, x: int, y: int, picture: ScoredPicture) -> None:
    """Scores and prompt below a picture."""
    numbers = " | ".join(f"{value:.2f}" for value in picture.values)
    if picture.copied:
        numbers += "  copy?"
    pen.text((x, y + 2), numbers, INK, sheet_font(14))
    for line, words in enumerate(wrap_prompt(picture.prompt, LETTERS)[:2]):
        pen.text((x, y + 20 + 18 * line), words, INK, sheet_font(13))


def wrap_prompt(text: str, letters: int) -> list[str]:
    """`text` in lines of fewer than `letters` where its words allow."""
    lines = [""]
    for word in text.split():
        if len(lines[-1]) + len(word) >= letters:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return lines
