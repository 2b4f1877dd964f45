"""Started by `comfyui.py` in ComfyUI's folder: its start without its server, then our nodes. Not to be imported."""

from __future__ import annotations

import importlib.util
import json
import sys
import tempfile
import time
from pathlib import Path

PACK = Path(__file__).resolve().parents[2]
FOLDER, DYNAMIC, DEVICE = sys.argv[1:4]
sys.argv = ["main.py", "--base-directory", tempfile.mkdtemp()]
if DEVICE == "cpu":
    sys.argv.append("--cpu")
elif DYNAMIC == "off":
    sys.argv.append("--disable-dynamic-vram")

import comfy.options  # noqa: E402

comfy.options.enable_args_parsing()

import comfy_aimdo.control  # noqa: E402

if DYNAMIC == "on":
    comfy_aimdo.control.init()

import comfy.memory_management  # noqa: E402
import comfy.model_management  # noqa: E402
import comfy.model_patcher  # noqa: E402
import torch  # noqa: E402
import utils.install_util  # noqa: E402, F401  (else `utils` becomes another package)


def start_dynamic_vram() -> bool:
    """As ComfyUI's main.py does."""
    if DYNAMIC == "off" or DEVICE == "cpu":
        return False
    if not comfy_aimdo.control.init_devices([(comfy.model_management.get_torch_device().index or 0, 0)]):
        return False
    comfy.model_patcher.CoreModelPatcher = comfy.model_patcher.ModelPatcherDynamic
    comfy.memory_management.aimdo_enabled = True
    return True


def the_pack() -> None:
    """Import this repository as ComfyUI imports a custom node."""
    spec = importlib.util.spec_from_file_location(
        "subject_pack", PACK / "__init__.py", submodule_search_locations=[str(PACK)]
    )
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["subject_pack"] = module
    spec.loader.exec_module(module)


def main() -> None:
    started = start_dynamic_vram()
    the_pack()
    load = importlib.import_module("subject_pack.nodes.load_model").LoadModel
    sampler = importlib.import_module("subject_pack.nodes.sampler").Sampler
    for precision in ("bf16", "int8"):
        began = time.perf_counter()
        with torch.inference_mode():
            ar = load.execute("miniature (built in)", precision).args[0]
            images = sampler.execute(
                [ar], ["a photo of a red dog on the beach"], ["1:1"], [0.0], [0], [1.0], [1], [1], ["auto"]
            ).args[0][0]
        found = {
            "dynamic_vram": DYNAMIC,
            "was_started": started,
            "precision": precision,
            "patcher": type(ar.transformer).__mro__[1].__name__,
            "picture": list(images.shape),
            "spread": round(float(images.float().std()), 4),
            "seconds": round(time.perf_counter() - began, 2),
        }
        print(f"row: {json.dumps(found)}", flush=True)


main()
