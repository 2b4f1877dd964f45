"""DreamBench Score: how much pictures look like the subject (DINO, CLIP-I) and like their prompts (CLIP-T)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from comfy_api.latest import io

from ..ar_core.dreambench.encoders import MINIATURE, PAPER, EncoderChoice, EncoderError, Encoders
from ..ar_core.dreambench.pictures import without_identifier
from ..ar_core.dreambench.report import as_markdown, sheet
from ..ar_core.dreambench.scoring import score_subject, table
from ..ar_core.photos import stack, tensor_photos
from .host.folders import SCORERS, folders
from .host.progress import explained, show_text
from .sockets import CATEGORY, SubjectPhotosValue, SubjectSocket

CHOICES = {choice.title: choice for choice in (PAPER, MINIATURE)}
FOLDERS = {PAPER.vit: "dino-vits16", PAPER.clip: "clip-vit-base-patch32"}  # below models/lumina_mgpt_scorers


class DreamBenchScore(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LuminaMGPTDreamBenchScore",
            display_name="DreamBench Score",
            category=CATEGORY,
            description="Scores pictures against the subject's photos (DINO, CLIP-I) and against their prompts (CLIP-T), with a report picture.",
            is_input_list=True,
            inputs=[
                io.Image.Input("images", tooltip="From AR Sampler: one picture or batch per prompt."),
                SubjectSocket.Input("subject", tooltip="From Subject Photos: what the pictures are compared with."),
                io.String.Input(
                    "prompts",
                    force_input=True,
                    tooltip="The prompts the pictures were made from, in the same order: the sampler's text, or Prompts.",
                ),
                io.Combo.Input(
                    "encoders",
                    options=list(CHOICES),
                    tooltip="DINO + CLIP: the protocol's encoders, from models/lumina_mgpt_scorers or the hub's local cache. "
                    "The miniature's scorers ship with this pack and know drawings only; their numbers compare with nothing published.",
                ),
            ],
            outputs=[
                io.Float.Output("dino", display_name="DINO"),
                io.Float.Output("clip_i", display_name="CLIP-I"),
                io.Float.Output("clip_t", display_name="CLIP-T"),
                io.Image.Output("report_picture", display_name="IMAGE"),
                io.String.Output("report", display_name="text"),
            ],
        )

    @classmethod
    @explained
    def execute(
        cls, images: list[torch.Tensor], subject: list[SubjectPhotosValue], prompts: list[str], encoders: list[str]
    ) -> io.NodeOutput:
        if len(prompts) not in (1, len(images)):
            raise ValueError(
                f"There are {len(images)} pictures or batches and {len(prompts)} prompts: connect the sampler's own text output."
            )
        who, loaded = subject[0], load(encoders[0])
        prompts = prompts * len(images) if len(prompts) == 1 else prompts
        sentences = [
            without_identifier(prompt, who.class_name) for prompt, batch in zip(prompts, images) for _ in batch
        ]
        pictures = [photo.image for photo in tensor_photos(images)]
        photos = [photo.image for photo in who.photos]
        scored = score_subject(loaded, who.class_name, pictures, sentences, photos)
        text = as_markdown([scored], table([scored]), loaded.names)
        means = [scored.mean(measure) for measure in scored.measures]
        show_text(", ".join(f"{measure} {mean:.3f}" for measure, mean in zip(scored.measures, means)))
        drawn = stack([sheet(scored, photos, lambda picture: pictures[int(picture.file)])])
        return io.NodeOutput(*means, drawn, text)


def load(title: str) -> Encoders:
    """The encoders, on the CPU: a few dozen pictures take seconds there, and the model keeps the card."""
    if title not in CHOICES:
        raise ValueError(f'encoders is "{title}"; choose one of: {", ".join(CHOICES)}.')
    choice = CHOICES[title]
    try:
        return Encoders.load(in_models(choice))
    except EncoderError as error:
        if choice is not PAPER:
            raise
        places = " and ".join(f"{name} into {folders(SCORERS)[0] / folder}" for name, folder in FOLDERS.items())
        raise ValueError(f"{error} Put {places}.") from error


def in_models(choice: EncoderChoice) -> EncoderChoice:
    """`choice` read from ComfyUI's folders where they hold it, else by hub name."""
    return replace(choice, vit=_source(choice.vit), clip=_source(choice.clip))


def _source(name: Path | str) -> Path | str:
    if name not in FOLDERS:
        return name
    return next((base / FOLDERS[name] for base in folders(SCORERS) if (base / FOLDERS[name]).is_dir()), name)
