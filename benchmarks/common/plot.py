"""The ratios of `benchmarks.decode` as a picture: bars, one panel per question, the machine below."""

from __future__ import annotations

from PIL import Image, ImageDraw

from ar_core.quantization import SCHEMES
from ar_core.sheets import BACKGROUND, FAINT, GAP, INK, LINES, sheet_font, wrap_text

WIDTH = 900  # pixels, as the others
BAR = 22
LABEL = 300
Panel = tuple[str, dict[str, float]]  # title, ratio by label


def ratio_panels(summary: dict) -> list[Panel]:
    """What a result of `benchmarks.decode` says, question by question."""
    precisions = {
        name: value for name, value in summary.items() if isinstance(value, dict) and "sequential_over_naive" in value
    }
    over_naive = {}
    for name, found in precisions.items():
        label = f"{name} over bf16" if name in SCHEMES else name
        over_naive[f"{label}, one at a time"] = found["sequential_over_naive"]
        over_naive[f"{label}, best exact setting"] = found["best_exact_over_naive"]
    jacobi = {
        f"{name}, window {window}": ratio
        for name, found in precisions.items()
        for window, ratio in found["jacobi_by_window"].items()
    }
    steps = {f"window {window}": found["steps_ratio"] for window, found in summary["miniature_by_window"].items()}
    return [
        ("Codes per second; upstream's way is 1 (101M layer parameters)", over_naive),
        ("Codes per second with a window; one at a time is 1 (simulated rate of kept guesses)", jacobi),
        ("Fewer steps per picture on the miniature, real acceptance, guidance 4", steps),
    ]


def draw_ratios(summary: dict) -> Image.Image:
    """A sheet with every panel that has a bar."""
    shown = [(title, values) for title, values in ratio_panels(summary) if values]
    note = f"{summary['machine']}; {summary['tokens']} codes of {summary['size']}, {summary['repetitions']} repetitions"
    foot = wrap_text(note, WIDTH - 2 * GAP, sheet_font(14))
    height = sum(46 + BAR * len(values) for _, values in shown) + 20 * len(foot) + 2 * GAP
    sheet = Image.new("RGB", (WIDTH, height), BACKGROUND)
    pen = ImageDraw.Draw(sheet)
    y: float = GAP
    for index, (title, values) in enumerate(shown):
        pen.text((GAP, y), title, INK, sheet_font(18))
        y = draw_bars(pen, y + 28, values, LINES[index]) + 18
    for line in foot:
        pen.text((GAP, y), line, FAINT, sheet_font(14))
        y += 20
    return sheet


def draw_bars(pen: ImageDraw.ImageDraw, y: float, values: dict[str, float], colour: tuple[int, int, int]) -> float:
    """One bar per value from `y` on, with a line at 1; returns where it ends."""
    unit = (WIDTH - LABEL - 80) / max(1.0, *values.values())
    end = y + BAR * len(values)
    for place, (label, value) in enumerate(values.items()):
        top = y + BAR * place
        pen.text((GAP, top + 2), label, INK, sheet_font(14))
        pen.rectangle((LABEL, top + 3, LABEL + unit * value, top + BAR - 3), fill=colour)
        pen.text((LABEL + unit * value + 8, top + 2), f"{value:.2f}x", INK, sheet_font(14))
    pen.line((LABEL + unit, y, LABEL + unit, end), FAINT)
    return end
