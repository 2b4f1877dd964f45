"""Attention by lengths instead of a mask, with the kernels' documented behaviour computed on the CPU in their place."""

from __future__ import annotations

import pytest
import torch
from small_world import MODEL, PROMPTS, PROTOCOL, SIZE, settings, with_header
from torch.nn import functional as F

from ar_core import cli, decode_kernels
from ar_core.sampling import jacobi, sequential
from ar_core.sampling.engine import Engine
from ar_core.sampling.steps import StepOptions


def shared(q, k, v):
    """A head of k and v for each of q, (B, heads, T, head_dim)."""
    times = q.shape[1] // k.shape[1]
    return q, k.repeat_interleave(times, 1), v.repeat_interleave(times, 1)


def varlen(q, k, v, starts_q, starts_k, longest_q, longest_k, *, window_size, enable_gqa, seqused_k):
    """`torch.nn.attention.varlen.varlen_attn` by its documentation: sequences one behind the other, of each sequence of
    keys the first `seqused_k`, causal with both ends aligned."""
    assert window_size == (-1, 0) and enable_gqa == (q.shape[1] != k.shape[1])
    assert {t.dtype for t in (starts_q, starts_k, seqused_k)} == {torch.int32}
    rows = []
    for n, used in enumerate(seqused_k.tolist()):
        queries = q[starts_q[n] : starts_q[n + 1]]
        keys, values = (x[starts_k[n] : starts_k[n + 1]][:used] for x in (k, v))
        assert len(queries) <= longest_q and len(keys) <= longest_k
        seen = torch.ones(len(queries), used, dtype=torch.bool).tril(used - len(queries))
        heads = [x.transpose(0, 1)[None] for x in (queries, keys, values)]
        rows.append(F.scaled_dot_product_attention(*shared(*heads), attn_mask=seen)[0].transpose(0, 1))
    return torch.cat(rows)


def decode_one(q, keys, values, lengths):
    """comfy_kitchen's `flash_attention_decode`: one query for each sequence."""
    assert q.shape[1] == 1 and lengths.dtype == torch.int32 and keys.is_contiguous() and values.is_contiguous()
    rows = []
    for n, used in enumerate(lengths.tolist()):
        heads = [x.transpose(0, 1)[None] for x in (q[n], keys[n, :used], values[n, :used])]
        rows.append(F.scaled_dot_product_attention(*shared(*heads))[0].transpose(0, 1))
    return torch.stack(rows)


@pytest.fixture
def kernels(monkeypatch):
    """What was called, once a test has chosen which kernels there are."""
    called = []

    def have(with_kitchen: bool) -> list[str]:
        def torchs(*arguments, **options):
            called.append("torch")
            return varlen(*arguments, **options)

        def kitchens(*arguments):
            called.append("kitchen")
            return decode_one(*arguments)

        monkeypatch.setattr(decode_kernels, "varlen", lambda: torchs)
        monkeypatch.setattr(decode_kernels, "kitchen", lambda: kitchens if with_kitchen else None)
        monkeypatch.setattr(decode_kernels, "takes_kitchen", lambda cache: True)
        monkeypatch.setattr("ar_core.sampling.steps.check_kernel", lambda device, dtype: None)
        return called

    return have


@pytest.mark.parametrize("with_kitchen", [False, True])
@pytest.mark.parametrize("window", [1, 4])
@pytest.mark.parametrize("cfg", [1.0, 4.0])
def test_the_codes_are_those_of_masked_attention(kernels, with_kitchen, window, cfg):
    chosen = settings(window=window, cfg=cfg)
    decode = sequential.decode_sequentially if window == 1 else jacobi.decode_jacobi
    codes = {}
    called = kernels(with_kitchen)
    for attention in ("masked", "lengths"):
        assert not called
        engine = Engine(
            MODEL, PROTOCOL, with_header(PROMPTS), SIZE, cfg, spare=window, options=StepOptions(attention=attention)
        )
        codes[attention] = decode(engine, chosen).codes
    assert torch.equal(codes["masked"], codes["lengths"])
    # comfy_kitchen's takes one new token; row ends come as two, and a window has more.
    expected = {"torch"}
    if with_kitchen and window == 1:
        expected = {"torch", "kitchen"}
    assert set(called) == expected


def test_all_steps_of_a_picture_have_one_shape(kernels):
    """So one recording serves all; with a mask there is one for every BUCKET slots."""
    kernels(False)
    seen = set()
    engine = Engine(MODEL, PROTOCOL, with_header(PROMPTS), (240, 320), 4.0, options=StepOptions(attention="lengths"))
    original = engine.steps._logits
    engine.steps._logits = lambda ids, positions, slots: (
        seen.add((ids.shape[1], slots)) or original(ids, positions, slots)
    )
    stopped = iter([False] * 400 + [True] * 9)
    with pytest.raises(Exception, match="Stopped"):
        sequential.decode_sequentially(engine, settings(size=(240, 320)), cancel=lambda: next(stopped))
    assert seen == {(1, engine.steps.cache.slots), (2, engine.steps.cache.slots)}


@pytest.mark.parametrize("dtype, said", [(torch.bfloat16, "this is cpu in bfloat16"), (torch.float32, "in float32")])
def test_it_is_refused_where_there_is_no_such_kernel(dtype, said):
    with pytest.raises(ValueError, match=f"needs an NVIDIA card and 16 bits; .*{said}"):
        StepOptions(attention="lengths").check(torch.device("cpu"), dtype)
    with pytest.raises(ValueError, match='no attention "flash"'):
        StepOptions(attention="flash").check(torch.device("cpu"), dtype)


def test_an_older_torch_is_named(monkeypatch):
    monkeypatch.setattr(decode_kernels, "varlen", lambda: None)
    with pytest.raises(ValueError, match="needs torch 2.13 or newer"):
        StepOptions(attention="lengths").check(torch.device("cuda"), torch.bfloat16)


def test_the_command_line_refuses_it_before_anything_is_drawn(tmp_path, capsys):
    arguments = [
        "sample",
        "--prompt",
        "a dog",
        "--device",
        "cpu",
        "--attention",
        "lengths",
        "--out",
        str(tmp_path / "o"),
    ]
    assert cli.main(arguments) == 1
    assert "needs an NVIDIA card" in capsys.readouterr().err and not list(tmp_path.glob("o/*"))


def test_this_torch_has_the_kernel_that_is_called():
    """By name and arguments; it runs on CUDA alone."""
    if tuple(map(int, torch.__version__.split(".")[:2])) < (2, 13):
        pytest.skip("older torch: the attention is refused there (above)")
    assert decode_kernels.varlen() is not None
