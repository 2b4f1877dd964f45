"""What the host uses of ComfyUI without a promise: it is there in this version, and the pack works where it is not."""

from __future__ import annotations

import pytest
import torch
from graphs import applied, graph, pictures, sampled
from in_process import Comfy

PROMPT = "a photo of [V] cat"


@pytest.fixture
def private(pack):
    return pack("nodes.host.private")


def test_this_version_has_every_private_name(private, trained):
    import comfy.model_management as memory

    assert private.LoRAAdapter and private.get_executing_context and private.PromptServer
    assert hasattr(private.PromptServer, "send_progress_text")
    assert memory.extra_reserved_memory() >= 0
    transformer = trained.outputs["model"][0][0].model.transformer
    layer = transformer.model.layers[0].self_attn.q_proj
    for name in ("comfy_cast_weights", "weight_function", "forward_comfy_cast_weights"):
        assert hasattr(layer, name), name


def test_the_patcher_still_has_what_is_done_outside_inference_mode():
    from comfy.model_patcher import ModelPatcher

    for name in ("load", "patch_model", "unpatch_model", "partially_load", "partially_unload", "detach"):
        assert callable(getattr(ModelPatcher, name)), name


def test_without_low_rank_patches_their_product_is_added(trained, comfy, private, monkeypatch):
    nodes = sampled(applied(graph()), ["apply", 0], prompt=PROMPT)
    expected = pictures(comfy.run(nodes))[0]
    monkeypatch.setattr(private, "LoRAAdapter", None)
    outcome = Comfy(comfy.base).run(nodes)
    patches = outcome.outputs["apply"][0][0].transformer.patches
    assert patches and all(patch[0][1][0] == "diff" for patch in patches.values())
    assert (pictures(outcome)[0] - expected).abs().mean() < 0.02  # rounded differently in the last bit


@pytest.mark.parametrize("missing", ["get_executing_context", "PromptServer"])
def test_without_texts_on_the_node_everything_else_runs(trained, comfy, private, monkeypatch, missing):
    monkeypatch.setattr(private, missing, None)
    outcome = comfy.run(graph())
    assert outcome.ok, outcome.error
    assert outcome.texts() == []


def test_names_of_the_memory_management_have_stand_ins(base, private, monkeypatch):
    import comfy.model_management as memory

    assert private.reserved_bytes() == memory.extra_reserved_memory()
    monkeypatch.delattr(memory, "extra_reserved_memory")
    assert private.reserved_bytes() == 0


def test_a_layer_of_unknown_kind_is_not_cast(private, base):
    plain = torch.nn.Linear(2, 2)
    assert not private.is_cast(plain)


def test_the_cache_that_gives_way_to_memory_knows_what_holds_a_model(trained):
    """A model of an old workflow is then the first to go."""
    from comfy import model_patcher

    ar = trained.outputs["model"][0][0]
    known = getattr(model_patcher, "is_model_patcher_output", None)  # since 0.32
    assert known is None or known(ar)
    assert isinstance(ar.patcher, model_patcher.ModelPatcher) and len(ar.get_models()) == 2


def test_streaming_takes_time_only_where_something_has_no_room(trained, pack, monkeypatch):
    memory = pack("nodes.host.memory")
    ar = trained.outputs["model"][0][0]
    assert memory.transfer_seconds(ar, 10**15, steps=100) == 0  # on a CPU
    monkeypatch.setattr(memory, "card_bytes", lambda: memory.held_bytes(ar) + 1000)
    assert memory.transfer_seconds(ar, 1000, steps=100) == 0
    assert memory.transfer_seconds(ar, 1000 + int(memory.BUS), steps=100) == 100
