"""Learn Identifier Embedding: the paper's first stage. The transformer stays as it is."""

from __future__ import annotations

from comfy_api.latest import io

from ..ar_core import TrainingSettings
from ..ar_core.training.settings import EMBEDDING
from . import step_selection, training_view
from .host.progress import explain_on_node
from .host.schema import node_schema
from .sockets import CATEGORY, ARModelSocket, HostedModel, SubjectPhotosValue, SubjectSocket


class LearnIdentifier(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return node_schema(
            node_id="LuminaMGPTLearnIdentifier",
            display_name="Learn Identifier Embedding",
            category=CATEGORY,
            search_aliases=("train", "textual inversion", "embedding", "train subject", "stage 1"),
            description="Stage 1: learns a new word for the subject, [V]. Connect the result to Fine-tune Transformer, "
            "or to Apply Personalization as it is.",
            inputs=[
                ARModelSocket.Input(
                    "ar_model", tooltip="The model from Load Lumina-mGPT or Load Janus-Pro, with no subject applied."
                ),
                SubjectSocket.Input("subject", tooltip="From Subject Photos."),
                training_view.STEPS,
                training_view.LEARNING_RATE,
                training_view.TRAINING_SEED,
                training_view.RECIPE,
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
        use: str = step_selection.LAST_STEP,
        sample_prompts: str = "",
    ) -> io.NodeOutput:
        ar_model = training_view.with_chosen_recipe(ar_model, recipe)
        settings = TrainingSettings.resolve(
            ar_model.model.family,
            strategy="embedding_only",
            seed=training_seed,
            embedding_steps=steps or None,
            embedding_learning_rate=learning_rate or None,
        )
        return training_view.train_stage(ar_model, subject, EMBEDDING, settings, use=use, sample_prompts=sample_prompts)
