"""Apply Personalization: adds a learned subject to a model; the base and other branches stay unchanged."""

from __future__ import annotations

from comfy_api.latest import io

from ..ar_core import Personalization
from .host.patches import apply_as_patches
from .host.progress import explain_on_node, show_text
from .host.schema import advanced, node_schema
from .sockets import CATEGORY, ARModelSocket, HostedModel, PersonalizationSocket


class ApplyPersonalization(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return node_schema(
            node_id="LuminaMGPTApplyPersonalization",
            display_name="Apply Personalization",
            category=CATEGORY,
            search_aliases=("use subject", "lora loader", "apply lora", "identifier"),
            description="Adds a learned subject to the model. Several can be chained, each under its own identifier.",
            inputs=[
                ARModelSocket.Input(
                    "ar_model", tooltip="The model the subject was trained on, alone or with other subjects applied."
                ),
                PersonalizationSocket.Input("personalization", tooltip="From a training node or Load Personalization."),
                io.Float.Input(
                    "strength",
                    default=1.0,
                    min=0.0,
                    max=2.0,
                    step=0.05,
                    tooltip="1: as trained. Lower: more freedom for the base model. Above 1: exaggerated. 0: exactly "
                    "the base model, with [V] left out. It scales the change of the layers and a deep concept; an "
                    "embedding alone has one strength.",
                ),
                advanced(
                    io.String.Input,
                    "identifier",
                    default="",
                    tooltip="What the subject is called in prompts. Empty: the name it was saved with, normally [V]. A "
                    "second subject needs another name, such as [W].",
                ),
            ],
            outputs=[ARModelSocket.Output("personalized", display_name="AR_MODEL")],
        )

    @classmethod
    @explain_on_node
    def execute(
        cls, ar_model: HostedModel, personalization: Personalization, strength: float, identifier: str
    ) -> io.NodeOutput:
        personalized = apply_as_patches(ar_model, personalization, strength, identifier.strip() or None)
        newest = personalized.model.applied[-1].identifier
        hint = f"write {newest.full_name}, or {newest.name} alone, in prompts"
        if not newest.class_name:
            hint = f"write in the style of {newest.name} in prompts"
        if newest.dropped:
            hint += " (left out at strength 0)"
        show_text(hint)
        return io.NodeOutput(personalized)
