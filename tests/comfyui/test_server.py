"""The pack in a server as users start it: messages, interruptions, restarts."""

from __future__ import annotations

import asyncio
import json
import time
from urllib.request import Request, urlopen

import psutil
import pytest
from graphs import LEARNING, changed, graph, node, sampled, workflow
from PIL import Image
from real_server import Server, run


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return tmp_path_factory.mktemp("server")


@pytest.fixture(scope="module")
def server(base):
    with Server(base) as started:
        yield started


def go(server: Server, nodes: dict, **options):
    return asyncio.run(run(server, nodes, **options))


def short(name: str) -> dict:
    nodes = workflow(name)
    for value in nodes.values():
        if "training_seed" in value["inputs"]:
            value["inputs"]["steps"] = 12
        if value["class_type"] == "LuminaMGPTPrompts":
            value["inputs"]["lines"] = value["inputs"]["lines"].splitlines()[0]
    return nodes


def test_the_pack_loads_and_serves_its_templates_and_help(server):
    assert "IMPORT FAILED" not in server.log.split("Import times for custom nodes")[1].split("\n\n")[0]
    templates = json.load(urlopen(f"{server.address}/api/workflow_templates"))
    assert LEARNING in templates["lumina-mgpt-personalization"]
    page = urlopen(f"{server.address}/extensions/lumina-mgpt-personalization/docs/LuminaMGPTSampler.md").read()
    assert b"AR Sampler" in page


def test_the_first_template_draws_within_ten_seconds(server):
    started = time.monotonic()
    seen = go(server, workflow("1 Draw a learned subject"))
    assert seen.end == "execution_success", seen.error or seen.refused
    assert time.monotonic() - started < 10


def test_the_main_workflow_reports_previews_and_is_remembered(server):
    first = go(server, short(LEARNING))
    assert first.end == "execution_success", first.error or first.refused
    assert first.progress > 20 and first.previews > 2  # later versions send at most so many a second
    assert "left of" in first.said("3") and "trained" in first.said("4") and "write [V] dog" in first.said("5")
    again = go(server, short(LEARNING))
    assert again.end == "execution_success" and again.executed == []


def test_an_interrupted_training_goes_on(server):
    nodes = graph(learn__steps=60, learn__training_seed=5)
    stopped = go(server, nodes, interrupt_when=lambda seen: " of 60, " in seen.said("learn"))
    assert stopped.end == "execution_interrupted" and "kept" in stopped.said("learn")
    nodes["learn"]["inputs"]["steps"] = 20
    resumed = go(server, nodes)
    assert resumed.end == "execution_success" and "went on from step" in resumed.said("learn")


def test_an_interrupted_sampler_stops_at_once_and_the_server_stays_healthy(server):
    nodes = sampled({"model": graph()["model"]}, ["model", 0], prompt="a red dog on the beach", batch_size=4)
    stopped = go(server, nodes, interrupt_when=lambda seen: seen.progress > 3)
    assert stopped.end == "execution_interrupted" and stopped.progress < 120
    assert go(server, sampled({"model": graph()["model"]}, ["model", 0])).end == "execution_success"


def test_the_unload_button_frees_the_model_and_the_next_run_loads_it_again(server):
    nodes = sampled({"model": graph()["model"]}, ["model", 0], seed=11)
    assert go(server, nodes).end == "execution_success"
    before = server.log.count("Requested to load Transformer")
    free(server, unload_models=True)
    for seed in (
        12,
        13,
    ):  # the worker frees either before or after a prompt that comes at once, and always before the next
        nodes["draw"]["inputs"]["seed"] = seed
        assert go(server, nodes).end == "execution_success"
    assert server.log.count("Requested to load Transformer") == before + 1


def free(server: Server, **what: bool) -> None:
    """The buttons that unload models and free memory."""
    body = json.dumps(what).encode()
    urlopen(Request(f"{server.address}/free", body, {"Content-Type": "application/json"}))


def resident_bytes(server: Server) -> int:
    """Main memory that the server holds."""
    return psutil.Process(server.process.pid).memory_info().rss


def test_freeing_everything_repeats_no_training_step(server):
    nodes = graph(learn__training_seed=8, tune__training_seed=8)
    assert go(server, nodes).end == "execution_success"
    free(server, unload_models=True, free_memory=True)
    time.sleep(1)
    again = go(server, changed(nodes, tune__training_seed=8, photos__class_name="cat"))
    assert again.end == "execution_success", again.error
    assert "remembered" in again.said("learn") and "remembered" in again.said("tune")


def test_two_queued_prompts_train_once(server):
    nodes = graph(learn__training_seed=9, tune__training_seed=9)

    async def both():
        return await asyncio.gather(run(server, nodes), run(server, changed(nodes, photos__class_name="cat")))

    first, second = asyncio.run(both())
    assert first.end == second.end == "execution_success"
    ends = {text.splitlines()[0] for seen in (first, second) for key, text in seen.texts if key == "tune"}
    assert {"layers: 2 steps, trained.", "layers: 2 steps, remembered."} <= ends
    assert first.texts.count(("tune", "getting ready")) <= 2  # both are heard by every client


def test_another_model_in_between_changes_no_picture(server, base):
    from tiny import write_lumina

    write_lumina(base / "models" / "lumina_mgpt" / "between")
    nodes = sampled({"model": graph()["model"]}, ["model", 0], seed=21)
    save = {"class_type": "SaveImage", "inputs": {"images": ["draw", 0], "filename_prefix": "between"}}
    other = sampled({"model": node("LoadModel", model_name="between", precision="auto")}, ["model", 0], top_k=5)
    pictures = []
    for graph_ in (nodes, other, changed(nodes, draw__batch_size=1)):
        seen = go(server, {**graph_, "save": save})
        assert seen.end == "execution_success", seen.error or seen.refused
        if graph_ is not other:
            (saved,) = seen.outputs["save"]["images"]
            pictures.append(Image.open(base / "output" / saved["filename"]).tobytes())
        free(server, free_memory=True)
    assert pictures[0] == pictures[1]


def test_a_list_of_25_prompts_does_not_make_the_server_grow(server):
    """Twice as many pictures of the same kind, and the server holds no more than some of them."""
    lines = "\n".join(f"a photo of a red dog {place}" for place in ["on the beach", "in the snow"] * 12 + ["in space"])
    nodes = sampled(
        {"model": graph()["model"], "lines": node("Prompts", lines=lines)}, ["model", 0], prompt=["lines", 0]
    )
    held = []
    for seed in (31, 32, 33):
        assert go(server, changed(nodes, draw__seed=seed)).end == "execution_success"
        held.append(resident_bytes(server))
    assert held[2] - held[1] < 40 * 2**20, [size // 2**20 for size in held]


def test_errors_reach_the_client_as_a_sentence(server):
    assert "No photo is connected" in go(server, graph(photos__folder="(connected images)")).error


def test_a_restarted_server_repeats_no_training_step(server, base):
    with Server(base) as restarted:
        seen = go(restarted, short(LEARNING))
    assert seen.end == "execution_success"
    assert "remembered" in seen.said("3") and "remembered" in seen.said("4")
