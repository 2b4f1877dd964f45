"""Prompts: one per line, as a list."""

from __future__ import annotations

from comfy_api.latest import io

from .sockets import CATEGORY


class Prompts(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LuminaMGPTPrompts",
            display_name="Prompts",
            category=CATEGORY,
            description="A list of prompts for AR Sampler: one picture (or batch) for each line.",
            inputs=[
                io.String.Input(
                    "lines", multiline=True, default="a photo of [V] on the beach\na photo of [V] in the snow",
                    tooltip="One prompt per line; empty lines are skipped. [V] stands for the subject; its class word is added where it is missing.",
                )
            ],
            outputs=[io.String.Output("prompts", display_name="STRING", is_output_list=True)],
        )  # fmt: skip

    @classmethod
    def execute(cls, lines: str) -> io.NodeOutput:
        prompts = [line.strip() for line in lines.splitlines() if line.strip()]
        if not prompts:
            raise ValueError('There is no prompt: write one per line, for example "a photo of [V] on the beach".')
        return io.NodeOutput(prompts)
