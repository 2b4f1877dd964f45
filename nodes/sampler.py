"""AR Sampler: prompts to pictures, code by code."""

from __future__ import annotations

import logging
import math
import time
from dataclasses import dataclass, field

import torch
from comfy_api.latest import io, ui

from ..ar_core import Generated, SamplingSettings
from ..ar_core.memory import drawing_bytes
from ..ar_core.photos import unstack
from ..ar_core.text import Identifier, plain_words
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
                ARModelSocket.Input("ar_model", tooltip="From Load Lumina-mGPT or Apply Personalization."),
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
    ) -> io.NodeOutput:
        ar = ar_model[0]
        default = default_prompt(ar.model.identifiers)
        left_empty = any(not text.strip() for text in prompt)
        prompt = [text if text.strip() else default for text in prompt]
        check_choice("shape", shape[0], SHAPES)
        check_choice("decoding", decoding[0], DECODING)
        settings = SamplingSettings.resolve(
            ar.model.family,
            cfg=cfg[0] or None,
            top_k=top_k[0],
            temperature=temperature[0],
            size=ar.model.family.size_for(*SHAPES[shape[0]]),
            seed=seed[0],
            window=DECODING[decoding[0]],
        )
        finals = [ar.model.check_prompt(text, settings.size) for text in prompt]  # before anything is drawn
        batches = Batches(ar, settings, batch_size[0])
        batches.make_room()
        try:
            batches.draw(prompt)
        except BaseException as error:  # stopped, or an error at a later prompt
            add_note(error, cls._keep(batches.drawn))
            raise
        said = batches.describe(prompt, shape[0])
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
            log.exception("The finished pictures could not be saved")
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
            tooltip="The same seed gives the same picture on the same machine.",
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
    ]


@dataclass(eq=False)
class Batches:
    """The pictures of a list of prompts: one batch per prompt, `drawn` in order."""

    ar: HostedModel
    settings: SamplingSettings
    count: int  # pictures of each prompt
    previews: bool = True
    seconds: float = 0.0
    drawn: list[list[Generated]] = field(default_factory=list)

    def make_room(self) -> None:
        """Have the model loaded with room to draw, and for previews if no layer has to leave for them."""
        sizes = (self.ar.model, self.settings.size, self.count, self.settings.cfg)
        without = drawing_bytes(*sizes, previews=False)
        needed = drawing_bytes(*sizes, previews=True)
        self.previews = affords_on_card(self.ar, without, needed)
        if not self.previews:
            needed = without
        make_resident(self.ar, needed)

    def draw(self, prompts: list[str]) -> None:
        """Draw all; an interruption leaves what is finished in `drawn`."""
        reporter = Reporter()
        started = time.monotonic()
        advice = advising_out_of_memory("drawing", "Draw fewer pictures at a time (batch_size)")
        with reporter.interruptible(), advice:
            for number, text in enumerate(prompts, 1):
                self.drawn.append(self._batch(text, f"prompt {number} of {len(prompts)}", reporter))
        self.seconds = time.monotonic() - started

    def _batch(self, text: str, label: str, reporter: Reporter) -> list[Generated]:
        def progress(done: int, total: int, message: str) -> None:
            reporter.progress(done, total, label)

        def on_preview(image: torch.Tensor) -> None:
            reporter.show(unstack(image)[0])

        preview = None
        if self.previews:
            preview = on_preview
        images = self.ar.model.generate(
            [text] * self.count, self.settings, cancel=reporter.cancel, on_preview=preview, progress=progress
        )
        on_preview(images[0].images)
        return images

    def describe(self, prompts: list[str], shape: str) -> str:
        """What was drawn how fast, and what the user should know about it."""
        first = self.drawn[0][0]
        values = first.settings.describe()
        pictures = count_of(self.count * len(self.drawn), "picture")
        codes = sum(image.codes.numel() for images in self.drawn for image in images)
        steps = sum(images[0].steps for images in self.drawn)
        log.info(
            "%d codes in %.1f s, %.1f per step and picture with a window of %s",
            codes,
            self.seconds,
            codes / steps / self.count,
            values["window"],
        )
        lines = [f"{pictures} of {values['size']} in {duration(self.seconds)}"]
        if not has_shape(first.settings.size, shape):
            lines.append(f"This model does not draw {shape}: {values['size']} is the nearest that it does")
        lines += hints(prompts, self.ar.model.identifiers)
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
    return f"a photo of {named[-1].name} {named[-1].class_name} on the beach"


def hints(prompts: list[str], identifiers: tuple[Identifier, ...]) -> list[str]:
    """What the user may not have meant: an applied subject that no prompt names, words that are no weights here."""
    lines = []
    for identifier in identifiers:
        if not identifier.dropped and not any(identifier.name in prompt for prompt in prompts):
            lines.append(
                f"No prompt names {identifier.name}: write {identifier.name} {identifier.class_name} to draw it"
            )
    words = sorted({word for prompt in prompts for word in plain_words(prompt)})
    if words:
        lines.append(f"Read as plain words: {', '.join(words)}")
    return lines


def as_image_batch(drawn: list[Generated]) -> torch.Tensor:
    """One IMAGE batch (B, H, W, 3)."""
    return torch.cat([image.images for image in drawn]).to(pictures_device())
