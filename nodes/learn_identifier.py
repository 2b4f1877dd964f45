"""Learn Identifier Embedding: the paper's first stage, or a deep concept. The transformer stays as it is."""

from __future__ import annotations

from comfy_api.latest import io

from ..ar_core.training.settings import STAGES
from ..ar_core.training.stage_one import PAPERS_DEPTH, stage_one_settings
from . import step_selection, training_view
from .host.progress import explain_on_node
from .host.schema import advanced, node_schema
from .sockets import CATEGORY, ARModelSocket, HostedModel, SubjectPhotosValue, SubjectSocket, check_choice

AUTO = "auto"
IMAGE_CONCEPT = {AUTO: None, "on": True, "off": False}
MOST_LAYERS = 1000


class LearnIdentifier(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return node_schema(
            node_id="LuminaMGPTLearnIdentifier",
            display_name="Learn Identifier Embedding",
            category=CATEGORY,
            search_aliases=("train", "textual inversion", "embedding", "deep concept", "train subject", "stage 1"),
            description="Stage 1: learns a new word for the subject, [V]: an embedding, or with more depth a deep "
            "concept. Connect the result to Fine-tune Transformer, or to Apply Personalization as it is.",
            inputs=[
                ARModelSocket.Input(
                    "ar_model", tooltip="The model from Load Lumina-mGPT or Load Janus-Pro, with no subject applied."
                ),
                SubjectSocket.Input("subject", tooltip="From Subject Photos."),
                training_view.STEPS,
                training_view.LEARNING_RATE,
                training_view.TRAINING_SEED,
                training_view.RECIPE,
                *concept_inputs(),
                step_selection.USE,
                step_selection.SAMPLE_PROMPTS,
            ],
            outputs=training_view.training_outputs(),
        )

    @classmethod
    @explain_on_node
    def execute(
        cls,
        ar_model: HostedModel,
        subject: SubjectPhotosValue,
        steps: int,
        learning_rate: float,
        training_seed: int,
        recipe: str = training_view.PAPER,
        depth: int = PAPERS_DEPTH,
        image_concept: str = AUTO,
        use: str = step_selection.LAST_STEP,
        sample_prompts: str = "",
    ) -> io.NodeOutput:
        ar_model = training_view.with_chosen_recipe(ar_model, recipe)
        check_choice("image_concept", image_concept, IMAGE_CONCEPT)
        settings = stage_one_settings(
            ar_model.model.family,
            depth,
            IMAGE_CONCEPT[image_concept],
            steps=steps or None,
            learning_rate=learning_rate or None,
            seed=training_seed,
        )
        (stage,) = STAGES[settings.strategy]
        return training_view.train_stage(ar_model, subject, stage, settings, use=use, sample_prompts=sample_prompts)


def concept_inputs() -> list[io.Input]:
    """In how many layers [V] is learned, and whether beside it a position before the picture is."""
    return [
        advanced(
            io.Int.Input,
            "depth",
            default=0,
            min=0,
            max=MOST_LAYERS,
            optional=True,
            tooltip="In how many of the first layers [V] gets a vector of its own. 1: the paper's embedding. More: a "
            "deep concept, which keeps more of the subject's look, while the model stays as it is. 0: what the recipe "
            "takes; the node shows it. Worth trying: 3 on the miniature, 9 on Lumina-mGPT 7B (as published). Too many "
            "copy the photos.",
        ),
        advanced(
            io.Combo.Input,
            "image_concept",
            options=list(IMAGE_CONCEPT),
            default=AUTO,
            optional=True,
            tooltip="Whether a deep concept also learns a position before the picture: more likeness, and less "
            "obedience to the prompt. auto: what the recipe takes; an embedding has none.",
        ),
    ]
