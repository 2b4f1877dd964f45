"""Remembered Trainings: which there are, how large they are, and deleting them."""

from __future__ import annotations

import time

from comfy_api.latest import io, ui

from ..ar_core.memory import size_text
from ..ar_core.quoting import quoted
from ..ar_core.training.remembered import RememberedRun, forget_run, remembered_names, remembered_runs
from .host.folders import RUNS, own_folder, runs_folder
from .host.progress import explain_on_node, show_text
from .host.schema import node_schema
from .sockets import CATEGORY, count_of

NOTHING = "nothing"
OLD_DAYS = 30
OLD = f"all that were not used for {OLD_DAYS} days"
WHAT = {  # by stage
    "": "codes of photos",
    "embedding": "identifier embedding",
    "deep": "deep concept",
    "layers": "layers",
    "joint": "embedding and layers",
}


class RememberedTrainings(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return node_schema(
            node_id="LuminaMGPTRememberedTrainings",
            display_name="Remembered Trainings",
            category=CATEGORY,
            search_aliases=("cache", "clean up", "delete training", "disk space", "runs"),
            description="Lists the trainings that are remembered, so that no step is repeated, and deletes them. They "
            "hold codes from which the photos can be decoded. Saved subjects stay.",
            is_output_node=True,
            inputs=[
                io.Combo.Input(
                    "delete",
                    options=[NOTHING, OLD, *remembered_names(own_folder(RUNS))],
                    default=NOTHING,
                    tooltip="What to delete when this runs. Run it with nothing first to see the list; press R to see "
                    "new trainings here.",
                ),
            ],
            outputs=[io.String.Output("about", display_name="text", tooltip="The list, one training per line.")],
        )

    @classmethod
    def fingerprint_inputs(cls, **_: object) -> float:
        """Always another: the list is read again at every run."""
        return time.time()

    @classmethod
    def validate_inputs(cls, delete: str | None = None) -> bool:
        """Any text passes: what was deleted before is not in the list any more, and `execute` says so."""
        return True

    @classmethod
    @explain_on_node
    def execute(cls, delete: str) -> io.NodeOutput:
        folder = runs_folder()
        chosen = chosen_runs(remembered_runs(folder), delete)
        for run in chosen:
            forget_run(run)
        lines = []
        if delete != NOTHING:
            freed = size_text(sum(run.size for run in chosen))
            lines.append(f"Deleted {count_of(len(chosen), 'training')} ({freed})")
        left = remembered_runs(folder)
        total = size_text(sum(run.size for run in left))
        lines.append(f"{count_of(len(left), 'training')} remembered in {folder} ({total})")
        lines += [described(run) for run in left]
        text = "\n".join(lines)
        show_text(text)
        return io.NodeOutput(text, ui=ui.PreviewText(text))


def chosen_runs(runs: list[RememberedRun], delete: str) -> list[RememberedRun]:
    """Those of `runs` that `delete` names. Raises ValueError for a name that none has."""
    if delete == NOTHING:
        return []
    if delete == OLD:
        return [run for run in runs if run.days > OLD_DAYS]
    chosen = [run for run in runs if run.name == delete]
    if not chosen:
        raise ValueError(
            f"No training {quoted(delete)} is remembered; it may have been deleted already. Press R to read the list "
            "again."
        )
    return chosen


def described(run: RememberedRun) -> str:
    """One line about a training."""
    words = [run.name, WHAT.get(run.stage, run.stage)]
    if run.step:
        words.append(count_of(run.step, "step"))
    words += [size_text(run.size), f"{count_of(round(run.days), 'day')} ago"]
    return ", ".join(words)
