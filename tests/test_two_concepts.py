"""Several deep concepts in one model: kept apart in one prompt, side by side in one batch, each at its strength."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import toy_janus
from torch.nn import functional as F
from toy import FAMILY, SIZE, learned, quantized_toy, toy_model, toy_subject
from toy_concepts import BOTH, concept, model_of_two

from ar_core.attention import WholeSequences
from ar_core.cache import KVCache
from ar_core.concepts import Concepts
from ar_core.model import ARModel
from ar_core.personalization import Personalization, PersonalizationError
from ar_core.rotary import rotary_table, rotate
from ar_core.sampling import SamplingSettings
from ar_core.training.examples import make_training_batch
from ar_core.training.loss import image_code_loss

SETTINGS = SamplingSettings.resolve(FAMILY, seed=3, window=1)


def drawn(model: ARModel, prompt: str, number: int = 0, settings: SamplingSettings = SETTINGS) -> torch.Tensor:
    return model.generate([prompt], settings, first_image=number)[0].codes


def slow_hidden(model: ARModel, ids: list[int]) -> torch.Tensor:
    """Layer by layer, with loops over positions: replaced by hand, and each pair kept apart by hand."""
    transformer = model.base
    config = transformer.config
    owners = {}  # by position: number of the concept, and which of its vectors stands there
    for number, applied in enumerate(model.applied):
        identifier = applied.identifier
        for place, token in enumerate(ids):
            if identifier.first_id <= token < identifier.first_id + identifier.tokens:
                owners[place] = (number, token - identifier.first_id)
    depths = [len(applied.concept) for applied in model.applied]
    x = transformer.embed(torch.tensor([ids]))[0]
    rotary = rotary_table(torch.arange(len(ids))[None], config.head_dim, config.rope_theta, x.dtype)
    for layer_number, layer in enumerate(transformer.model.layers):
        for place, (number, vector) in owners.items():
            if layer_number < depths[number]:
                x[place] = model.applied[number].concept[layer_number, vector]
        inner = layer.self_attn
        normed = layer.input_layernorm(x)
        shape = (1, len(ids), config.num_attention_heads, config.head_dim)
        q = rotate(inner.q_norm(inner.q_proj(normed).view(shape)), rotary)[0]
        k = rotate(inner.k_norm(inner.k_proj(normed).view(shape)), rotary)[0]
        v = inner.v_proj(normed).view(shape)[0]
        gathered = torch.zeros_like(q)
        for query in range(len(ids)):
            seen = []
            for key in range(query + 1):
                forbidden = False
                if query in owners and key in owners and owners[query][0] != owners[key][0]:
                    forbidden = layer_number < min(depths[owners[query][0]], depths[owners[key][0]])
                if not forbidden:
                    seen.append(key)
            for head in range(config.num_attention_heads):
                weights = F.softmax(k[seen, head] @ q[query, head] / config.head_dim**0.5, 0)
                gathered[query, head] = weights @ v[seen, head]
        x = x + inner.o_proj(gathered.reshape(len(ids), -1))
        x = x + layer.mlp(layer.post_attention_layernorm(x))
    return transformer.model.norm(x)


# ---------------------------------------------------------------- kept apart


@pytest.mark.parametrize("images", [0, 1])
@pytest.mark.parametrize("depths", [(2, 2), (2, 1), (1, 2)])
@torch.no_grad()
def test_each_layer_keeps_apart_what_both_concepts_replace_there(depths, images):
    """Whole sequences, and the same prompt read into a cache, against loops over every pair of positions."""
    model = model_of_two(depths, images)
    ids = model.protocol.prompt(BOTH, SIZE, model.identifiers)
    expected = slow_hidden(model, ids)
    batch = torch.tensor([ids])
    entering = model.concepts.placed_in(batch)
    apart = model.concepts.identity_mask(batch)
    embeddings = model.base.embed(batch)
    whole = model.base(embeddings, WholeSequences(len(ids), model.device, apart), entering)[0]
    torch.testing.assert_close(whole, expected, atol=1e-4, rtol=1e-4)
    cache = KVCache(model.base.config, 1, len(ids) + 3)
    cached = model.base(embeddings, cache.at(torch.arange(len(ids))[None], len(ids), apart), entering)[0]
    torch.testing.assert_close(cached, expected, atol=1e-4, rtol=1e-4)
    mixed = model.base(embeddings, entering=entering)[0]
    # What a layer makes of a position that the next one replaces is dropped: the later subject must not reach further.
    reaches = bool(images) or depths[0] >= depths[1]
    assert torch.allclose(mixed, expected, atol=1e-3) != reaches


def test_which_pairs_are_kept_apart():
    """One subject's own positions see each other, and every other position sees all of them."""
    parts = [torch.randn(2, 2, 16), torch.randn(1, 1, 16), torch.randn(2, 1, 16)]
    concepts = Concepts.stacked(parts, 10, [True, True, True])
    ids = torch.tensor([[3, 10, 11, 12, 4, 13], [3, 10, 11, 4, 4, 4]])
    apart = concepts.identity_mask(ids)

    def pairs(layer: int, row: int) -> set[tuple[int, int]]:
        return {(int(q), int(k)) for q, k in apart(layer)[row, 0].nonzero() if q > k}

    assert pairs(0, 0) == {(3, 1), (3, 2), (5, 1), (5, 2), (5, 3)}
    assert pairs(1, 0) == {(5, 1), (5, 2)}  # the second concept is an ordinary word there
    assert not pairs(0, 1) and not pairs(1, 1)
    assert apart(2) is None


def test_without_a_second_concept_in_a_prompt_nothing_is_computed_otherwise():
    model = model_of_two()
    one = torch.tensor([model.protocol.prompt("a [V] dog beside [V] dog", SIZE, model.identifiers)])
    assert model.concepts.identity_mask(one) is None
    assert toy_model().personalized(concept(2, 1)).concepts.identity_mask(one) is None


def test_embeddings_alone_and_tokens_of_photos_are_not_kept_apart():
    """Two subjects of the two-stage method are drawn as they always were."""
    model = toy_model().personalized(learned(toy_model(), "embedding"))
    ids = torch.tensor([[1040, 1041]])
    assert model.personalized(learned(toy_model(), "embedding", 1), name="[W]").concepts.identity_mask(ids) is None
    assert model.personalized(concept(2), name="[W]").concepts.identity_mask(ids) is None
    assert Concepts.stacked([torch.randn(2, 1, 16), torch.randn(1, 1, 16)], 1040).identity_mask(ids) is None


def test_a_training_loss_keeps_them_apart_too():
    model = model_of_two((1, 1))
    batch = make_training_batch(
        [(model.protocol.prompt(BOTH, SIZE, model.identifiers), toy_subject().codes[0])], model.protocol, SIZE
    )
    kept_apart = image_code_loss(model.base, batch, model.concepts)
    mixed = image_code_loss(model.base, batch, replace(model.concepts, owners=()))
    [ids] = batch.ids.tolist()
    hidden = slow_hidden(model, ids)
    scored = batch.targets[0] >= 0
    expected = F.cross_entropy(model.base.image_logits(hidden[scored]), batch.targets[0][scored])
    torch.testing.assert_close(kept_apart, expected, atol=1e-4, rtol=1e-4)
    assert abs(float(mixed - kept_apart)) > 1e-4


# ---------------------------------------------------------------- one batch


@pytest.mark.parametrize("images", [0, 1])
@pytest.mark.parametrize("window", [1, 4])
@pytest.mark.parametrize("cfg", [1.0, 3.0])
def test_a_row_is_drawn_as_alone_whoever_its_neighbours_name(cfg, window, images):
    """Each row's subject is its own, of another depth, with or without a second one; nothing is merged for any."""
    model = model_of_two((2, 1), images)
    settings = replace(SETTINGS, cfg=cfg, window=window)
    prompts = ["a photo of [V] dog", "a [W] cat on the beach", "a dog", BOTH, "a red [W] cat to the left of a [V] dog"]
    together = model.generate(prompts, settings)
    for number, prompt in enumerate(prompts):
        assert torch.equal(drawn(model, prompt, number, settings), together[number].codes)
    assert model.transformer is model.base


def test_a_subject_is_drawn_as_if_no_other_were_applied():
    model = model_of_two((2, 1))
    alone = toy_model().personalized(concept(1, 1, seed=2, class_name="cat"), name="[W]")
    assert torch.equal(drawn(model, "a [W] cat"), drawn(alone, "a [W] cat"))


def test_an_adapter_changes_all_rows():
    """Also those that do not name its subject: its layers are the model's, unlike the vectors of a deep concept."""
    model = toy_model().personalized(concept(2))
    with_adapter = model.personalized(learned(toy_model()), name="[W]")
    assert not torch.equal(drawn(with_adapter, "a photo of [V] dog"), drawn(model, "a photo of [V] dog"))
    with_another = model.personalized(concept(2, seed=5), name="[W]")
    assert torch.equal(drawn(with_another, "a photo of [V] dog"), drawn(model, "a photo of [V] dog"))


def test_positions_before_the_picture_stand_side_by_side_in_the_order_of_the_prompt():
    model = model_of_two()
    header = model.protocol.header(SIZE)
    dog, cat = (identifier.image_ids for identifier in model.identifiers)
    for prompt, images in ((BOTH, dog + cat), ("a [W] cat and a [V] dog", cat + dog), ("a [W] cat", cat)):
        ids = model.protocol.prompt(prompt, SIZE, model.identifiers)
        assert ids[-len(images + header) :] == images + header
        assert model.protocol.unguided(ids) == header


@pytest.mark.parametrize("make", [toy_model, lambda: quantized_toy("int8")])
def test_two_subjects_are_drawn_where_weights_cannot_be_merged(make):
    model = model_of_two(model=make())
    assert drawn(model, BOTH).shape == (1, 4, 4)
    assert not torch.equal(drawn(model, BOTH), drawn(model, "a [V] dog and a cat"))


def test_janus_keeps_two_subjects_apart():
    model = toy_janus.toy_model()
    values = torch.randn(2, 2, 2, 16, generator=torch.Generator().manual_seed(0))
    for name, own in zip(("[V]", "[W]"), values, strict=True):
        subject = Personalization(name, "dog", own[:, :1], None, model.fingerprint, image_vectors=own[:, 1:])
        model = model.personalized(subject)
    ids = torch.tensor([model.protocol.prompt("a [V] dog and a [W] dog", toy_janus.SIZE, model.identifiers)])
    forbidden = model.concepts.identity_mask(ids)(0)[0, 0]
    assert int(forbidden.sum()) == 2 * 2 * 2  # each of two positions and each of the other's, both ways
    settings = SamplingSettings.resolve(model.family, seed=0)
    assert model.generate(["a [V] dog and a [W] dog"], settings)[0].codes.shape == (1, 4, 4)


def test_more_concepts_than_there_are_reserved_tokens_are_refused():
    model = toy_model().personalized(concept(2, vectors=40))
    with pytest.raises(PersonalizationError, match=r"\[W\] needs 40 reserved tokens, but too few are free"):
        model.personalized(concept(2, vectors=40), name="[W]")


# ---------------------------------------------------------------- strength 0


def test_a_concept_at_strength_0_leaves_what_the_base_draws_without_the_identifier():
    model = toy_model()
    dropped = model.personalized(concept(2, 1), 0.0)
    assert torch.equal(drawn(dropped, "a photo of [V] dog"), drawn(model, "a photo of dog"))
    other = concept(2, 1, seed=2, class_name="cat")
    assert torch.equal(
        drawn(dropped.personalized(other, name="[W]"), BOTH),
        drawn(model.personalized(other, name="[W]"), "a dog and a [W] cat"),
    )
