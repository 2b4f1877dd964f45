"""Load Janus-Pro: a folder of weights in either layout in which it is published, as an AR_MODEL."""

from __future__ import annotations

from pathlib import Path

from comfy_api.latest import io

from ..ar_core.families.janus_pro import is_janus_pro
from .host.folders import JANUS, entries_of_family, files_fingerprint, own_folder, path_of_family
from .host.progress import explain_on_node
from .host.schema import node_schema
from .loading import load_for_node, loader_outputs, precision_input
from .sockets import CATEGORY

NOTHING = "(no folder in models/Janus-Pro yet)"


class LoadJanusPro(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return node_schema(
            node_id="LuminaMGPTLoadJanusPro",
            display_name="Load Janus-Pro",
            category=CATEGORY,
            search_aliases=("checkpoint", "load model", "deepseek", "janus pro", "model loader", "text to image"),
            description="Loads Janus-Pro 1B or 7B, which draw pictures of 384 px, from models/Janus-Pro. Works "
            "wherever Load Lumina-mGPT does.",
            inputs=[
                io.Combo.Input(
                    "model_name",
                    options=entries_of_family(JANUS, is_janus_pro) or [NOTHING],
                    tooltip="The folders in models/Janus-Pro, and those in models/lumina_mgpt that hold a Janus-Pro; "
                    "the help page lists the files that belong in one.",
                ),
                precision_input(),
            ],
            outputs=loader_outputs(),
        )

    @classmethod
    def fingerprint_inputs(cls, model_name: str | None = None, precision: str | None = None) -> str | None:
        if model_name is None:
            return None
        try:
            return files_fingerprint(path_of_family(model_name, JANUS))
        except ValueError:
            return model_name  # execute says what is wrong

    @classmethod
    def validate_inputs(cls, model_name: str | None = None) -> bool:
        """Any name passes: a workflow may ask for a model that is not there yet, and `execute` says so on the node."""
        return True

    @classmethod
    @explain_on_node
    def execute(cls, model_name: str, precision: str) -> io.NodeOutput:
        return load_for_node(chosen_path(model_name), precision)


def chosen_path(model_name: str) -> Path:
    """The folder behind an entry of the list. Raises ValueError for anything else."""
    if model_name == NOTHING or not entries_of_family(JANUS, is_janus_pro):
        raise ValueError(
            f"There is no Janus-Pro in {own_folder(JANUS)} yet. Copy the model's files into a folder there (the "
            "node's help lists them) and press R."
        )
    return path_of_family(model_name, JANUS)
