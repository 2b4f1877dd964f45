"""Models whose memory and time are counted from their shapes: nothing is measured, no file is read."""

from __future__ import annotations

from dataclasses import dataclass

from ar_core.architecture import ImageTokenizerConfig, TransformerConfig
from ar_core.families.family import Family, Recipe
from ar_core.families.janus_pro import JANUS_PRO_1B, JANUS_PRO_7B, JanusFamily
from ar_core.families.lumina_mgpt import ARTIST_RECIPE, LUMINA_512, LUMINA_768, LUMINA_1024, PAPER_RECIPE
from ar_core.families.protocol import Protocol, Size

from ..random_checkpoint import protocol_of
from . import janus_files


@dataclass(frozen=True, eq=False)
class CountedModel:
    """Dimensions of a published model, and what it is used for."""

    name: str
    family: Family  # of the usual size; its recipe says how the model is drawn with
    transformer: TransformerConfig
    image_tokenizer: ImageTokenizerConfig
    families: tuple[Family, ...]  # one for each size of pictures, with weights of its own and the same dimensions
    recipes: tuple[tuple[str, Recipe], ...]  # those that are timed, by the name that the page gives them
    windows: bool  # whether it is published how many codes a step of several positions gives

    @property
    def protocol(self) -> Protocol:
        return protocol_of(self.family)

    @property
    def sizes(self) -> tuple[Size, ...]:
        return tuple(family.recipe.size for family in self.families)

    @property
    def pixels(self) -> tuple[int, ...]:
        """Of a side of a square picture."""
        return tuple(size[0] for size in self.sizes)

    def tokens(self, size: Size) -> int:
        """Of a picture, with the ends of its rows where it has them."""
        return self.protocol.layout(size).padded_length

    def layer_weights(self) -> int:
        """Numbers in all layers' projections."""
        config = self.transformer
        own = 4 * config.hidden_size**2 + 3 * config.hidden_size * config.intermediate_size
        return config.num_hidden_layers * own

    def head_weights(self) -> int:
        """Numbers in the matrices of the output head: one, or two with something between them."""
        config = self.transformer
        if config.head_hidden:
            return config.hidden_size * config.head_hidden + config.head_hidden * config.head_size
        return config.hidden_size * config.head_size


def _janus(name: str, family: JanusFamily) -> CountedModel:
    return CountedModel(
        name=name,
        family=family,
        transformer=janus_files.transformer_config(janus_files.dimensions_of(family)),
        image_tokenizer=janus_files.VQ,
        families=(family,),
        recipes=(("our recipe, 384 px", family.recipe),),
        windows=False,
    )


LUMINA_7B = CountedModel(
    name="Lumina-mGPT 7B",
    family=LUMINA_768,
    transformer=TransformerConfig(),
    image_tokenizer=ImageTokenizerConfig(),
    families=(LUMINA_512, LUMINA_768, LUMINA_1024),
    recipes=(("artist (ours), 512 px", ARTIST_RECIPE), ("paper, 768 px", PAPER_RECIPE)),
    windows=True,
)
JANUS_1B = _janus("Janus-Pro 1B", JANUS_PRO_1B)
JANUS_7B = _janus("Janus-Pro 7B", JANUS_PRO_7B)
MODELS = (LUMINA_7B, JANUS_1B, JANUS_7B)
