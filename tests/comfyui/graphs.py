"""Graphs in API form, made by hand or read from the templates, and what came out of them."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import torch

PACK = Path(__file__).resolve().parents[2]
TEMPLATES = PACK / "example_workflows"


def number_and_title(name: str) -> tuple[int, str]:
    """Those of a template: "2 Teach your own subject"."""
    number, _, title = name.partition(" ")
    return int(number), title


# The templates in the order of their numbers, and the names of their API forms.
WORKFLOWS = {
    name: number_and_title(name)[1].lower().replace(" ", "_")
    for name in sorted((path.stem for path in TEMPLATES.glob("*.json")), key=number_and_title)
}
LEARNING = "2 Teach your own subject"
SCORING = "6 Score a subject"
JANUS = "8 Teach Janus-Pro and enlarge"
TWO = "3 Draw two subjects"
DEEP = "9 Teach a deep concept"
STYLE = "10 Teach a style"
CAT = "example: cream_cat"


def graph(steps: int = 2, **changes) -> dict:
    """Photos -> learn -> fine-tune, with previews that make ComfyUI run them; `changes`: node__input=value."""
    nodes = {
        "model": node("LoadModel", model_name="miniature (built in)", precision="auto"),
        "photos": node("SubjectPhotos", folder=CAT, class_name=""),
        "learn": node(
            "LearnIdentifier",
            ar_model=["model", 0],
            subject=["photos", 0],
            steps=steps,
            learning_rate=0.0,
            training_seed=0,
        ),
        "tune": node(
            "FineTuneTransformer",
            ar_model=["model", 0],
            subject=["photos", 0],
            identifier_embedding=["learn", 0],
            method="LoRA",
            rank=2,
            steps=steps,
            learning_rate=0.0,
            training_seed=0,
        ),
        "seen": {"class_type": "PreviewImage", "inputs": {"images": ["tune", 2]}},
    }
    return changed(nodes, **changes)


def node(kind: str, **inputs) -> dict:
    return {"class_type": f"LuminaMGPT{kind}", "inputs": inputs}


def changed(nodes: dict, **changes) -> dict:
    nodes = copy.deepcopy(nodes)
    for key, value in changes.items():
        name, _, field = key.partition("__")
        nodes[name]["inputs"][field] = value
    return nodes


def sampled(nodes: dict, model: list, name: str = "draw", **inputs) -> dict:
    """`nodes` with a sampler on `model` and a preview of its pictures."""
    values = {
        "prompt": "a photo of a dog",
        "shape": "1:1",
        "cfg": 0.0,
        "top_k": 0,
        "temperature": 1.0,
        "seed": 1,
        "batch_size": 1,
        "decoding": "auto",
        **inputs,
    }
    return {
        **nodes,
        name: node("Sampler", ar_model=model, **values),
        f"{name}_seen": {"class_type": "PreviewImage", "inputs": {"images": [name, 0]}},
    }


def applied(nodes: dict, name: str = "apply", model="model", personalization="tune", **inputs) -> dict:
    values = {"strength": 1.0, "identifier": "", **inputs}
    return {
        **nodes,
        name: node("ApplyPersonalization", ar_model=[model, 0], personalization=[personalization, 0], **values),
    }


def pictures(outcome, name: str = "draw") -> list[torch.Tensor]:
    assert outcome.ok, outcome.error or outcome.refused
    return outcome.outputs[name][0]


def workflow(name: str) -> dict:
    """A template, as the API takes it."""
    return json.loads((TEMPLATES / "api" / f"{WORKFLOWS[name]}.json").read_text(encoding="utf-8"))
