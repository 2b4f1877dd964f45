"""Samples of the base model: combinations that training left out, and two subjects side by side."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image

from ar_core.files import write_image
from ar_core.sampling import SamplingSettings
from ar_core.sheets import picture_grid

from ..making.facts import captioned_attributes, side_attributes
from ..world.captions import describe_scene
from ..world.scenes import Scene
from .accuracies import judged_accuracies, pair_accuracies
from .intervals import Numbers
from .pictures import CELL, held_out_scenes, paired_scenes
from .setup import Setup

IN_A_ROW = 8  # pictures of a sheet
ROWS = 4
KINDS_OF_PAIRS = {"seen": False, "held out": True}  # whether training left out both of the combinations

Rows = dict[str, dict[str, Numbers]]  # by what was sampled and how


def guidance_title(cfg: float) -> str:
    """The name of a row."""
    return f"cfg {cfg:g}"


def held_out_samples(setup: Setup) -> Rows:
    """Samples of combinations that training left out, at several strengths of guidance."""
    scenes = sampled_scenes(setup.effort.images)
    truth = [captioned_attributes(scene) for scene in scenes]
    found = {}
    shown = {}
    for cfg in setup.effort.guidances_with(setup.cfg):
        pictures = pictures_of_scenes(setup, "held-out", scenes, cfg)
        found[guidance_title(cfg)] = judged_accuracies(truth, setup.judges.attributes.answers(pictures))
        shown[guidance_title(cfg)] = pictures
    write_sheet(setup, "samples", scenes, shown)
    return found


def pair_samples(setup: Setup) -> Rows:
    """Samples of two subjects with positions, at several strengths of guidance."""
    found = {}
    for kind, held_out in KINDS_OF_PAIRS.items():
        scenes = sampled_pairs(setup.effort.pairs, held_out)
        truth = [side_attributes(scene) for scene in scenes]
        shown = {}
        for cfg in setup.effort.guidances_with(setup.cfg):
            title = f"{kind}, {guidance_title(cfg)}"
            pictures = pictures_of_scenes(setup, f"pairs-{kind.replace(' ', '-')}", scenes, cfg)
            found[title] = pair_accuracies(truth, setup.judges.pairs.answers(pictures))
            shown[title] = pictures
        write_sheet(setup, f"pairs_{kind.replace(' ', '_')}", scenes, shown)
    return found


def sampled_scenes(count: int) -> list[Scene]:
    """The scenes that are asked for: the first of them are the same for every count."""
    return held_out_scenes(count, "sampled scenes")


def sampled_pairs(count: int, held_out: bool) -> list[Scene]:
    """The pairs that are asked for."""
    return paired_scenes(count, "sampled pairs", held_out)


def pictures_of_scenes(setup: Setup, name: str, scenes: Sequence[Scene], cfg: float) -> list[Image.Image]:
    """One sample of every scene's sentence."""
    settings = SamplingSettings.resolve(setup.model.family, seed=0, cfg=cfg)
    prompts = [describe_scene(scene) for scene in scenes]
    return setup.samples.of_prompts(f"{name}-{cfg:g}", prompts, settings)


def write_sheet(setup: Setup, name: str, scenes: Sequence[Scene], shown: dict[str, list[Image.Image]]) -> None:
    """The first pictures of each of the `shown`, with their sentences."""
    rows = []
    labels = []
    for title, pictures in shown.items():
        for start in range(0, min(ROWS * IN_A_ROW, len(pictures)), IN_A_ROW):
            rows.append(pictures[start : start + IN_A_ROW])
            sentences = [describe_scene(scene) for scene in scenes[start : start + IN_A_ROW]]
            labels.append(f"{title}: " + "  |  ".join(sentences))
    write_image(setup.sheets / f"{name}.png", picture_grid(rows, cell=CELL, labels=labels))
