"""`python -m ar_core info`: what a model, a personalization or a recipe is."""

from __future__ import annotations

import argparse
from dataclasses import fields

from ..families.family import Recipe
from ..families.lumina_mgpt import PAPER_RECIPE, PAPER_SOURCES
from ..memory import picture_bytes, weight_bytes
from ..personalization import Personalization
from .shared import load_model, print_values


def run_info(options: argparse.Namespace) -> None:
    if options.recipe == "paper":
        return print_recipe("the paper (arXiv 2504.13162)", PAPER_RECIPE, PAPER_SOURCES)
    if options.file is not None:
        p = Personalization.load(options.file)
        parameters = sum(t.numel() for t in p.adapter.parameters()) if p.adapter else 0
        print(
            f"{p.identifier} {p.class_name}: {len(p.vectors)} vector(s) + {p.adapter.method if p.adapter else 'no'} change of {parameters} parameters"
        )
        print(f"base fingerprint: {p.base_fingerprint}")
        return print_values("recipe", p.recipe)
    model = load_model(options)
    parameters = sum(p.numel() for p in model.transformer.parameters()) + sum(
        p.numel() for p in model.image_tokenizer.parameters()
    )
    print(f"parameters: {parameters / 1e6:.1f}M; licence: {model.family.licence}")
    weights = weight_bytes(model.transformer) + weight_bytes(model.image_tokenizer)
    recipe = model.family.recipe
    beside = picture_bytes(model.transformer, model.image_tokenizer.config, model.protocol, recipe.size, 1, recipe.cfg)
    print(
        f"memory: {weights / 2**20:.0f} MiB of weights, {beside / 2**20:.0f} MiB beside them for one picture (computed)"
    )
    print("sizes: " + ", ".join(f"{w}x{h}" for w, h in model.family.sizes))
    if options.recipe:
        print_recipe(model.family.title, model.family.recipe, {})


def print_recipe(title: str, recipe: Recipe, sources: dict[str, str]) -> None:
    print(f"recipe of {title}:")
    for field in fields(recipe):
        source = sources.get(field.name, "our assumption") if sources else ""
        print(f"  {field.name:26} {getattr(recipe, field.name)!s:12} {source}".rstrip())
