"""Prompts: one per line, or a benchmark's list."""

from __future__ import annotations

from pathlib import Path

from comfy_api.latest import io

from ..ar_core.dreambench.dataset import PROMPT_FILE, SLOTS, read_dataset_prompts
from ..ar_core.files import read_text
from ..ar_core.listing import files_below
from ..ar_core.shipped import example_subjects
from .host.folders import input_folder
from .host.progress import explain_on_node, show_text
from .host.schema import node_schema
from .sockets import CATEGORY, check_choice, count_of

LINES = "the lines above"
NO_PROMPT = 'There is no prompt: write one per line, for example "a photo of [V] on the beach".'
# Which list of the data set's file: the drawn one that ships, or the user's DreamBench.
DRAWN = {"miniature: objects": 0, "miniature: figures": 1}
DREAMBENCH = {"DreamBench: objects": 0, "DreamBench: live subjects": 1}


class Prompts(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return node_schema(
            node_id="LuminaMGPTPrompts",
            display_name="Prompts",
            category=CATEGORY,
            search_aliases=("prompt list", "batch prompts", "prompts from lines", "dreambench prompts"),
            description="A list of prompts for AR Sampler: one picture (or batch) for each line.",
            inputs=[
                io.String.Input(
                    "lines",
                    multiline=True,
                    default="a photo of [V] on the beach\na photo of [V] in the snow",
                    tooltip="One prompt per line; empty lines are skipped. [V] stands for the subject. Its class word "
                    "is added if it is missing.",
                ),
                io.Combo.Input(
                    "source",
                    options=[LINES, *DREAMBENCH, *DRAWN],
                    optional=True,  # graphs made before it existed go on running
                    tooltip="The lines above, or a benchmark's list instead. DreamBench's 25 prompts for objects or "
                    "for live subjects are read from its prompts_and_classes.txt: copy that into ComfyUI's "
                    "input folder. The miniature's 10 are built in.",
                ),
            ],
            outputs=[io.String.Output("prompts", display_name="STRING", is_output_list=True)],
        )

    @classmethod
    def fingerprint_inputs(cls, source: str = LINES, **_: object) -> float | None:
        """When the data set's file was changed last: its list is read again then."""
        if source not in DREAMBENCH:
            return None
        path = data_set_file()
        if path is None:
            return None
        return path.stat().st_mtime

    @classmethod
    def validate_inputs(cls, lines: str | None = None, source: str | None = None) -> bool | str:
        """Says at once, and not after a training, that there is no prompt; a linked input is not known yet."""
        if source in (None, LINES) and lines is not None and not lines.strip():
            return NO_PROMPT
        return True

    @classmethod
    @explain_on_node
    def execute(cls, lines: str, source: str = LINES) -> io.NodeOutput:
        check_choice("source", source, (LINES, *DREAMBENCH, *DRAWN))
        if source in DRAWN:
            return io.NodeOutput(read_prompt_list(example_subjects() / PROMPT_FILE, DRAWN[source]))
        if source in DREAMBENCH:
            return io.NodeOutput(read_prompt_list(dreambench_file(), DREAMBENCH[source]))
        prompts = [line.strip() for line in lines.splitlines() if line.strip()]
        if not prompts:
            raise ValueError(NO_PROMPT)
        show_text(count_of(len(prompts), "prompt"))
        return io.NodeOutput(prompts)


def dreambench_file() -> Path:
    """The prompts of the user's copy of the data set. Raises ValueError where there is none."""
    path = data_set_file()
    if path is None:
        raise ValueError(
            f"DreamBench's {PROMPT_FILE} is not in {input_folder()} or a folder in it. Copy the folder `dataset` of "
            f"the google/dreambooth repository there, or choose {LINES}."
        )
    return path


def read_prompt_list(path: Path, which: int) -> list[str]:
    """The object (0) or live (1) list of a data set's file, with [V] alone: the sampler adds the class word.

    Raises ValueError for an empty list.
    """
    prompts = [prompt.template.replace(SLOTS, "[V]") for prompt in read_dataset_prompts(read_text(path))[which]]
    if not prompts:
        raise ValueError(f"{path} does not contain this list of prompts. Copy it again from google/dreambooth.")
    return prompts


def data_set_file() -> Path | None:
    """The data set's prompts in ComfyUI's input folder, the first that is found nearest to it."""
    found = [name for name in files_below(input_folder()) if name.rpartition("/")[2] == PROMPT_FILE]
    if not found:
        return None
    return input_folder() / min(found, key=lambda name: (name.count("/"), name))
