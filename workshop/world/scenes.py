"""What a scene contains: one subject or two, each placed somewhere, before one backdrop.

`random_scenes.py` and `pairs.py` draw scenes by lot, `drawing.py` turns them into pixels, `captions.py` into sentences.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from .colours import Colour


@dataclass(frozen=True)
class Subject:
    """Who is in the picture. What stands below `accessory_words` no caption mentions."""

    kind: str
    colour: Colour
    second: Colour
    pattern: str = "plain"
    words: str = ""  # the adjectives of a caption; empty for a subject that no caption can name
    accessory: str = ""
    accessory_colour: Colour = (0, 0, 0)
    accessory_words: str = ""
    build: tuple[float, float, float, float] = (0.5, 0.5, 0.5, 0.5)  # proportions in 0..1, each class has its own
    stretch: tuple[float, float] = (1.0, 1.0)  # width and height, as multiples of the usual
    texture: str = ""  # lies where the pattern would: one of `skins.TEXTURES`
    texture_seed: int = 0  # splashes and freckles are as individual as fingerprints
    marking: str = ""  # one of `markings.MARKINGS`
    marking_colour: Colour | None = None  # None: the second colour
    marking_shape: tuple[float, float] = (0.5, 0.5)  # how large and how tilted it is, each in 0..1


@dataclass(frozen=True)
class Placed:
    """A subject in its pose. `x`, `y`, `size` are fractions of the whole scene's sides."""

    subject: Subject
    x: float = 0.5
    y: float = 0.56
    size: float = 0.72
    flip: bool = False


@dataclass(frozen=True)
class Scene:
    """One or two placed subjects, in the order in which a caption names them. `seed` varies the backdrop.

    The camera shows 1/`zoom` of the scene's sides; `pan` moves that frame from the left (0) to the right (1) and from
    top to bottom.
    """

    placed: tuple[Placed, ...]
    place: str
    seed: int = 0
    zoom: float = 1.0
    pan: tuple[float, float] = (0.5, 0.5)
    overlays: int = 0  # random shapes on top: only for training the image tokenizer

    @property
    def subject(self) -> Subject:
        """The only subject; of two the one that a caption names first."""
        return self.placed[0].subject

    @property
    def subjects(self) -> tuple[Subject, ...]:
        """All of them, in the order of `placed`."""
        return tuple(placed.subject for placed in self.placed)


def with_subject(scene: Scene, subject: Subject) -> Scene:
    """`scene` with another first subject, in the same pose."""
    first = replace(scene.placed[0], subject=subject)
    return replace(scene, placed=(first, *scene.placed[1:]))
