"""The miniature: the small model of drawn scenes that ships. Its tokens are arranged as Lumina-mGPT's are."""

from __future__ import annotations

from ..checkpoints.find import ModelFolder, Sources
from .family import DeepRecipe, Recipe
from .lumina_mgpt import LuminaFamily, TokenNames


class MiniatureFamily(LuminaFamily):
    """The small model that ships, recognised by the name in its config.json."""

    def detect(self, folder: ModelFolder) -> bool:
        return folder.config.get("family") == self.name


# Views move the camera as the drawn world's own does. Steps: `python -m workshop.evaluation.choose_steps`, on subjects
# that no table reports; equal for all strategies, so that they can be compared. Guidance: docs/log.md.
MINIATURE = MiniatureFamily(
    name="miniature",
    title="the miniature (drawn scenes, 96 px)",
    licence="Apache-2.0",
    recipe=Recipe(
        embedding_steps=60,
        embedding_learning_rate=1e-2,
        vectors=1,
        initialisation="class",
        per_image_token=False,
        lora_steps=60,
        lora_learning_rate=1e-3,
        lora_rank=8,
        full_steps=60,
        full_learning_rate=3e-4,
        joint_steps=60,
        batch_size=8,
        micro_batch=8,
        clip_norm=1.0,
        gradient_checkpointing=False,
        views=7,
        view_shift=0.04,
        view_scale=0.95,
        view_flip=True,
        prior_weight=1.0,
        prior_images=16,
        cfg=2.0,
        top_k=20,
        temperature=1.0,
        size=(96, 96),
        deep=DeepRecipe(depth=3, steps=80, learning_rate=3e-2, layer_steps=60),
    ),
    sizes=((96, 96),),
    codes=1024,
    factor=6,
    identifiers=64,
    sources=Sources(
        image_tokenizer=("vqgan.safetensors",),
        image_tokenizer_advice="vqgan.safetensors (of this package's folder miniature/weights)",
        tokenizer=("tokenizer.json",),
        tokenizer_advice="tokenizer.json (of this package's folder miniature/weights)",
    ),
    instruction="Draw {width}x{height}:\n{prompt}",
    tokens=TokenNames(
        begin="<s>",
        turn_end="<reserved01026>",
        image_start="<reserved01025>",
        image_end="<reserved01024>",
        row_end="<reserved01027>",
        size=1028,
        identifier=1036,
    ),
)
