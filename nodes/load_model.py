"""Load Lumina-mGPT: a folder of weights, or the miniature that ships, as an AR_MODEL."""

from __future__ import annotations

from comfy_api.latest import io

from ..ar_core.families.registry import FAMILIES
from ..ar_core.model import MINIATURE_FOLDER
from .host.folders import files_fingerprint, model_entries, model_path
from .host.progress import explain_on_node
from .host.schema import advanced, node_schema
from .loading import load_for_node, loader_outputs, precision_input
from .sockets import CATEGORY, check_choice

BUILT_IN = "miniature (built in)"
AUTO = "auto"


class LoadModel(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return node_schema(
            node_id="LuminaMGPTLoadModel",
            display_name="Load Lumina-mGPT",
            category=CATEGORY,
            search_aliases=("checkpoint", "load model", "chameleon", "model loader", "text to image"),
            description="Loads Lumina-mGPT 7B from models/lumina_mgpt, or the miniature, a small model of drawn scenes "
            "that needs no download.",
            inputs=[
                io.Combo.Input(
                    "model_name",
                    options=[BUILT_IN, *model_entries()],
                    tooltip="The folders in models/lumina_mgpt; the help page lists the files that belong in one. The "
                    "miniature ships with this pack and only knows drawn scenes.",
                ),
                precision_input(),
                advanced(
                    io.Combo.Input,
                    "family",
                    options=[AUTO, *FAMILIES],
                    default=AUTO,
                    optional=True,
                    tooltip="auto: what the model's files say. The files of Lumina-mGPT do not say for which "
                    "resolution it was trained; auto then takes 768 px. Choose here if yours is the model for 512 or "
                    "1024 px.",
                ),
            ],
            outputs=loader_outputs(),
        )

    @classmethod
    def fingerprint_inputs(
        cls, model_name: str | None = None, precision: str | None = None, family: str | None = None
    ) -> str | None:
        if model_name in (None, BUILT_IN):
            return model_name
        try:
            return files_fingerprint(model_path(model_name))
        except ValueError:
            return model_name  # execute says what is wrong

    @classmethod
    @explain_on_node
    def execute(cls, model_name: str, precision: str, family: str = AUTO) -> io.NodeOutput:
        check_choice("family", family, (AUTO, *FAMILIES))
        path = MINIATURE_FOLDER
        if model_name != BUILT_IN:
            path = model_path(model_name)
        return load_for_node(path, precision, None if family == AUTO else family)
