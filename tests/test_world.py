"""The drawn world stays as it is: the miniature and its scorers learned these very pictures and sentences."""

import hashlib
import random
from dataclasses import replace

import PIL
import pytest

from workshop.world.captions import describe_scene, random_caption
from workshop.world.drawing import draw_scene
from workshop.world.random_scenes import random_scene
from workshop.world.scenes import with_subject
from workshop.world.subjects import SUBJECTS, TUNING, drawn_photos
from workshop.world.training_scenes import wild_scene
from workshop.world.vocabulary import ACCESSORIES, CLASSES, PATTERNS, PLACES

# Hashes of what version 0.1's single drawing file gave. Pillow before 11.2 rounds a few outlines differently.
SAME_PILLOW = pytest.mark.skipif(
    tuple(map(int, PIL.__version__.split(".")[:2])) < (11, 2),
    reason="Pillow before 11.2 draws a few outlines differently",
)
CLASS_AT_EVERY_PLACE = {
    "dog": "8b6102776712e884",
    "cat": "06184b9887391f25",
    "bear": "94e264514c893c22",
    "rabbit": "9defc0c58fc03a2d",
    "duck": "7f66f32b1989c92a",
    "robot": "5c369629067d9404",
    "mug": "d27f7b6301a68afc",
    "teapot": "26f7e1e213fda34f",
    "backpack": "46c3e4d476c9bff2",
    "car": "0304cffa3f5b0588",
    "candle": "a3165f9568733d90",
    "sneaker": "ab628f0b6e12ee7a",
}
PATTERN_ON_EVERY_CLASS = {
    "plain": "e77ee56f3e0feb42",
    "striped": "96220ef95513e344",
    "dotted": "7d02dd91227430d2",
    "checkered": "f5b315863bfda09d",
    "two-tone": "1acb92254843afc1",
}
MARKED_AND_DRESSED = "c23daac7fe7eb83b"
WILD = "7718064a4c018065"
PHOTOS = "5dfc7ae49ef56e90"
SENTENCES = "659cab340ebf9097"


def short_hash(parts):
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()[:16]


def drawn_hash(scenes, size=48):
    return short_hash(draw_scene(scene, size).tobytes() for scene in scenes)


@SAME_PILLOW
@pytest.mark.parametrize("kind", CLASSES)
def test_a_class_is_drawn_as_ever(kind):
    rng = random.Random(f"test {kind}")
    scenes = [random_scene(rng, kind=kind, place=place) for place in PLACES]
    assert drawn_hash(scenes) == CLASS_AT_EVERY_PLACE[kind]


@SAME_PILLOW
@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_pattern_is_drawn_as_ever(pattern):
    rng = random.Random(f"test {pattern}")
    scenes = []
    for kind in CLASSES:
        scene = random_scene(rng, kind=kind, held_out=None)
        scenes.append(with_subject(scene, replace(scene.subject, pattern=pattern)))
    assert drawn_hash(scenes) == PATTERN_ON_EVERY_CLASS[pattern]


@SAME_PILLOW
def test_markings_and_accessories_are_drawn_as_ever():
    rng = random.Random("test extras")
    scenes = []
    for marking in ("patch", "belly", "star", "heart"):
        for accessory in ACCESSORIES:
            scene = random_scene(rng, kind="bear")
            subject = replace(scene.subject, marking=marking, accessory=accessory, accessory_colour=(10, 200, 90))
            scenes.append(with_subject(scene, subject))
    assert drawn_hash(scenes) == MARKED_AND_DRESSED


@SAME_PILLOW
def test_what_the_image_tokenizer_learned_from_is_drawn_as_ever():
    scenes = [wild_scene(random.Random(f"test wild {number}")) for number in range(60)]
    assert any(scene.overlays for scene in scenes)
    assert drawn_hash(scenes) == WILD


@SAME_PILLOW
def test_the_photos_of_unseen_subjects_are_as_ever():
    pictures = [image.tobytes() for name in (*SUBJECTS, *TUNING) for image, _ in drawn_photos(name, size=48)]
    assert short_hash(pictures) == PHOTOS


def test_sentences_are_as_ever():
    """They decide the text tokenizer, and with it the ids that the miniature knows."""
    rng = random.Random("test sentences")
    scenes = [random_scene(rng, held_out=None) for _ in range(500)]
    sentences = [f"{describe_scene(scene)}\n{random_caption(rng, scene)}\n" for scene in scenes]
    assert short_hash(sentence.encode() for sentence in sentences) == SENTENCES
