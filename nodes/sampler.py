"""AR Sampler: prompts to pictures, code by code."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from comfy_api.latest import io, ui

from ..ar_core import Generated, SamplingSettings
from ..ar_core.memory import drawing_bytes
from ..ar_core.photos import unstack
from ..ar_core.styles import example_prompt
from ..ar_core.text import Identifier, prompt_hints
from .host.folders import output_folder
from .host.memory import affords_on_card, make_resident, pictures_device
from .host.progress import (
    Reporter,
    add_note,
    advising_out_of_memory,
    duration,
    explain_on_node,
    show_text,
)
from .host.schema import advanced, node_schema
from .host.termination import saved_on_termination
from .sockets import CATEGORY, ARModelSocket, HostedModel, check_choice, count_of

SHAPES = {"1:1": (1, 1), "4:3": (4, 3), "3:4": (3, 4), "16:9": (16, 9), "9:16": (9, 16)}
SAME_SHAPE = 0.1  # natural logarithm of the ratio of two shapes, at most: 4:3 and 1.4:1 are the same
DECODING = {"auto": 0, "sequential": 1}  # -> window
UNFINISHED = "lumina_mgpt/stopped"  # below ComfyUI's output: pictures of a list that was stopped

log = logging.getLogger(__name__)


class Sampler(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return node_schema(
            node_id="LuminaMGPTSampler",
            display_name="AR Sampler",
            category=CATEGORY,
            search_aliases=("sampler", "ksampler", "draw", "generate", "text to image"),
            description="Draws pictures. A list of prompts gives a list of pictures. If you cancel, those that are "
            "finished are saved in the output folder.",
            is_input_list=True,
            hidden=[io.Hidden.prompt, io.Hidden.extra_pnginfo],
            inputs=[
                ARModelSocket.Input(
                    "ar_model", tooltip="From Load Lumina-mGPT, Load Janus-Pro or Apply Personalization."
                ),
                io.String.Input(
                    "prompt",
                    multiline=True,
                    default="",
                    placeholder="a photo of [V] on the beach",
                    tooltip="What to draw. [V] stands for an applied subject; its class word is added if missing. "
                    "Empty: the applied subject on the beach, or a red dog where none is applied.",
                ),
                io.Combo.Input(
                    "shape",
                    options=list(SHAPES),
                    default="1:1",
                    tooltip="Width to height. The nearest size that the model was trained on is used.",
                ),
                *sampler_rule_inputs(),
                *sampler_run_inputs(),
            ],
            outputs=[
                io.Image.Output("images", display_name="IMAGE", is_output_list=True),
                io.String.Output(
                    "final_prompt",
                    display_name="text",
                    is_output_list=True,
                    tooltip="Each prompt as the model read it.",
                ),
            ],
        )

    @classmethod
    @explain_on_node
    def execute(
        cls,
        ar_model: list[HostedModel],
        prompt: list[str],
        shape: list[str],
        cfg: list[float],
        top_k: list[int],
        temperature: list[float],
        seed: list[int],
        batch_size: list[int],
        decoding: list[str],
        first_picture: list[int] | None = None,
    ) -> io.NodeOutput:
        ar = only_model(ar_model)
        default = default_prompt(ar.model.identifiers)
        left_empty = any(not text.strip() for text in prompt)
        inputs: dict[str, list[Any]] = {
            "prompt": prompt,
            "shape": shape,
            "cfg": cfg,
            "top_k": top_k,
            "temperature": temperature,
            "seed": seed,
            "batch_size": batch_size,
            "decoding": decoding,
            "first_picture": first_picture or [0],
        }
        wanted = wishes(ar, default, inputs)
        finals = [ar.model.check_prompt(wish.prompt, wish.settings.size) for wish in wanted]  # before anything is drawn
        batches = Batches(ar, wanted)
        batches.make_room()
        with saved_on_termination():  # until the finished pictures are saved, which is longer than drawing lasts
            try:
                batches.draw()
            except BaseException as error:  # stopped, or an error at a later prompt
                add_note(error, cls._keep(batches.drawn))
                raise
        said = batches.describe()
        if left_empty:
            said += f'\nThe prompt was left empty: "{default}" was drawn'
        show_text(said)
        return io.NodeOutput([as_image_batch(images) for images in batches.drawn], finals)

    @classmethod
    def _keep(cls, finished: list[list[Generated]]) -> str:
        """Save pictures while an error is on its way, which must arrive even where saving fails; where they are."""
        if not finished:
            return "No picture was finished."
        saved = []
        try:
            for images in finished:
                saved += ui.ImageSaveHelper.save_images(as_image_batch(images), UNFINISHED, io.FolderType.output, cls)
        except Exception as error:
            log.warning("The finished pictures could not be saved", exc_info=True)
            return f"The finished pictures could not be saved ({error})."
        first = output_folder() / saved[0]["subfolder"] / saved[0]["filename"]
        return f"{count_of(len(saved), 'finished picture')} saved, the first as {first}."


def sampler_rule_inputs() -> list[io.Input]:
    """How each code is drawn."""
    return [
        advanced(
            io.Float.Input,
            "cfg",
            default=0.0,
            min=0.0,
            max=20.0,
            step=0.1,
            tooltip="How closely pictures follow the prompt. 0: the model's own recipe; the node shows its number. "
            "1: no guidance, twice as fast. Too high a value makes subjects stiff.",
        ),
        advanced(
            io.Int.Input,
            "top_k",
            default=0,
            min=0,
            max=65536,
            tooltip="How many of the likeliest codes to choose from. 0: the model's own recipe. Low: calm pictures. "
            "High: more variety.",
        ),
        advanced(
            io.Float.Input,
            "temperature",
            default=1.0,
            min=0.05,
            max=5.0,
            step=0.05,
            tooltip="1: as trained. Lower is calmer, higher is wilder.",
        ),
    ]


def sampler_run_inputs() -> list[io.Input]:
    """How many pictures are drawn, and how."""
    return [
        io.Int.Input(
            "seed",
            default=1,
            min=0,
            max=2**53,
            control_after_generate=True,
            tooltip="The same seed gives the same pictures on the same machine, with the same batch_size. Another "
            "batch_size gives other pictures with decoding auto, which depends on it; with sequential the first ones "
            "stay the same.",
        ),
        io.Int.Input(
            "batch_size",
            default=1,
            min=1,
            max=64,
            tooltip="Pictures per prompt, drawn at the same time. Larger batches take less time per picture.",
        ),
        advanced(
            io.Combo.Input,
            "decoding",
            options=list(DECODING),
            default="auto",
            tooltip="auto: several codes per step where that is faster on this device, with exactly the same "
            "distribution of pictures. sequential: one code per step. The two give different pictures for one seed.",
        ),
        advanced(
            io.Int.Input,
            "first_picture",
            default=0,
            min=0,
            max=2**31 - 1,
            optional=True,
            tooltip="Number of the first picture. With decoding sequential, 3 and batch_size 1 draw the fourth picture "
            "of a batch alone (but for a few that rounding sends another way).",
        ),
    ]


@dataclass(frozen=True)
class Wish:
    """One batch of pictures."""

    prompt: str
    settings: SamplingSettings
    count: int  # pictures
    first_picture: int
    shape: str


def only_model(models: list[HostedModel]) -> HostedModel:
    """The model. Raises ValueError for a list of several: each would have to be loaded for every prompt."""
    if any(model is not models[0] for model in models):
        raise ValueError(f"{len(models)} models are connected, and one draws: use an AR Sampler for each.")
    return models[0]


def wishes(ar: HostedModel, default: str, inputs: Mapping[str, list[Any]]) -> list[Wish]:
    """What the inputs ask for, as ComfyUI itself runs a node over lists: the last of a shorter list is repeated.

    `default`: the prompt in place of an empty one.
    """
    wanted = []
    for number in range(max(map(len, inputs.values()))):
        row = {name: values[min(number, len(values) - 1)] for name, values in inputs.items()}
        check_choice("shape", row["shape"], SHAPES)
        check_choice("decoding", row["decoding"], DECODING)
        settings = SamplingSettings.resolve(
            ar.model.family,
            cfg=row["cfg"] or None,
            top_k=row["top_k"],
            temperature=row["temperature"],
            size=ar.model.family.size_for(*SHAPES[row["shape"]]),
            seed=row["seed"],
            window=DECODING[row["decoding"]],
        )
        prompt = row["prompt"] if row["prompt"].strip() else default
        wanted.append(Wish(prompt, settings, row["batch_size"], row["first_picture"], row["shape"]))
    return wanted


@dataclass(eq=False)
class Batches:
    """The pictures of a list of wishes: one batch for each, `drawn` in order."""

    ar: HostedModel
    wanted: list[Wish]
    previews: bool = True
    seconds: float = 0.0
    drawn: list[list[Generated]] = field(default_factory=list)

    def make_room(self) -> None:
        """Have the model loaded with room to draw, and for previews if no layer has to leave for them."""
        without = max(self._bytes(wish, previews=False) for wish in self.wanted)
        needed = max(self._bytes(wish, previews=True) for wish in self.wanted)
        self.previews = affords_on_card(self.ar, without, needed)
        if not self.previews:
            needed = without
        make_resident(self.ar, needed)

    def _bytes(self, wish: Wish, previews: bool) -> int:
        return drawing_bytes(self.ar.model, wish.settings.size, wish.count, wish.settings.cfg, previews=previews)

    def draw(self) -> None:
        """Draw all; an interruption leaves what is finished in `drawn`."""
        reporter = Reporter()
        started = time.monotonic()
        advice = advising_out_of_memory("drawing", "Draw fewer pictures at a time (batch_size)")
        with reporter.interruptible(), advice:
            for number, wish in enumerate(self.wanted, 1):
                self.drawn.append(self._batch(wish, f"prompt {number} of {len(self.wanted)}", reporter))
        self.seconds = time.monotonic() - started

    def _batch(self, wish: Wish, label: str, reporter: Reporter) -> list[Generated]:
        def progress(done: int, total: int, message: str) -> None:
            reporter.progress(done, total, label)

        def on_preview(image: torch.Tensor) -> None:
            reporter.show(unstack(image)[0])

        preview = None
        if self.previews:
            preview = on_preview
        images = self.ar.model.generate(
            [wish.prompt] * wish.count,
            wish.settings,
            first_image=wish.first_picture,
            cancel=reporter.cancel,
            on_preview=preview,
            progress=progress,
        )
        on_preview(images[0].images)
        return images

    def describe(self) -> str:
        """What was drawn how fast, and what the user should know about it."""
        first = self.drawn[0][0]
        values = first.settings.describe()
        pictures = sum(map(len, self.drawn))
        codes = sum(image.codes.numel() for images in self.drawn for image in images)
        steps = sum(images[0].steps * len(images) for images in self.drawn)
        log.info(
            "%d codes in %.1f s, %.1f per step and picture with a window of %s",
            codes,
            self.seconds,
            codes / steps,
            values["window"],
        )
        lines = [f"{count_of(pictures, 'picture')} of {values['size']} in {duration(self.seconds)}"]
        for wish in {wish.shape: wish for wish in self.wanted}.values():
            if not has_shape(wish.settings.size, wish.shape):
                width, height = wish.settings.size
                lines.append(f"This model does not draw {wish.shape}: {width}x{height} is the nearest that it does")
        prompts = [wish.prompt for wish in self.wanted]
        lines += prompt_hints(prompts, self.ar.model.identifiers)
        unknown = sorted({word for prompt in prompts for word in self.ar.model.text.unknown_words(prompt)})
        if unknown:
            lines.append(f"The model never saw the words {', '.join(unknown)}")
        if not self.previews:
            lines.append("No previews: there is no room for them on the card")
        lines.append(f"cfg {values['cfg']}, top-k {values['top_k']}, temperature {values['temperature']}")
        return "\n".join(lines)


def has_shape(size: tuple[int, int], shape: str) -> bool:
    """Whether a picture of this size (width, height) has about the shape that was asked for."""
    width, height = SHAPES[shape]
    return abs(math.log(size[0] / size[1]) - math.log(width / height)) < SAME_SHAPE


def default_prompt(identifiers: tuple[Identifier, ...]) -> str:
    """What an empty prompt draws: the subject that was applied last, or a scene that every model knows."""
    named = [identifier for identifier in identifiers if not identifier.dropped]
    if not named:
        return "a photo of a red dog on the beach"
    return example_prompt(named[-1].name, named[-1].class_name)


def as_image_batch(drawn: list[Generated]) -> torch.Tensor:
    """One IMAGE batch (B, H, W, 3)."""
    return torch.cat([image.images for image in drawn]).to(pictures_device())
