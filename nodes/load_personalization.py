"""Load Personalization: a saved subject."""

from __future__ import annotations

from pathlib import Path

from comfy_api.latest import io

from ..ar_core import Personalization
from ..ar_core.listing import files_below
from ..ar_core.shipped import learned_subjects
from .host.folders import EARLIER_RUNS, SUBJECTS, files_fingerprint, model_folders, path_inside
from .host.progress import explain_on_node, show_text
from .host.schema import node_schema
from .sockets import CATEGORY, PersonalizationSocket

EXAMPLE = "example: "
EXAMPLES = learned_subjects()  # learned on the miniature


class LoadPersonalization(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return node_schema(
            node_id="LuminaMGPTLoadPersonalization",
            display_name="Load Personalization",
            category=CATEGORY,
            search_aliases=("load subject", "load embedding", "load lora"),
            description="Loads a subject from models/lumina_mgpt_subjects.",
            inputs=[
                io.Combo.Input(
                    "file",
                    options=[*example_entries(), *saved_subjects()],
                    tooltip="Files in models/lumina_mgpt_subjects, and examples for the miniature. Press R after "
                    "saving or copying a file there.",
                )
            ],
            outputs=[
                PersonalizationSocket.Output("personalization", display_name="PERSONALIZATION"),
                io.String.Output(
                    "about", display_name="text", tooltip="What it is called in prompts, and how it was trained."
                ),
            ],
        )

    @classmethod
    def fingerprint_inputs(cls, file: str | None = None) -> str | None:
        if not file:
            return None
        try:
            return files_fingerprint(personalization_path(file))
        except ValueError:
            return file  # execute says what is wrong

    @classmethod
    @explain_on_node
    def execute(cls, file: str) -> io.NodeOutput:
        loaded = Personalization.load(personalization_path(file))
        show_text(str(loaded))
        return io.NodeOutput(loaded, str(loaded))


def saved_subjects() -> list[str]:
    """Files below `models/lumina_mgpt_subjects`, without the remembered trainings."""
    found = set()
    for base in model_folders(SUBJECTS):
        for name in files_below(base):
            if name.endswith(".safetensors") and not name.startswith(f"{EARLIER_RUNS}/"):
                found.add(name)
    return sorted(found)


def example_entries() -> list[str]:
    """Entries for the subjects that ship."""
    return [EXAMPLE + path.stem for path in sorted(EXAMPLES.glob("*.safetensors"))]


def personalization_path(choice: str) -> Path:
    """The file behind an entry of the list. Raises ValueError for anything else."""
    if choice in example_entries():
        return EXAMPLES / f"{choice.removeprefix(EXAMPLE)}.safetensors"
    return path_inside(choice, SUBJECTS)
