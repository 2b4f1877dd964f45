"""Shows on held-out scenes how well the miniature's scorers tell subjects, places and colours apart; writes their card.

python -m workshop.evaluation.scorer_check
"""

from __future__ import annotations

import argparse
import random
from dataclasses import replace
from pathlib import Path

from ar_core.dreambench.encoders import MINIATURE, MINIATURE_SCORERS, Encoders
from ar_core.files import write_json, write_text
from ar_core.model import ARModel

from ..world.drawing import draw
from ..world.scenes import ACCESSORIES, CLASSES, COLOURS, PATTERNS, PLACES, Scene, random_scene, with_article
from .evaluate import REFERENCES, SIZE, held_out_scenes, machine, reconstructed, rows_of, same_class, wilson
from .judges import anyone

CARD = """# The miniature's scorers

Licence: Apache-2.0

Two small encoders in transformers' formats, trained from nothing by `python -m workshop.making.scorer_training` on drawings
that `workshop/world/` makes. They stand where DINO ViT-S/16 and CLIP ViT-B/32 stand in DreamBench, so that scoring works
without a download. They are neither: both are supervised, they know nothing but these drawings, and their numbers compare with
nothing published.

- `identity` (ViT, 64 px): close for pictures of one subject at different places. Gives mini-ID.
- `pairs` (CLIP-shaped, 64 px): pictures and sentences. Gives mini-CLIP-I and mini-CLIP-T.

Measured by `python -m workshop.evaluation.scorer_check` on {machine}, {images} scenes whose class, colour and pattern never met in
the miniature's training (the scorers saw all combinations). Brackets hold 95 % intervals.

## Subjects

- retrieved: a new picture is nearest to 4 pictures of its subject and not to those of 15 others of its class (chance 0.06)
- rather the subject than the place: a picture is more like its subject at another place than like another subject of its class
  at the same place; a scorer that rewards copied backdrops fails here

{subjects}

## What a picture shows

The sentence chosen among those that differ in one thing (chance: class, colour and place 0.08, pattern 0.20, accessory 0.25).

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
    choice = replace(MINIATURE, vit=arguments.folder / "identity", clip=arguments.folder / "pairs")
    encoders, model = Encoders.load(choice), ARModel.load()
    table = {"subjects": subjects(encoders, model, arguments.images), "shown": shown(encoders, model, arguments.images)}
    write_json(arguments.folder / "table.json", {"images": arguments.images, "machine": machine(), **table})
    texts = {name: "\n".join(rows_of(rows)) for name, rows in table.items()}
    write_text(arguments.folder / "SCORER_CARD.md", CARD.format(machine=machine(), images=arguments.images, **texts))
    print(texts["subjects"], texts["shown"], sep="\n\n")


def subjects(encoders: Encoders, model: ARModel, count: int) -> dict[str, dict[str, list[float]]]:
    """Retrieval and subject-over-place, for the ViT and for the CLIP's pictures, as drawn and through the image tokenizer."""
    rng = random.Random("scored identities")
    found: dict[str, list[int]] = {}
    for _ in range(count):
        someone = anyone(rng)
        others, places = same_class(rng, someone.kind), rng.sample(list(PLACES), REFERENCES + 1)
        picture = draw(random_scene(rng, someone, places[-1]), SIZE)
        gallery = [draw(random_scene(rng, who, place), SIZE) for who in (someone, *others) for place in places[:-1]]
        backdrop = draw(random_scene(rng, others[0], places[-1]), SIZE)
        for kind, seen in (("drawings", picture), ("reconstructions", reconstructed(model, [picture])[0])):
            vectors = encoders.look([seen, backdrop, *gallery])
            for name, v in zip(("identity", "pairs"), vectors):
                similar = (v[2:] @ v[0]).view(len(others) + 1, REFERENCES)
                hits = found.setdefault(f"{name}, {kind}", [0, 0])
                hits[0] += int(similar.mean(1).argmax()) == 0
                hits[1] += float(similar[0].mean()) > float(v[1] @ v[0])
    columns = ("retrieved", "rather the subject than the place")
    return {name: {column: wilson(hit, count) for column, hit in zip(columns, hits)} for name, hits in found.items()}


def shown(encoders: Encoders, model: ARModel, count: int) -> dict[str, dict[str, list[float]]]:
    """Share of right sentences by what they differ in."""
    world = held_out_scenes(count, "scored scenes")
    drawings = [draw(scene, SIZE) for scene in world]
    asked = [questions(scene) for scene in world]
    result = {}
    for kind, pictures in (("drawings", drawings), ("reconstructions", reconstructed(model, drawings))):
        hits: dict[str, list[int]] = {}
        for picture, ask in zip(encoders.look(pictures)[1], asked):
            for name, (sentences, right) in ask.items():
                hits.setdefault(name, []).append(int((encoders.read(sentences) @ picture).argmax()) == right)
        result[kind] = {name: wilson(sum(found), len(found)) for name, found in hits.items()}
    return result


def questions(scene: Scene) -> dict[str, tuple[list[str], int]]:
    """By attribute: sentences that differ in it alone, and which of them is true."""
    subject, place, kind = scene.subject, PLACES[scene.place], scene.subject.kind
    colour = subject.words.split(" ")[0]
    words = {"plain": colour, "two-tone": f"{colour} and {'black' if colour == 'white' else 'white'}"}
    patterns = {name: words.get(name, f"{colour} {name}") for name in PATTERNS} | {subject.pattern: subject.words}
    asked = {
        "class": ([f"{with_article(name)} {place}" for name in CLASSES], CLASSES.index(kind)),
        "colour": ([f"{with_article(f'{name} {kind}')} {place}" for name in COLOURS], list(COLOURS).index(colour)),
        "pattern": ([with_article(f"{name} {kind}") for name in patterns.values()], PATTERNS.index(subject.pattern)),
        "place": ([f"{with_article(kind)} {words}" for words in PLACES.values()], list(PLACES).index(scene.place)),
    }
    if subject.accessory:
        worn = [
            f"{with_article(kind)} wearing {_worn(subject.accessory_words, subject.accessory, other)}"
            for other in ACCESSORIES
        ]
        asked["accessory"] = (worn, ACCESSORIES.index(subject.accessory))
    return asked


def _worn(words: str, accessory: str, other: str) -> str:
    """ "a red hat" with the hat exchanged."""
    colour = words.removeprefix("a ").removesuffix(accessory).strip()
    return f"{colour} {other}" if other == "glasses" else f"a {colour} {other}"


if __name__ == "__main__":
    main()
