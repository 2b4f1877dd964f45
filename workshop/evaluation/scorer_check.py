"""Shows on held-out scenes how well the miniature's scorers tell subjects, places and colours apart; writes their card.

python -m workshop.evaluation.scorer_check
"""

from __future__ import annotations

import argparse
import random
from dataclasses import replace
from pathlib import Path

from PIL import Image

from ar_core.dreambench.encoders import MINIATURE_ENCODERS, MINIATURE_SCORERS, Encoders
from ar_core.files import write_json, write_text
from ar_core.model import ARModel

from ..machine import machine
from ..making.lessons import any_subject
from ..world.captions import with_article
from ..world.drawing import draw_scene
from ..world.random_scenes import random_scene
from ..world.scenes import Scene, Subject
from ..world.vocabulary import ACCESSORIES, CLASSES, COLOURS, PATTERNS, PLACES, in_colour
from .evaluation import REFERENCES, SIZE
from .intervals import Numbers, interval_table, wilson_interval
from .pictures import distractors_of_class, held_out_scenes, reconstructed_pictures

Table = dict[str, dict[str, Numbers]]

CARD = """# The miniature's scorers

Licence: Apache-2.0

Two small encoders in transformers' formats, trained from nothing by `python -m workshop.making.scorer_training` on
drawings that `workshop/world/` makes. They stand where DINO ViT-S/16 and CLIP ViT-B/32 stand in DreamBench, so that
scoring works without a download. They are neither: both are supervised, they know nothing but these drawings, and their
numbers compare with nothing published.

- `identity` (ViT, 64 px): close for pictures of one subject at different places. Gives mini-ID.
- `pairs` (CLIP-shaped, 64 px): pictures and sentences. Gives mini-CLIP-I and mini-CLIP-T.

Measured by `python -m workshop.evaluation.scorer_check` on {machine}, {images} scenes whose class, colour and pattern
never met in the miniature's training (the scorers saw all combinations). Brackets hold 95 % intervals.

## Subjects

- retrieved: a new picture is nearest to 4 pictures of its subject and not to those of 15 others of its class (chance
  0.06)
- rather the subject than the place: a picture is more like its subject at another place than like another subject of
  its class at the same place; a scorer that rewards copied backdrops fails here

{subjects}

## What a picture shows

The sentence chosen among those that differ in one thing (chance: class, colour and place 0.08, pattern 0.20, accessory
0.25).

{shown}
"""


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m workshop.evaluation.scorer_check",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--folder", type=Path, default=MINIATURE_SCORERS, help="the scorers; the card goes there too")
    parser.add_argument("--images", type=int, default=500)
    arguments = parser.parse_args()
    choice = replace(MINIATURE_ENCODERS, vit=arguments.folder / "identity", clip=arguments.folder / "pairs")
    encoders = Encoders.load(choice)
    model = ARModel.load()
    table = {
        "subjects": check_subjects(encoders, model, arguments.images),
        "shown": check_sentences(encoders, model, arguments.images),
    }
    write_json(arguments.folder / "table.json", {"images": arguments.images, "machine": machine(), **table})
    texts = {name: "\n".join(interval_table(rows)) for name, rows in table.items()}
    write_text(arguments.folder / "SCORER_CARD.md", CARD.format(machine=machine(), images=arguments.images, **texts))
    print(texts["subjects"], texts["shown"], sep="\n\n")


def check_subjects(encoders: Encoders, model: ARModel, count: int) -> Table:
    """Retrieval and subject-over-place, for the ViT and for the CLIP, as drawn and through the image tokenizer."""
    rng = random.Random("scored identities")
    retrieved: dict[str, int] = {}
    rather_subject: dict[str, int] = {}
    for _ in range(count):
        subject = any_subject(rng)
        others = distractors_of_class(rng, subject.kind)
        places = rng.sample(list(PLACES), REFERENCES + 1)
        drawing = draw_scene(random_scene(rng, subject, places[-1]), SIZE)
        gallery = [
            draw_scene(random_scene(rng, who, place), SIZE) for who in (subject, *others) for place in places[:-1]
        ]
        backdrop = draw_scene(random_scene(rng, others[0], places[-1]), SIZE)
        versions = {"drawings": drawing, "reconstructions": reconstructed_pictures(model, [drawing])[0]}
        for version, picture in versions.items():
            by_vit, by_clip = encoders.embed_images([picture, backdrop, *gallery])
            for encoder, vectors in (("identity", by_vit), ("pairs", by_clip)):
                name = f"{encoder}, {version}"
                similar = (vectors[2:] @ vectors[0]).view(len(others) + 1, REFERENCES)
                nearest = int(similar.mean(1).argmax())
                retrieved[name] = retrieved.get(name, 0) + (nearest == 0)
                to_subject = float(similar[0].mean())
                to_place = float(vectors[1] @ vectors[0])
                rather_subject[name] = rather_subject.get(name, 0) + (to_subject > to_place)
    return {
        name: {
            "retrieved": wilson_interval(retrieved[name], count),
            "rather the subject than the place": wilson_interval(rather_subject[name], count),
        }
        for name in retrieved
    }


def check_sentences(encoders: Encoders, model: ARModel, count: int) -> Table:
    """Share of right sentences by what they differ in."""
    scenes = held_out_scenes(count, "scored scenes")
    drawings = [draw_scene(scene, SIZE) for scene in scenes]
    versions = {"drawings": drawings, "reconstructions": reconstructed_pictures(model, drawings)}
    return {version: right_sentences(encoders, scenes, pictures) for version, pictures in versions.items()}


def right_sentences(encoders: Encoders, scenes: list[Scene], pictures: list[Image.Image]) -> dict[str, Numbers]:
    """By attribute, how often the true sentence is the nearest to the picture."""
    hits: dict[str, list[bool]] = {}
    for scene, vector in zip(scenes, encoders.embed_images(pictures)[1], strict=True):
        for name, (sentences, right) in questions_about(scene).items():
            chosen = int((encoders.embed_texts(sentences) @ vector).argmax())
            hits.setdefault(name, []).append(chosen == right)
    return {name: wilson_interval(sum(found), len(found)) for name, found in hits.items()}


def questions_about(scene: Scene) -> dict[str, tuple[list[str], int]]:
    """By attribute: sentences that differ in it alone, and which of them is true."""
    subject = scene.subject
    kind = subject.kind
    place = PLACES[scene.place]
    colour = subject.words.split(" ")[0]
    of_classes = [f"{with_article(name)} {place}" for name in CLASSES]
    of_colours = [f"{with_article(f'{name} {kind}')} {place}" for name in COLOURS]
    of_patterns = [with_article(f"{words} {kind}") for words in pattern_words(subject, colour)]
    of_places = [f"{with_article(kind)} {words}" for words in PLACES.values()]
    asked = {
        "class": (of_classes, CLASSES.index(kind)),
        "colour": (of_colours, list(COLOURS).index(colour)),
        "pattern": (of_patterns, PATTERNS.index(subject.pattern)),
        "place": (of_places, list(PLACES).index(scene.place)),
    }
    if subject.accessory:
        worn_colour = subject.accessory_words.removeprefix("a ").removesuffix(subject.accessory).strip()
        worn = [f"{with_article(kind)} wearing {in_colour(worn_colour, other)}" for other in ACCESSORIES]
        asked["accessory"] = (worn, ACCESSORIES.index(subject.accessory))
    return asked


def pattern_words(subject: Subject, colour: str) -> list[str]:
    """The adjectives for each pattern; for the subject's own those of its captions."""
    second = "black" if colour == "white" else "white"
    words = {name: f"{colour} {name}" for name in PATTERNS}
    words["plain"] = colour
    words["two-tone"] = f"{colour} and {second}"
    words[subject.pattern] = subject.words
    return list(words.values())


if __name__ == "__main__":
    main()
