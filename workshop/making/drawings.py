"""The scenes of a training as pixels and captions, drawn by processes beside the one that trains.

Everything lies in two files of the training's folder that all processes map into their memory, so that whoever needs
scenes waits for no more than those, and a training that was stopped finds what was drawn.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import time
from pathlib import Path
from types import TracebackType

import numpy as np

from ar_core.families.miniature import MINIATURE
from ar_core.files import read_json, write_json
from ar_core.text import TextTokenizer

from ..world.captions import random_caption
from ..world.drawing import draw_scene
from ..world.scenes import Scene
from ..world.training_scenes import training_scene, wild_scene
from ..world.words import build_tokenizer

SIDE = MINIATURE.recipe.size[0]
WILD_EVERY = 4  # every fourth scene has colours and shapes that no caption knows: for the image tokenizer alone
CAPTIONS = 4  # of a scene
LONGEST = 64  # tokens of a prompt
NONE = -1  # fills the rest of a prompt's row
BLOCK = 64  # scenes that one process draws at a stretch


def numbered_scene(index: int, seed: int) -> Scene:
    """Scene number `index`, always the same."""
    rng = random.Random(f"scene {seed} {index}")
    if index % WILD_EVERY == WILD_EVERY - 1:
        return wild_scene(rng)
    return training_scene(rng)


def captioned(count: int) -> np.ndarray:
    """The numbers below `count` of scenes that have captions."""
    numbers = np.arange(count)
    return numbers[numbers % WILD_EVERY != WILD_EVERY - 1]


class Drawings:
    """Scenes 0 to count - 1: `pixels` (count, SIDE, SIDE, 3) uint8, `prompts` (count, CAPTIONS, LONGEST) int16.

    A context: while it is open, processes draw what is missing, from the first scene to the last.
    """

    def __init__(self, folder: Path, count: int, seed: int, workers: int):
        """Raises ValueError where the folder holds scenes of another count or seed."""
        self.folder = folder
        self.count = count
        self.seed = seed
        self.workers = workers
        self.processes: list[multiprocessing.process.BaseProcess] = []
        folder.mkdir(parents=True, exist_ok=True)
        facts = {"scenes": count, "seed": seed}
        if (folder / "scenes.json").exists() and read_json(folder / "scenes.json") != facts:
            raise ValueError(f"{folder} holds the scenes of another training. Choose another folder, or delete it.")
        self.pixels, self.prompts, self.drawn = _mapped(folder, count)
        write_json(folder / "scenes.json", facts)

    def __enter__(self) -> Drawings:
        if not self.drawn.all():
            context = multiprocessing.get_context("spawn")
            for number in range(self.workers):
                arguments = (self.folder, self.count, self.seed, number, self.workers)
                process = context.Process(target=draw_blocks, args=arguments, daemon=True)
                process.start()
                self.processes.append(process)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            process.join()

    def wait(self, until: int) -> None:
        """Return when the scenes before number `until` are drawn. Raises RuntimeError where nobody draws them."""
        blocks = self.drawn[: -(-until // BLOCK)]
        while not blocks.all():
            if any(process.exitcode for process in self.processes) or not self.processes:
                raise RuntimeError("A process that draws scenes has failed; what it said stands above.")
            time.sleep(0.01)


def _mapped(folder: Path, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pixels, prompts, and which blocks are drawn, as files in memory."""
    return (
        _mapped_file(folder / "scenes.pixels", np.uint8, (count, SIDE, SIDE, 3)),
        _mapped_file(folder / "scenes.prompts", np.int16, (count, CAPTIONS, LONGEST)),
        _mapped_file(folder / "scenes.drawn", np.uint8, (-(-count // BLOCK),)),
    )


def _mapped_file(path: Path, kind: type, shape: tuple[int, ...]) -> np.ndarray:
    mode = "r+"
    if not path.exists():
        mode = "w+"
    return np.memmap(path, kind, mode, shape=shape)  # type: ignore[call-overload]  # its types know no variable mode


def draw_blocks(folder: Path, count: int, seed: int, number: int, workers: int) -> None:
    """What process `number` of `workers` does: every block that is its own and is not drawn yet."""
    parent = os.getppid()
    pixels, prompts, drawn = _mapped(folder, count)
    protocol = MINIATURE.bind(TextTokenizer(build_tokenizer()))
    for block in range(number, len(drawn), workers):
        if os.getppid() != parent:  # whom the scenes were for has gone
            return
        if drawn[block]:
            continue
        for index in range(block * BLOCK, min(count, (block + 1) * BLOCK)):
            scene = numbered_scene(index, seed)
            pixels[index] = np.asarray(draw_scene(scene, SIDE))
            rng = random.Random(f"captions {seed} {index}")
            for row in prompts[index]:
                ids = protocol.prompt(random_caption(rng, scene), MINIATURE.recipe.size)
                row[: len(ids)] = ids
                row[len(ids) :] = NONE
        drawn[block] = 1
