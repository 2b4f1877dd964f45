"""DreamBench Score: how much pictures look like the subject (DINO, CLIP-I) and like their prompts (CLIP-T)."""

from __future__ import annotations

import torch
from comfy_api.latest import io

from ..ar_core.dreambench.over_subjects import score_table
from ..ar_core.dreambench.report import scores_as_markdown
from ..ar_core.dreambench.scoring import score_subject
from ..ar_core.dreambench.sheet import score_sheet
from ..ar_core.photos import stack, tensor_photos
from ..ar_core.text import without_identifier
from .encoders import CHOICES, default_encoders, load_chosen_encoders
from .host.progress import explain_on_node, show_text
from .host.schema import node_schema
from .sockets import CATEGORY, SubjectPhotosValue, SubjectSocket


class DreamBenchScore(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return node_schema(
            node_id="LuminaMGPTDreamBenchScore",
            display_name="DreamBench Score",
            category=CATEGORY,
            search_aliases=("clip score", "dino", "evaluate", "likeness", "benchmark"),
            description="Scores how much pictures look like the subject (DINO, CLIP-I) and how well they fit their "
            "prompts (CLIP-T), with a picture of the results.",
            is_input_list=True,
            inputs=[
                io.Image.Input("images", tooltip="From AR Sampler: one picture or batch per prompt."),
                SubjectSocket.Input("subject", tooltip="From Subject Photos: what the pictures are compared with."),
                io.String.Input(
                    "prompts",
                    force_input=True,
                    tooltip="The prompts of these pictures, in the same order: from the sampler's text output or "
                    "from Prompts.",
                ),
                io.Combo.Input(
                    "encoders",
                    options=list(CHOICES),
                    default=default_encoders(),
                    tooltip="DINO + CLIP: the encoders of the DreamBench protocol, from models/lumina_mgpt_scorers or "
                    "the local cache of the Hugging Face hub. The miniature's scorers ship with this pack and only "
                    "know drawings; their scores cannot be compared with published ones.",
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
    @explain_on_node
    def execute(
        cls, images: list[torch.Tensor], subject: list[SubjectPhotosValue], prompts: list[str], encoders: list[str]
    ) -> io.NodeOutput:
        who = subject[0]
        prompts = one_prompt_per_picture(images, prompts)
        loaded = load_chosen_encoders(encoders[0])
        pictures = [photo.image for photo in tensor_photos(images)]
        photos = [photo.image for photo in who.photos]
        sentences = [without_identifier(prompt, who.class_name) for prompt in prompts]
        scored = score_subject(loaded, who.class_name, pictures, sentences, photos)
        means = {measure: scored.mean(measure) for measure in scored.measures}
        values = ", ".join(f"{measure} {mean:.3f}" for measure, mean in means.items())
        show_text(f"{values}\n{loaded.describe_cut(sentences)}")
        text = scores_as_markdown([scored], score_table([scored]), loaded.names)
        picture = stack([score_sheet(scored, photos, lambda picture: pictures[int(picture.file)])])
        return io.NodeOutput(*means.values(), picture, text)


def one_prompt_per_picture(images: list[torch.Tensor], prompts: list[str]) -> list[str]:
    """The prompt of every picture in all batches. Raises ValueError where it is not clear which belong together."""
    if len(prompts) == 1:
        prompts = prompts * len(images)
    if len(prompts) != len(images):
        raise ValueError(
            f"There are {len(images)} pictures or batches and {len(prompts)} prompts: connect the text output of the "
            "sampler that drew them."
        )
    repeated = []
    for prompt, batch in zip(prompts, images, strict=True):
        repeated += [prompt] * len(batch)
    return repeated
