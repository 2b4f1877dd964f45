"""Save Personalization: one .safetensors file in models/lumina_mgpt_subjects."""

from __future__ import annotations

import re
from dataclasses import replace

from comfy_api.latest import io, ui

from ..ar_core import Personalization
from ..ar_core.memory import size_text
from ..ar_core.quoting import quoted
from .host.folders import subjects_folder
from .host.progress import explain_on_node, show_text
from .host.schema import node_schema
from .sockets import CATEGORY, PersonalizationSocket, check_choice

CONSENT = ("my object", "my pet", "a person who consented", "other")
LONGEST_NAME = 100  # characters
FORBIDDEN = re.compile(r'[<>:"/\\|?*\x00-\x1f]')
RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)  # Windows devices


class SavePersonalization(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return node_schema(
            node_id="LuminaMGPTSavePersonalization",
            display_name="Save Personalization",
            category=CATEGORY,
            search_aliases=("save lora", "save embedding", "save subject"),
            description="Saves the learned subject in models/lumina_mgpt_subjects. The file contains no photos, but it "
            "can draw the subject.",
            is_output_node=True,
            inputs=[
                PersonalizationSocket.Input("personalization", tooltip="From a training node."),
                io.String.Input(
                    "name",
                    default="my_subject",
                    tooltip="File name without a folder. Nothing is overwritten: another subject gets a number.",
                ),
                io.Combo.Input(
                    "consent",
                    options=list(CONSENT),
                    default=CONSENT[0],
                    tooltip="What the subject is; written into the file. Train on people only with their consent.",
                ),
            ],
            outputs=[io.String.Output("about", display_name="text", tooltip="Path and size of the file.")],
        )

    @classmethod
    @explain_on_node
    def execute(cls, personalization: Personalization, name: str, consent: str) -> io.NodeOutput:
        check_choice("consent", consent, CONSENT)
        name = checked_file_name(name)
        recipe = {**personalization.recipe, "consent": consent}
        named = replace(personalization, recipe=recipe, title=name)
        path, written = named.save_beside(subjects_folder() / f"{name}.safetensors")
        text = f"{path} already holds this subject; nothing was written."
        if written:
            text = f"{path} ({size_text(path.stat().st_size)}). Press R to list it in Load Personalization."
        if personalization.licence_notice:
            text = f"{text}\n{personalization.licence_notice}"
        show_text(text)
        return io.NodeOutput(text, ui=ui.PreviewText(text))


def checked_file_name(name: str) -> str:
    """`name` as a file name without suffix. Raises ValueError for what could leave its folder or no system accepts."""
    name = name.strip().removesuffix(".safetensors")
    hidden = name.startswith(".")
    cut_by_windows = name.endswith((".", " "))
    unsafe = FORBIDDEN.search(name) or RESERVED.fullmatch(name)
    if not name or hidden or cut_by_windows or unsafe or len(name) > LONGEST_NAME:
        raise ValueError(
            f"{quoted(name)} cannot be a file name: use letters, digits, spaces, - and _, for example my_dog."
        )
    return name
