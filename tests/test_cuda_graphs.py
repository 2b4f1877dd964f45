"""When a step is recorded, replayed and run plainly.

A stand-in takes the place of CUDA's capture: its replay runs the step on the buffers.
"""

import gc
import weakref

import pytest
import torch
from small_world import MODEL, PROMPTS, PROTOCOL, SIZE, settings, tiny_transformer

from ar_core.sampling import jacobi, sequential
from ar_core.sampling.engine import Engine
from ar_core.sampling.graphs import Graphs
from ar_core.sampling.steps import KeptSteps, StepOptions

CPU = torch.device("cpu")


class Tape:
    """Capture runs nothing, as on a card; a replay overwrites the one result."""

    def __init__(self, shape=(2, 3)):
        self.captured, self.replayed, self.shape = 0, 0, shape

    def __call__(self, step):
        self.captured += 1
        result = torch.full(self.shape, float("nan"))

        def replay():
            self.replayed += 1
            result.copy_(step())

        return replay, result


def begun(weights, capture):
    """Graphs at the start of a picture."""
    graphs = Graphs(weights, CPU, capture)
    graphs.begin()
    return graphs


def doubled(ids, positions, slots):
    return 2.0 * ids + positions + slots


def tensors(first):
    return torch.arange(6).view(2, 3) + first, torch.full((2, 3), first)


def test_the_second_step_of_a_shape_is_recorded_and_later_ones_replayed():
    weight, tape = torch.zeros(1), Tape()
    graphs = begun(lambda: [weight], tape)
    results = [graphs(doubled, *tensors(first), 128) for first in range(5)]
    for first, result in enumerate(results):  # also: no result was overwritten by a later step
        assert torch.equal(result, doubled(*tensors(first), 128))
    assert tape.captured == 1 and tape.replayed == 4
    graphs(doubled, *tensors(0), 256), graphs(doubled, *tensors(0), 256)
    graphs(doubled, torch.zeros(2, 1), torch.zeros(2, 1), 256)
    assert tape.captured == 2 and set(graphs.recordings) == {(2, 3, 128), (2, 3, 256)}


def test_weights_that_lie_elsewhere_drop_every_recording():
    weights, tape = [torch.zeros(1), torch.zeros(1)], Tape()
    graphs = begun(lambda: weights, tape)
    for first in range(3):
        graphs(doubled, *tensors(first), 128)
    graphs.begin()  # the next picture: nothing has moved
    assert graphs.recordings
    weights[1] = torch.zeros(1)
    graphs.begin()
    assert torch.equal(graphs(doubled, *tensors(7), 128), doubled(*tensors(7), 128))
    assert tape.captured == 1 and tape.replayed == 2 and not graphs.recordings
    for first in range(2):
        graphs(doubled, *tensors(first), 128)
    assert tape.captured == 2


def test_nothing_is_recorded_while_weights_are_on_another_device():
    tape = Tape()
    graphs = begun(lambda: [torch.empty(1, device="meta")], tape)
    for first in range(3):
        assert torch.equal(graphs(doubled, *tensors(first), 128), doubled(*tensors(first), 128))
    assert tape.captured == 0


def test_steps_stay_plain_where_recording_fails():
    def failing(step):
        raise RuntimeError("operation not permitted when stream is capturing")

    weight = torch.zeros(1)
    graphs = begun(lambda: [weight], failing)
    graphs(doubled, *tensors(0), 128)
    with pytest.warns(UserWarning, match="CUDA graphs are off.*not permitted"):
        assert torch.equal(graphs(doubled, *tensors(1), 128), doubled(*tensors(1), 128))
    assert torch.equal(graphs(doubled, *tensors(2), 128), doubled(*tensors(2), 128))  # and says so once


@pytest.mark.parametrize("window", [1, 4])
def test_decoding_with_replayed_steps_gives_the_same_codes(window):
    chosen = settings(window=window)
    decode = sequential.decode_sequentially if window == 1 else jacobi.decode_jacobi
    build = lambda: Engine(MODEL, PROTOCOL, PROMPTS, SIZE, chosen.cfg, spare=window)  # noqa: E731
    replaying, tape = build(), Tape((len(PROMPTS), window, PROTOCOL.codes))
    replaying.steps.graphs = Graphs(MODEL.parameters, CPU, lambda step: shaped(tape, step))
    assert torch.equal(decode(replaying, chosen).codes, decode(build(), chosen).codes)
    assert tape.replayed > 3


def shaped(tape, step):
    """As `tape`, with a result of the shape that the step has."""
    tape.shape = step().shape
    return tape(step)


def test_a_patched_model_is_never_sampled_from_an_old_recording():
    transformer = tiny_transformer()
    engine = Engine(transformer, PROTOCOL, PROMPTS[:1], SIZE, 4.0)
    engine.steps.graphs = Graphs(transformer.parameters, CPU, Tape((1, 1, PROTOCOL.codes)))
    token = torch.tensor([[PROTOCOL.code_base]])
    with torch.inference_mode():
        engine.prefill()
        for _ in range(3):
            engine.advance(token)
        assert engine.steps.graphs.recordings
        changed = torch.nn.Parameter(transformer.image_head.weight + 1, requires_grad=False)
        transformer.image_head.weight = changed
        engine.prefill()
        engine.advance(token)
    assert not engine.steps.graphs.recordings


def test_an_engine_lets_go_of_its_cache_at_once():
    engine = Engine(MODEL, PROTOCOL, PROMPTS[:1], SIZE, 4.0)
    engine.steps.graphs = Graphs(MODEL.parameters, CPU, Tape((1, 1, PROTOCOL.codes)))
    with torch.inference_mode():
        engine.prefill()
        engine.advance(torch.tensor([[PROTOCOL.code_base]]))
    cache = weakref.ref(engine.steps.cache)
    gc.disable()
    try:
        del engine
        assert cache() is None
    finally:
        gc.enable()


def test_without_cuda_the_choice_changes_nothing():
    engine = Engine(MODEL, PROTOCOL, PROMPTS[:1], SIZE, 4.0, options=StepOptions(graphs=True))
    assert engine.steps.graphs is None


def test_the_next_picture_takes_over_what_was_recorded():
    """Another prompt, seed and number of tokens: nothing is recorded again, and the codes are those of plain steps."""
    kept, chosen, tape = KeptSteps(), settings(window=1), Tape()

    def drawn(prompt, kept):
        engine = Engine(MODEL, PROTOCOL, [prompt], SIZE, chosen.cfg, kept=kept)
        if kept is not None and engine.steps.graphs is None:
            engine.steps.graphs = Graphs(MODEL.parameters, CPU, lambda step: shaped(tape, step))
        return sequential.decode_sequentially(engine, chosen).codes

    first = drawn(PROMPTS[0], kept)
    captured, replayed = tape.captured, tape.replayed
    second = drawn(PROMPTS[2], kept)
    assert tape.captured == captured > 0 and tape.replayed > replayed > 0
    assert torch.equal(first, drawn(PROMPTS[0], None)) and torch.equal(second, drawn(PROMPTS[2], None))


@pytest.mark.parametrize(
    "change", [{"cfg": 2.0}, {"transformer": tiny_transformer(1)}, {"sequences": 4}, {"slots": 900}]
)
def test_steps_of_another_shape_or_model_are_made_anew(change):
    kept = KeptSteps()
    usual = {"transformer": MODEL, "sequences": 2, "slots": 40, "cfg": 4.0, "options": StepOptions(graphs=True)}
    first = kept.get(**usual)
    assert kept.get(**usual) is first and kept.get(**{**usual, "slots": 50}) is first
    assert kept.get(**{**usual, **change}) is not first


def test_steps_of_a_model_that_was_converted_are_made_anew():
    kept = KeptSteps()
    model = tiny_transformer(2)
    usual = {"transformer": model, "sequences": 2, "slots": 40, "cfg": 4.0, "options": StepOptions(graphs=True)}
    first = kept.get(**usual)
    model.to(torch.float64)
    assert kept.get(**usual) is not first and kept.kept.cache.keys.dtype == torch.float64
