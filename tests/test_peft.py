"""What docs/file-format.md says of a saved LoRA and peft."""

import inspect
import re
import textwrap
from pathlib import Path

import pytest
import torch
from toy import learned, toy_model

pytest.importorskip("peft")

PAGE = Path(__file__).parents[1] / "docs" / "file-format.md"


def into_peft(path, model):
    """The lines of the page, but for the path and the model that they begin with."""
    from peft import LoraConfig, get_peft_model, set_peft_model_state_dict
    from safetensors import safe_open
    from safetensors.torch import load_file

    tensors = load_file(path)
    with safe_open(path, "pt") as file:
        alpha = float(file.metadata()["alpha"])
    vectors = tensors.pop("identifier")
    rank = next(value.shape[0] for name, value in tensors.items() if "lora_A" in name)
    config = LoraConfig(r=rank, lora_alpha=alpha, target_modules=["q_proj", "k_proj", "v_proj"])
    model = get_peft_model(model, config)
    set_peft_model_state_dict(model, tensors)
    return model, vectors


def test_the_lines_of_the_page_load_a_saved_lora_into_peft(tmp_path):
    subject = learned(toy_model())
    model, vectors = into_peft(subject.save(tmp_path / "dog"), toy_model().transformer)
    for name in subject.adapter.names():
        loaded = model.base_model.model.get_submodule(name)
        assert torch.allclose(loaded.get_delta_weight("default"), subject.adapter.change(name), atol=1e-6)
    assert torch.equal(vectors, subject.vectors)


def test_they_are_the_lines_of_the_page():
    shown = re.search(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.S)[1]
    shown = [line.partition("  #")[0] for line in shown.splitlines() if line and not line.startswith("path = ")]
    body = textwrap.dedent(inspect.getsource(into_peft).split('"""')[2])
    assert [line for line in body.splitlines() if line and not line.startswith("return")] == shown
