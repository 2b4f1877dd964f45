"""Loading in every precision, under both ways in which ComfyUI manages memory."""

from __future__ import annotations

import importlib.util
from contextlib import suppress

import pytest
import torch
from template_models import write_janus

PRECISIONS = ["bf16", "fp16", "fp32", "int8"] + (["4-bit"] if importlib.util.find_spec("bitsandbytes") else [])


@pytest.fixture(params=["legacy", "dynamic"])
def management(request, base, monkeypatch):
    """DynamicVRAM, the default on NVIDIA cards since 0.16, is a flag in what builds layers."""
    with suppress(ImportError):  # not in 0.3.64
        import comfy.memory_management

        monkeypatch.setattr(comfy.memory_management, "aimdo_enabled", request.param == "dynamic", raising=False)
    return request.param


@pytest.mark.parametrize("precision", PRECISIONS)
def test_the_loader_loads_and_the_sampler_draws(management, base, pack, precision):
    with torch.inference_mode():  # as the executor runs nodes
        ar = pack("nodes.load_model").LoadModel.execute("miniature (built in)", precision).args[0]
        images = (
            pack("nodes.sampler")
            .Sampler.execute(
                [ar], ["a photo of a red dog on the beach"], ["1:1"], [0.0], [0], [1.0], [1], [1], ["auto"]
            )
            .args[0]
        )
    assert images[0].shape == (1, 96, 96, 3) and torch.isfinite(images[0]).all() and images[0].std() > 0.05
    layers = pack("nodes.host.layers").Layers
    projection = ar.model.transformer.model.layers[0].self_attn.q_proj
    assert isinstance(projection, layers.Linear) and projection.weight.numel()


def test_a_checkpoint_that_is_wrong_is_named_in_both(management, base, pack):
    from tiny import write_lumina

    folder = write_lumina(base / "models" / "lumina_mgpt" / f"other-{management}")
    import safetensors.torch

    weights = safetensors.torch.load_file(folder / "model.safetensors")
    safetensors.torch.save_file(
        {**weights, "model.layers.0.self_attn.extra.weight": torch.zeros(2)}, folder / "model.safetensors"
    )
    with pytest.raises(pack("ar_core.checkpoints.reader").CheckpointError, match="does not have"):
        pack("nodes.load_model").LoadModel.execute(f"other-{management}", "auto")


@pytest.mark.parametrize("place", ["Janus-Pro/any name", "lumina_mgpt/among others"])
def test_a_janus_pro_is_listed_wherever_it_lies_and_draws(place, base, pack, monkeypatch):
    said = []
    monkeypatch.setattr(pack("nodes.sampler"), "show_text", said.append)
    folders = pack("nodes.host.folders")
    write_janus(base / "models" / place)
    entry = place if place.startswith(folders.MODELS) else place.partition("/")[2]
    assert entry in folders.entries_of_family(folders.JANUS, pack("ar_core.families.janus_pro").is_janus_pro)
    with torch.inference_mode():
        loaded = pack("nodes.load_janus_pro").LoadJanusPro.execute(entry, "fp32")
        ar = loaded.args[0]
        images = (
            pack("nodes.sampler")
            .Sampler.execute([ar], ["a dog"], ["1:1", "16:9"], [0.0], [0], [1.0], [1], [1], ["auto"])
            .args[0]
        )
    assert "commercial use allowed" in loaded.args[1]
    assert [image.shape for image in images] == [(1, 384, 384, 3)] * 2
    assert "This model does not draw 16:9: 384x384 is the nearest that it does" in said[-1]


def test_without_a_janus_pro_the_loader_says_where_one_goes(pack):
    node = pack("nodes.load_janus_pro")
    with pytest.raises(ValueError, match=r"no Janus-Pro in .*Janus-Pro yet.*press R"):
        node.LoadJanusPro.execute(node.NOTHING, "auto")


def test_a_folder_with_an_odd_config_takes_no_node_away(base, pack):
    """Every node of the pack would be gone where one cannot say what its inputs are."""
    folder = base / "models" / "lumina_mgpt" / "odd"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text('{"model_type": []}', encoding="utf-8")
    options = pack("nodes.load_janus_pro").LoadJanusPro.GET_SCHEMA().inputs[0].options
    assert "lumina_mgpt/odd" not in options
    assert "odd" in pack("nodes.load_model").LoadModel.GET_SCHEMA().inputs[0].options
