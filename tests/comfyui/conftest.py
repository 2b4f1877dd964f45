"""A ComfyUI in this process: its own loader, validation and executor, on folders of the test session."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACK = Path(__file__).resolve().parents[2]
COMFYUI = Path(os.environ["COMFYUI_PATH"])
sys.path.insert(0, str(COMFYUI))  # first: its module `nodes` must not be ours
sys.path += [str(PACK / "tests"), str(PACK)]  # last: the makers of small checkpoints

import torch  # noqa: E402
from graphs import graph  # noqa: E402
from in_process import Comfy  # noqa: E402

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def base(tmp_path_factory) -> Path:
    """ComfyUI with the pack loaded by its own loader; models, input, output and temp lie below this folder."""
    base = tmp_path_factory.mktemp("comfyui")
    from comfy.cli_args import args

    args.cpu, args.base_directory = True, str(base)
    import folder_paths
    import utils.install_util  # noqa: F401  (else `utils` becomes another package)

    folder_paths.base_path, folder_paths.models_dir = str(base), str(base / "models")
    for kind in ("input", "output", "temp"):
        (base / kind).mkdir(exist_ok=True)
    folder_paths.set_input_directory(str(base / "input"))
    folder_paths.set_output_directory(str(base / "output"))
    folder_paths.set_temp_directory(str(base / "temp"))
    link = base / "custom_nodes" / "lumina-mgpt-personalization"
    link.parent.mkdir(exist_ok=True)
    link.symlink_to(PACK, target_is_directory=True)
    import nodes

    asyncio.run(nodes.init_builtin_extra_nodes())
    assert asyncio.run(nodes.load_custom_node(str(link), module_parent="custom_nodes")) is True
    return base


@pytest.fixture
def comfy(base) -> Iterator[Comfy]:
    import comfy.model_management

    yield Comfy(base)
    comfy.model_management.unload_all_models()


@pytest.fixture(scope="session")
def pack(base):
    """A module of the loaded pack by its path, e.g. pack("ar_core.training.loop")."""

    def find(name: str):
        return next(module for key, module in sys.modules.items() if key.endswith(f"personalization.{name}"))

    return find


@pytest.fixture
def steps(pack, monkeypatch) -> list[int]:
    """Grows by one number with every training step that is really computed."""
    loop, counted = pack("ar_core.training.loop").Loop, []
    original = loop._gradients
    monkeypatch.setattr(loop, "_gradients", lambda self: (counted.append(self.step), original(self))[1])
    return counted


@pytest.fixture(scope="module")
def trained(base):
    """Two steps of each stage, remembered for every test of this module."""
    outcome = Comfy(base).run(graph())
    assert outcome.ok, outcome.error or outcome.refused
    return outcome


@pytest.fixture
def streamed(pack, monkeypatch):
    """As on a card with little memory: most layers are cast, and patched, whenever they run."""
    import comfy.model_management

    comfy.model_management.unload_all_models()
    loaded = []

    def load(ar, needed):
        with torch.inference_mode():  # as when another pack's sampler makes room
            if loaded:
                loaded[-1].detach()
            ar.transformer.patch_model(torch.device("cpu"), lowvram_model_memory=2**20)
        assert ar.transformer.model.model_lowvram
        loaded.append(ar.transformer)

    for module in ("nodes.training_view", "nodes.sampler"):
        monkeypatch.setattr(pack(module), "make_resident", load)
    yield loaded
    loaded[-1].detach()
