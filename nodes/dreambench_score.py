"""DreamBench Score: how much pictures look like the subject (DINO, CLIP-I) and like their prompts (CLIP-T)."""

from __future__ import annotations

from pathlib import Path

import torch
from comfy_api.latest import io

from ..ar_core.dreambench import encoders as protocol
from ..ar_core.dreambench.encoders import EncoderError, Encoders
from ..ar_core.dreambench.pictures import without_identifier
from ..ar_core.dreambench.report import as_markdown, sheet
from ..ar_core.dreambench.scoring import score_subject, table
from ..ar_core.photos import stack, tensor_photos
from . import host
from .sockets import CATEGORY, SubjectPhotosValue, SubjectSocket

PAPER = "DINO ViT-S/16 + CLIP ViT-B/32"
ENCODERS = {PAPER: (("dino-vits16", protocol.DINO), ("clip-vit-base-patch32", protocol.CLIP))}  # folder, hub name


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
                    "prompts", force_input=True, tooltip="The prompts the pictures were made from, in the same order: the sampler's text, or Prompts."
                ),
                io.Combo.Input(
                    "encoders", options=list(ENCODERS),
                    tooltip="The encoders of the DreamBench protocol, from models/lumina_mgpt_scorers or the hub's local cache.",
                ),
            ],
            outputs=[
                io.Float.Output("dino", display_name="DINO"), io.Float.Output("clip_i", display_name="CLIP-I"),
                io.Float.Output("clip_t", display_name="CLIP-T"), io.Image.Output("report_picture", display_name="IMAGE"),
                io.String.Output("report", display_name="text"),
            ],
        )  # fmt: skip

    @classmethod
    def execute(
        cls, images: list[torch.Tensor], subject: list[SubjectPhotosValue], prompts: list[str], encoders: list[str]
    ) -> io.NodeOutput:
        if len(prompts) not in (1, len(images)):
            raise ValueError(
                f"There are {len(images)} pictures or batches and {len(prompts)} prompts: connect the sampler's own text output."
            )
        who, loaded = subject[0], load(encoders[0])
        prompts = prompts * len(images) if len(prompts) == 1 else prompts
        sentences = [without_identifier(prompt, who.class_name) for prompt, batch in zip(prompts, images) for _ in batch]
        pictures = [photo.image for photo in tensor_photos(images)]
        photos = [photo.image for photo in who.photos]
        scored = score_subject(loaded, who.class_name, pictures, sentences, photos)
        text = as_markdown([scored], table([scored]), loaded.names)
        host.show_text(f"DINO {scored.mean('DINO'):.3f}, CLIP-I {scored.mean('CLIP-I'):.3f}, CLIP-T {scored.mean('CLIP-T'):.3f}")
        drawn = stack([sheet(scored, photos, lambda picture: pictures[int(picture.file)])])
        return io.NodeOutput(scored.mean("DINO"), scored.mean("CLIP-I"), scored.mean("CLIP-T"), drawn, text)


def load(choice: str) -> Encoders:
    """The encoders, on the CPU: a few dozen pictures take seconds there, and the model keeps the card."""
    if choice not in ENCODERS:
        raise ValueError(f'encoders is "{choice}"; choose one of: {", ".join(ENCODERS)}.')
    sources = [_source(folder, name) for folder, name in ENCODERS[choice]]
    try:
        return Encoders.load(*sources)
    except EncoderError as error:
        places = " and ".join(f"{name} into {host.folders(host.SCORERS)[0] / folder}" for folder, name in ENCODERS[choice])
        raise ValueError(f"{error} Put {places}.") from error


def _source(folder: str, name: str) -> Path | str:
    return next((base / folder for base in host.folders(host.SCORERS) if (base / folder).is_dir()), name)
