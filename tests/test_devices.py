"""The device that commands take by themselves, and what is said about its kind."""

from types import SimpleNamespace

import pytest
import torch
from PIL import Image

from ar_core import devices
from ar_core.cli import main


def accelerator(kind: str | None) -> SimpleNamespace:
    """torch.accelerator on a machine with that kind of card, or without any."""
    return SimpleNamespace(
        is_available=lambda: kind is not None,
        current_accelerator=lambda check_available=False: kind and SimpleNamespace(type=kind),
    )


@pytest.mark.parametrize("kind, expected", [("cuda", "cuda"), ("xpu", "xpu"), ("mps", "mps"), (None, "cpu")])
def test_the_card_is_found_through_torch_accelerator(kind, expected, monkeypatch):
    monkeypatch.setattr(torch, "accelerator", accelerator(kind), raising=False)
    assert devices.default_device() == expected


@pytest.mark.parametrize("cuda, mps, expected", [(True, False, "cuda"), (False, True, "mps"), (False, False, "cpu")])
def test_older_torch_is_asked_for_cuda_and_mps(cuda, mps, expected, monkeypatch):
    monkeypatch.delattr(torch, "accelerator", raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    assert devices.default_device() == expected


def test_only_what_was_run_is_called_tested():
    for kind in ("cpu", "cuda"):
        assert devices.device_support(torch.device(kind)).status == "tested"
    for kind in ("xpu", "mps", "hpu"):
        assert devices.device_support(torch.device(kind)).status == "untested"


def test_an_amd_card_is_told_apart_from_nvidia(monkeypatch):
    assert devices.describe_support(torch.device("cuda")) == "NVIDIA card"
    monkeypatch.setattr(torch.version, "hip", "6.2")
    assert devices.describe_support(torch.device("cuda")).startswith("AMD card: untested (")


def test_directml_is_refused_with_the_reason():
    with pytest.raises(ValueError, match="DirectML ended with torch 2.4"):
        devices.check_support(torch.device("privateuseone"))


def test_the_command_line_refuses_it_too(capsys):
    assert main(["info", "--device", "privateuseone"]) != 0
    assert "DirectML" in capsys.readouterr().err


def test_a_device_that_only_describes_tensors_is_refused_in_a_sentence(capsys, monkeypatch):
    assert main(["info", "--device", "meta"]) == 1
    assert capsys.readouterr().err == (
        "error: Models cannot run on meta: it knows the shapes of tensors and computes no numbers: leave --device "
        "out.\n"
    )
    monkeypatch.delitem(devices.SUPPORT, "meta")  # as another kind that nobody has heard of
    assert main(["info", "--device", "meta"]) == 1
    said = capsys.readouterr().err
    assert 'There is no device "meta" here' in said and said.strip().count("\n") == 0


def test_a_refused_card_is_not_chosen(monkeypatch):
    monkeypatch.setattr(torch, "accelerator", accelerator("privateuseone"), raising=False)
    assert devices.default_device() == "cpu"


def test_a_kind_of_card_that_torch_must_import_is_one_sentence(capsys):
    assert main(["info", "--device", "hpu"]) == 1
    assert capsys.readouterr().err.startswith('error: There is no device "hpu" here. Use --device ')


def test_scoring_checks_the_device_too(tmp_path, capsys):
    for name in ("dog", "drawn"):
        (tmp_path / name).mkdir()
        Image.new("RGB", (64, 64), "red").save(tmp_path / name / "dog__a_dog_in_the_jungle__0.png")
    pictures = ["--images", str(tmp_path / "drawn"), "--photos", str(tmp_path / "dog"), "--encoders", "miniature"]
    assert main(["score", *pictures, "--device", "hpu"]) == 1
    assert 'There is no device "hpu" here' in capsys.readouterr().err


def test_info_says_what_is_known_of_the_device(capsys):
    assert main(["info", "--device", "cpu"]) == 0
    assert "device: CPU\n" in capsys.readouterr().out


@pytest.mark.parametrize("xccl", [True, False])
def test_processes_are_joined_through_cards_only_where_torch_can(xccl, monkeypatch):
    monkeypatch.setattr(torch.distributed, "is_xccl_available", lambda: xccl, raising=False)
    joined = {}
    for kind in ("cuda", "xpu", "mps", None):
        monkeypatch.setattr(torch, "accelerator", accelerator(kind), raising=False)
        joined[kind] = devices.joins_processes()
    assert joined == {"cuda": True, "xpu": xccl, "mps": False, None: False}


def test_free_memory_is_asked_of_the_card_that_has_its_own(monkeypatch):
    held = {"reserved_bytes.all.current": 50, "active_bytes.all.current": 20}  # 30 are torch's, and nobody's
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (123, 456))
    monkeypatch.setattr(torch.cuda, "memory_stats", lambda device: held)
    monkeypatch.setattr(torch.xpu, "mem_get_info", lambda device: (12, 34), raising=False)
    monkeypatch.setattr(torch.xpu, "memory_stats", lambda device: {}, raising=False)
    monkeypatch.setattr(devices.psutil, "virtual_memory", lambda: SimpleNamespace(available=7))
    free = {kind: devices.free_memory(torch.device(kind)) for kind in ("cuda", "xpu", "mps", "cpu", "hpu")}
    assert free == {"cuda": 153, "xpu": 12, "mps": 7, "cpu": 7, "hpu": None}


def test_each_of_several_processes_has_its_own_card(monkeypatch):
    """Without it every process of `accelerate launch` would load its model on card 0."""
    monkeypatch.setenv("LOCAL_RANK", "2")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    monkeypatch.setattr(torch.xpu, "device_count", lambda: 4)
    own = {name: str(devices.own_card(torch.device(name))) for name in ("cuda", "cuda:1", "xpu", "cpu", "mps")}
    assert own == {"cuda": "cuda:2", "cuda:1": "cuda:1", "xpu": "xpu:2", "cpu": "cpu", "mps": "mps"}
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)  # a launcher that shows each process one card
    assert str(devices.own_card(torch.device("cuda"))) == "cuda"
    monkeypatch.delenv("LOCAL_RANK")
    assert str(devices.own_card(torch.device("cuda"))) == "cuda"


def test_more_processes_than_cards_is_one_sentence(monkeypatch, capsys):
    monkeypatch.setenv("LOCAL_RANK", "99")
    assert main(["dreambench", "--data", "miniature", "--device", "cuda"]) == 1
    assert 'There is no device "cuda:99" here for one of the processes' in capsys.readouterr().err


class AcceleratorError(RuntimeError):
    """torch's, where it has none."""


@pytest.mark.parametrize(
    "error",
    [
        torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
        AcceleratorError("CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:121] data. DefaultCPUAllocator: can't allocate memory: you tried"),
    ],
)
def test_a_full_memory_is_recognised_whatever_torch_calls_it(error, monkeypatch, capsys):
    assert devices.is_out_of_memory(error)

    def full(*_, **__):
        raise error

    monkeypatch.setattr("ar_core.model.ARModel.load", full)
    assert main(["sample", "--prompt", "a dog", "--device", "cpu"]) == 1
    said = capsys.readouterr().err
    assert "weights of miniature alone take more memory than is free on cpu" in said and "--n" not in said


def test_other_errors_are_no_full_memory():
    assert not devices.is_out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    assert not devices.is_out_of_memory(ValueError("out of memory"))
