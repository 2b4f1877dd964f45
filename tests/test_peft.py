"""What docs/file-format.md says of a saved LoRA and peft."""

import re
from pathlib import Path

import pytest
import torch
from toy import learned, toy_model

peft = pytest.importorskip("peft")

PAGE = Path(__file__).parents[1] / "docs" / "file-format.md"


def test_the_lines_of_the_page_load_a_saved_lora_into_peft(tmp_path):
    subject = learned(toy_model())
    path = subject.save(tmp_path / "dog")
    lines = re.search(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.S)[1]
    lines = lines.replace('"subjects/lilac_dog.safetensors"', repr(str(path)))
    base = toy_model().transformer
    names = {"model": base}
    exec(compile(lines, str(PAGE), "exec"), names)
    for name in subject.adapter.names():
        loaded = names["model"].base_model.model.get_submodule(name)
        change = loaded.get_delta_weight("default")
        assert torch.allclose(change, subject.adapter.change(name), atol=1e-6)
    assert torch.equal(names["vectors"], subject.vectors)
