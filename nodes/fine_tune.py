"""Fine-tune Transformer: the paper's second stage, or joint training when no identifier is connected."""

from __future__ import annotations

from comfy_api.latest import io

from ..ar_core import Personalization, TrainingSettings
from ..ar_core.training.settings import JOINT, LAYERS
from . import step_selection, training_view
from .host.progress import explain_on_node
from .host.schema import advanced, node_schema
from .sockets import (
    CATEGORY,
    ARModelSocket,
    HostedModel,
    PersonalizationSocket,
    SubjectPhotosValue,
    SubjectSocket,
    check_choice,
)

METHODS = {"LoRA": "lora", "full q/k/v": "full"}


class FineTuneTransformer(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return node_schema(
            node_id="LuminaMGPTFineTuneTransformer",
            display_name="Fine-tune Transformer",
            category=CATEGORY,
            search_aliases=("train", "lora train", "train lora", "dreambooth", "finetune", "stage 2"),
            description="Stage 2: trains the layers, so that [V] becomes exactly this subject. Without stage 1, "
            "embedding and layers are learned together.",
            inputs=[
                ARModelSocket.Input(
                    "ar_model", tooltip="The model from Load Lumina-mGPT or Load Janus-Pro, with no subject applied."
                ),
                SubjectSocket.Input("subject", tooltip="The same Subject Photos as in stage 1."),
                PersonalizationSocket.Input(
                    "identifier_embedding",
                    optional=True,
                    tooltip="From Learn Identifier Embedding: the paper's two stages, or the layers on top of a deep "
                    "concept. Not connected: embedding and layers are learned together.",
                ),
                io.Combo.Input(
                    "method",
                    options=list(METHODS),
                    default="LoRA",
                    tooltip="LoRA: a small file and little memory. full q/k/v: the whole matrices, 16 bytes of memory "
                    "per trained weight (26 GB for Lumina-mGPT 7B).",
                ),
                advanced(
                    io.Int.Input,
                    "rank",
                    default=0,
                    min=0,
                    max=1024,
                    tooltip="Size of the LoRA. 0: the value of the recipe. Higher: more detail, and a larger file.",
                ),
                training_view.STEPS,
                training_view.LEARNING_RATE,
                training_view.TRAINING_SEED,
                training_view.RECIPE,
                step_selection.USE,
                step_selection.SAMPLE_PROMPTS,
                advanced(
                    io.Boolean.Input,
                    "prior_preservation",
                    default=False,
                    optional=True,
                    tooltip="Also train on pictures of the class that the model drew before it knew the subject, so "
                    "that a dog stays any dog where [V] is not named. They are drawn once and remembered (16 of the "
                    "miniature's, 100 of a 7B's, which takes long), and every step takes twice as long.",
                ),
            ],
            outputs=training_view.training_outputs(),
        )

    @classmethod
    @explain_on_node
    def execute(
        cls,
        ar_model: HostedModel,
        subject: SubjectPhotosValue,
        method: str,
        rank: int,
        steps: int,
        learning_rate: float,
        training_seed: int,
        identifier_embedding: Personalization | None = None,
        recipe: str = training_view.PAPER,
        use: str = step_selection.LAST_STEP,
        sample_prompts: str = "",
        prior_preservation: bool = False,
    ) -> io.NodeOutput:
        ar_model = training_view.with_chosen_recipe(ar_model, recipe)
        check_choice("method", method, METHODS)
        strategy = "joint"
        stage = JOINT
        if identifier_embedding:
            strategy = "deep_two_stage" if identifier_embedding.is_deep else "two_stage"
            stage = LAYERS
        settings = TrainingSettings.resolve(
            ar_model.model.family,
            strategy=strategy,
            method=METHODS[method],
            seed=training_seed,
            rank=rank or None,
            layer_steps=steps or None,
            layer_learning_rate=learning_rate or None,
            prior_preservation=prior_preservation,
        )
        return training_view.train_stage(
            ar_model, subject, stage, settings, identifier_embedding, use=use, sample_prompts=sample_prompts
        )
