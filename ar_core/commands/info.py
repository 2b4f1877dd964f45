"""`ar-personalize info`: describe a model, a personalization or a recipe."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path

from ..devices import describe_support
from ..families.family import Recipe
from ..families.lumina_mgpt import ARTIST_RECIPE, PAPER_RECIPE, PAPER_SOURCES
from ..families.miniature import MINIATURE
from ..families.recipes import ARTIST, AUTO, PAPER, RECIPES
from ..memory import (
    drawing_bytes,
    learning_bytes,
    room,
    size_text,
    trainable_parameters,
    weight_bytes,
)
from ..model import ARModel
from ..personalization import Personalization
from .shared import load_model_from_options, loading_options, print_option_values

# What no value says.
ASSUMED_OF_METHOD = """Of the method, our reading:
  stage 2 trains q, k and v of every layer: inferred from the reported 1610.6M parameters
  stage 2 leaves the embedding as stage 1 learned it: the paper may train it further
  prompts for training: ten of ours after Textual Inversion's list, of which the paper names 27"""
ASSUMED = "our assumption"  # a value of the paper's recipe for which there is no source


def add_options(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "file", type=Path, nargs="?", help="a personalization file; without one, the model is described"
    )
    loading_options(command)
    command.add_argument(
        "--recipe",
        choices=tuple(RECIPES),
        help="list every value of a recipe: auto, the model family's; paper, the paper's, with the source of each; "
        "artist, ours, with what differs from the paper's",
    )


def run(options: argparse.Namespace) -> None:
    if options.file is not None and options.recipe:
        raise ValueError("Give either a personalization file or --recipe: the recipe of a file is in what it says.")
    if options.file is not None:
        describe_personalization(Personalization.load(options.file))
        return
    if options.model != MINIATURE.name or options.recipe in (None, AUTO):
        model = load_model_from_options(options)
        describe_model(model)
        if options.recipe is None:
            return
        if options.recipe == AUTO or not model.family.own_recipe_is_papers:
            print_recipe(model.family.title, model.family.recipe, {})
            return
    if options.recipe == PAPER:
        print_paper_recipe()
    elif options.recipe == ARTIST:
        print_artist_recipe()


def print_paper_recipe() -> None:
    """Every value of the paper's recipe with its source."""
    sources = {field.name: PAPER_SOURCES.get(field.name, ASSUMED) for field in fields(PAPER_RECIPE)}
    print_recipe("the paper (arXiv 2504.13162)", PAPER_RECIPE, sources)
    print(ASSUMED_OF_METHOD)


def print_artist_recipe() -> None:
    """Every value of ours, and the paper's where that is another."""
    differing = {}
    for field in fields(PAPER_RECIPE):
        before = getattr(PAPER_RECIPE, field.name)
        if before != getattr(ARTIST_RECIPE, field.name):
            differing[field.name] = f"the paper: {before}"
    print_recipe("ours for artists", ARTIST_RECIPE, differing)


def print_recipe(title: str, recipe: Recipe, sources: Mapping[str, str]) -> None:
    """One line for each value, with its source where `sources` has one."""
    print(f"recipe of {title}:")
    for field in fields(recipe):
        line = f"  {field.name:26} {getattr(recipe, field.name)!s:12} {sources.get(field.name, '')}"
        print(line.rstrip())


def describe_personalization(personalization: Personalization) -> None:
    """Print what a personalization file says of itself."""
    adapter = personalization.adapter
    if adapter is None:
        change = "no change of the layers"
    else:
        parameters = sum(tensor.numel() for tensor in adapter.parameters())
        change = f"{adapter.method} change of {parameters} parameters"
    name = personalization.full_name
    if not personalization.class_name:
        name += ", a style"
    print(f"{name}: {describe_vectors(personalization)} + {change}")
    print(f"base: {personalization.architecture_name}, fingerprint {personalization.base_fingerprint}")
    if personalization.licence_notice:
        print(f"licence: {personalization.licence_notice}")
    print_option_values("recipe", personalization.recipe)


def describe_vectors(personalization: Personalization) -> str:
    """How many vectors prompts have of it: "1 vector(s)", of a deep concept also in how many layers, and what more."""
    vectors = personalization.vectors.shape[-2]
    text = f"{vectors} vector(s)"
    if personalization.is_deep:
        text += f" in each of the first {len(personalization.vectors)} layer(s)"
    if personalization.image_vectors is not None:
        text += ", an image concept"
    return text


def describe_model(model: ARModel) -> None:
    """Print a model's family, licence, sizes, memory and device."""
    modules = (model.transformer, model.image_tokenizer)
    parameters = sum(tensor.numel() for module in modules for tensor in module.parameters())
    print(f"parameters: {parameters / 1e6:.1f}M; licence: {model.family.licence}")
    weights = sum(weight_bytes(module) for module in modules)
    recipe = model.family.recipe
    learned = trainable_parameters(model.transformer, "lora", recipe.lora_rank)
    needs = {
        "one picture": drawing_bytes(model, recipe.size, 1, recipe.cfg),
        "stage 1": learning_bytes(model, 1, True, 0),
        "stage 2 with LoRA": learning_bytes(model, 1, True, learned),
    }
    beside = ", ".join(f"{what} {size_text(needed)}" for what, needed in needs.items())
    print(f"memory: {size_text(weights)} of weights; beside them, computed: {beside}")
    free = room(model.device)
    if free is not None:
        print(f"free on {model.device}, with the model loaded: {size_text(free)}")
    print(f"device: {describe_support(model.device)}")
    sizes = [f"{width}x{height}" for width, height in model.family.sizes]
    print(f"sizes: {', '.join(sizes)}")
