"""AR Sampler: prompts to pictures, code by code."""

from __future__ import annotations

import time

import comfy.model_management as memory
import torch
from comfy_api.latest import io, ui

from ..ar_core import Generated, SamplingSettings
from ..ar_core.memory import drawing_bytes
from ..ar_core.photos import unstack
from .host.memory import affords, make_resident
from .host.progress import Reporter, explained, show_text
from .sockets import CATEGORY, ARModelSocket, HostedModel

SHAPES = {"1:1": (1, 1), "4:3": (4, 3), "3:4": (3, 4), "16:9": (16, 9), "9:16": (9, 16)}
DECODING = {"auto": 0, "sequential": 1}  # -> window
UNFINISHED = "lumina_mgpt/stopped"  # below ComfyUI's output: pictures of a list that was stopped


class Sampler(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LuminaMGPTSampler",
            display_name="AR Sampler",
            category=CATEGORY,
            description="Generates pictures. A list of prompts gives a list of pictures; what is finished before a cancel is saved in output.",
            is_input_list=True,
            hidden=[io.Hidden.prompt, io.Hidden.extra_pnginfo],
            inputs=[
                ARModelSocket.Input("ar_model", tooltip="From Load Lumina-mGPT or Apply Personalization."),
                io.String.Input(
                    "prompt",
                    multiline=True,
                    default="a photo of a red dog on the beach",
                    tooltip="What to draw. [V] stands for an applied subject; its class word is added where it is missing.",
                ),
                io.Combo.Input(
                    "shape",
                    options=list(SHAPES),
                    default="1:1",
                    tooltip="Width to height; the nearest size the model was trained on is taken.",
                ),
                io.Float.Input(
                    "cfg",
                    default=0.0,
                    min=0.0,
                    max=20.0,
                    step=0.1,
                    tooltip="How strictly the prompt is followed. 0: the model's own recipe; 1 switches guidance off (twice as fast); high values are stiff.",
                ),
                io.Int.Input(
                    "top_k",
                    default=0,
                    min=0,
                    max=65536,
                    tooltip="How many of the likeliest codes are drawn from. 0: the model's own recipe; small is calm, large is varied.",
                ),
                io.Float.Input(
                    "temperature",
                    default=1.0,
                    min=0.05,
                    max=5.0,
                    step=0.05,
                    tooltip="1 as trained; lower is calmer, higher wilder.",
                ),
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
                    tooltip="Pictures per prompt, drawn at once. Larger batches are faster per picture.",
                ),
                io.Combo.Input(
                    "decoding",
                    options=list(DECODING),
                    default="auto",
                    tooltip="auto: several codes per step, from exactly the same distribution, where that is faster on this device. "
                    "sequential: one code per step; another picture for the same seed.",
                ),
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
    @explained
    def execute(cls, ar_model, prompt, shape, cfg, top_k, temperature, seed, batch_size, decoding) -> io.NodeOutput:
        ar: HostedModel = ar_model[0]
        if shape[0] not in SHAPES:
            raise ValueError(f'shape is "{shape[0]}"; choose one of: {", ".join(SHAPES)}.')
        if decoding[0] not in DECODING:
            raise ValueError(f'decoding is "{decoding[0]}"; choose one of: {", ".join(DECODING)}.')
        settings = SamplingSettings.resolve(
            ar.model.family,
            cfg=cfg[0] or None,
            top_k=top_k[0],
            temperature=temperature[0],
            size=ar.model.family.size_for(*SHAPES[shape[0]]),
            seed=seed[0],
            window=DECODING[decoding[0]],
        )
        finals = [
            ar.model.check_prompt(text, settings.size) for text in prompt
        ]  # a bad one stops the list before it starts
        without, with_previews = (
            drawing_bytes(ar.model, settings.size, batch_size[0], settings.cfg, previews=previews)
            for previews in (False, True)
        )
        previews = affords(ar, without, with_previews)
        make_resident(ar, with_previews if previews else without)
        reporter, drawn, started = Reporter(), [], time.monotonic()
        try:
            with reporter.interruptible():
                for number, text in enumerate(prompt, 1):
                    label = f"picture {number} of {len(prompt)}"
                    drawn.append(cls._sample(ar, text, settings, batch_size[0], reporter, label, previews))
        except BaseException:  # stopped, or an error at a later prompt: what is drawn is kept
            cls._keep(drawn)
            raise
        show_text(describe(ar, drawn, prompt, time.monotonic() - started, previews))
        return io.NodeOutput([pictures(images) for images in drawn], finals)

    @classmethod
    def _sample(
        cls,
        ar: HostedModel,
        text: str,
        settings: SamplingSettings,
        count: int,
        reporter: Reporter,
        label: str,
        previews: bool,
    ) -> list[Generated]:
        drawn = ar.model.generate(
            [text] * count,
            settings,
            cancel=reporter.cancel,
            on_preview=(lambda image: reporter.show(unstack(image)[0])) if previews else None,
            progress=lambda done, total, message: reporter.progress(done, total, label),
        )
        reporter.show(unstack(drawn[0].images)[0])
        return drawn

    @classmethod
    def _keep(cls, finished: list[list[Generated]]) -> None:
        for images in finished:
            ui.ImageSaveHelper.save_images(pictures(images), UNFINISHED, io.FolderType.output, cls)


def pictures(drawn: list[Generated]) -> torch.Tensor:
    """One IMAGE batch."""
    return torch.cat([image.images for image in drawn]).to(memory.intermediate_device())


def describe(ar: HostedModel, drawn: list[list[Generated]], prompts: list[str], seconds: float, previews: bool) -> str:
    first, codes = drawn[0][0], sum(image.codes.numel() for images in drawn for image in images)
    values, steps = first.settings.describe(), sum(images[0].steps for images in drawn)
    text = f"{values['size']}, cfg {values['cfg']}, top-k {values['top_k']}, temperature {values['temperature']}"
    text += f"\n{codes / seconds:.0f} codes per second, {codes / steps / len(drawn[0]):.1f} per step and picture (window {values['window']})"
    if not previews:
        text += "\nno previews: there is no room for them beside the model"
    unknown = sorted({word for prompt in prompts for word in ar.model.text.unknown_words(prompt)})
    return text + (f"\nthe model never saw the words {', '.join(unknown)}" if unknown else "")
