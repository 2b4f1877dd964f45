"""The nodes on a pretend card of several sizes, under ComfyUI's own memory management, in both of its ways."""

from __future__ import annotations

import pytest
import torch
from graphs import applied, graph, node, pictures, sampled
from in_process import Comfy
from pretend_card import Card, CardTensor
from pretend_comfyui_card import Vbar, pretend
from template_models import write_janus

PROMPT = "a photo of [V] cat"
MIB = 2**20


@pytest.fixture
def same_window(pack, monkeypatch):
    """As on the CPU: else a card would draw other pictures."""
    monkeypatch.setattr(pack("ar_core.model").ARModel, "auto_window", lambda *_: 64)


@pytest.fixture
def runs(pack, monkeypatch, tmp_path):
    """Lets trainings be remembered in a folder of their own."""

    def use(name: str) -> None:
        monkeypatch.setattr(pack("nodes.training_view"), "runs_folder", lambda: tmp_path / name)

    return use


@pytest.fixture
def needs_little(pack, monkeypatch):
    """What the miniature needs beside its weights is mostly constant; ask for little, so that weights decide."""
    memory = pack("nodes.host.memory")
    original = memory.make_resident
    for module in ("nodes.training_view", "nodes.sampler"):
        monkeypatch.setattr(pack(module), "make_resident", lambda ar, needed: original(ar, 32 * MIB))


@pytest.fixture
def card(base, monkeypatch):
    """Starts a card of so many bytes in place of the one before; see `pretend`."""
    import comfy.model_management as memory

    started = []

    def stop() -> None:
        memory.unload_all_models()
        while started:
            started.pop().__exit__(None, None, None)

    def start(size: int, *, cuda_malloc: bool = True, **others: int) -> Card:
        stop()
        pretended = Card(size)
        pretended.__enter__()
        started.append(pretended)
        pretend(pretended, monkeypatch.setattr, cuda_malloc=cuda_malloc, **others)
        return pretended

    yield start
    stop()


def whole_graph(precision: str, **changes) -> dict:
    """Both stages, a picture of the subject, and one of the base."""
    nodes = sampled(applied(graph(model__precision=precision, **changes)), ["apply", 0], prompt=PROMPT)
    return sampled(nodes, ["model", 0], name="base", prompt="a photo of a red dog")


def learned(outcome) -> tuple[torch.Tensor, list[torch.Tensor]]:
    personalization = outcome.outputs["tune"][0][0]
    return personalization.concept, [p.detach() for p in personalization.adapter.parameters()]


def check_equal(got, expected, drawn=("draw", "base")) -> None:
    assert got.ok, got.traceback or got.refused
    vectors, adapter = learned(got)
    wanted, wanted_adapter = learned(expected)
    assert torch.allclose(vectors, wanted, atol=1e-5)
    assert not any(isinstance(p, CardTensor) for p in adapter)
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(adapter, wanted_adapter, strict=True))
    for name in drawn:
        for picture, other in zip(pictures(got, name), pictures(expected, name), strict=True):
            assert (picture - other).abs().mean() < 2e-3


@pytest.fixture
def on_a_large_card(comfy, runs, card, same_window):
    """What comes out where everything fits."""

    def run(precision: str, **changes):
        runs(f"large card, {precision}")
        pretended = card(8 * 2**30)
        outcome = Comfy(comfy.base).run(whole_graph(precision, **changes))
        assert outcome.ok, outcome.traceback
        assert not pretended.races, pretended.races
        return outcome

    return run


def sizes(pack, outcome) -> tuple[int, int]:
    """Bytes of the transformer and of the image tokenizer."""
    core = pack("ar_core.memory")
    model = outcome.outputs["model"][0][0].model
    return core.weight_bytes(model.transformer), core.weight_bytes(model.image_tokenizer)


def test_a_card_on_which_everything_fits(comfy, runs, on_a_large_card):
    """Both stages, a LoRA as a patch and pictures are those of the CPU."""
    runs("cpu")
    on_cpu = Comfy(comfy.base).run(whole_graph("fp32"))
    check_equal(on_a_large_card("fp32"), on_cpu)


DEEP = {"learn__depth": 2, "learn__image_concept": "on"}


@pytest.mark.parametrize(
    "precision, share, cuda_malloc, changes",
    [("fp32", 0.4, True, {}), ("int8", 0.7, False, {}), ("int8", 0.7, True, DEEP)],
)
def test_a_card_on_which_layers_are_streamed(
    precision, share, cuda_malloc, changes, comfy, pack, runs, card, on_a_large_card, needs_little
):
    """The same results, and no race of streams."""
    wanted = on_a_large_card(precision, **changes)
    transformer, tokenizer = sizes(pack, wanted)
    runs("card")
    held = int(share * transformer)
    pretended = card(held + tokenizer + 32 * MIB, cuda_malloc=cuda_malloc, most=held)
    got = Comfy(comfy.base).run(whole_graph(precision, **changes))
    check_equal(got, wanted)
    assert got.outputs["model"][0][0].model.transformer.model_lowvram  # some layers were
    assert not pretended.races, pretended.races


@pytest.mark.parametrize("precision, share, changes", [("fp32", 0.5, {}), ("int8", 0.2, {}), ("fp32", 0.5, DEEP)])
def test_dynamic_vram(precision, share, changes, comfy, pack, runs, card, on_a_large_card, needs_little):
    """Weights come when they are needed and may be evicted before backward needs them again."""
    pytest.importorskip("comfy_aimdo")
    patchers = pytest.importorskip("comfy.model_patcher")
    if not hasattr(patchers, "ModelPatcherDynamic"):
        pytest.skip("this ComfyUI has no DynamicVRAM")
    wanted = on_a_large_card(precision, **changes)
    transformer, tokenizer = sizes(pack, wanted)
    runs("card")
    pretended = card(8 * 2**30, dynamic=int(share * transformer))
    got = Comfy(comfy.base).run(whole_graph(precision, **changes))
    check_equal(got, wanted)
    assert type(got.outputs["model"][0][0].transformer).__mro__[1] is patchers.ModelPatcherDynamic
    assert sum(Vbar.evicted.values()) > 0
    assert not any(count for vbar in Vbar.all for count in vbar.pinned.values())  # everything was given back
    assert not pretended.races, pretended.races


@pytest.mark.parametrize("precision, dynamic", [("int8", False), ("fp32", True)])
def test_a_janus_pro_whose_head_is_streamed(
    precision, dynamic, base, comfy, pack, runs, card, same_window, needs_little
):
    """Its head has biases, which streamed layers of the other models have not."""
    if dynamic:
        pytest.importorskip("comfy_aimdo")
        if not hasattr(pytest.importorskip("comfy.model_patcher"), "ModelPatcherDynamic"):
            pytest.skip("this ComfyUI has no DynamicVRAM")
    write_janus(base / "models" / "Janus-Pro" / "tiny")
    nodes = whole_graph(precision)
    nodes["model"] = node("LoadJanusPro", model_name="tiny", precision=precision)
    del nodes["base"], nodes["base_seen"]  # a picture has 576 codes
    runs("large card, janus")
    card(8 * 2**30)
    wanted = Comfy(comfy.base).run(nodes)
    assert wanted.ok, wanted.traceback or wanted.refused
    transformer, tokenizer = sizes(pack, wanted)
    runs("card, janus")
    held = int(0.4 * transformer)
    sizes_of_card = {"size": held + tokenizer + 32 * MIB, "most": held}
    if dynamic:
        sizes_of_card = {"size": 8 * 2**30, "dynamic": held}
    pretended = card(**sizes_of_card)
    got = Comfy(comfy.base).run(nodes)
    check_equal(got, wanted, ("draw",))
    model = got.outputs["model"][0][0].model
    assert (dynamic or model.transformer.model_lowvram) and model.transformer.image_head.output.bias is not None
    assert not pretended.races, pretended.races
