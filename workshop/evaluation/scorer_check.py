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
from ..making.siblings import any_subject
from ..world.drawing import draw_scene
from ..world.random_scenes import random_scene
from ..world.scenes import Scene
from ..world.vocabulary import PLACES
from .galleries import REFERENCES
from .intervals import Numbers, interval_table, wilson_interval
from .pictures import SIZE, distractors, held_out_scenes, paired_scenes, reconstructed_pictures
from .questions import questions_about

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

- retrieved: a new picture is nearest to 4 pictures of its subject and not to those of 18 others of its class, 3 of
  which have its very colours and another marking or skin (chance 0.05)
- rather the subject than the place: a picture is more like its subject at another place than like another subject of
  its class at the same place; a scorer that rewards copied backdrops fails here

{subjects}

## What a picture shows

The sentence chosen among those that differ in one thing (chance: class, colour and place 0.08, pattern 0.20, accessory
0.25; of two subjects, who stands left and which colour is whose: 0.50).

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
        others = distractors(rng, subject)
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
    for held_out in (False, True):
        scenes += paired_scenes(count // 2, "scored pairs", held_out)
    drawings = [draw_scene(scene, SIZE) for scene in scenes]
    versions = {"drawings": drawings, "reconstructions": reconstructed_pictures(model, drawings)}
    return {version: right_sentences(encoders, scenes, pictures) for version, pictures in versions.items()}


def right_sentences(encoders: Encoders, scenes: list[Scene], pictures: list[Image.Image]) -> dict[str, Numbers]:
    """By what is asked, how often the true sentence is the nearest to the picture."""
    hits: dict[str, list[bool]] = {}
    for scene, vector in zip(scenes, encoders.embed_images(pictures)[1], strict=True):
        for name, (sentences, right) in questions_about(scene).items():
            chosen = int((encoders.embed_texts(sentences) @ vector).argmax())
            hits.setdefault(name, []).append(chosen == right)
    return {name: wilson_interval(sum(found), len(found)) for name, found in hits.items()}


if __name__ == "__main__":
    main()
