"""Keeps every test on one thread (results and timings then repeat) and offline; skips what is too new for what is here.

`make test` runs in one where nothing is missing, `make test-oldest` in one of the oldest versions.
"""

import os
import signal

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import pytest
import torch

torch.set_num_threads(1)
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # a shell starts what runs in the background so
    signal.signal(signal.SIGINT, signal.default_int_handler)  # and the tests send Ctrl-C

OLDEST = os.environ.get("AR_OLDEST") == "1"  # `make test-oldest` says so: where everything is new, nothing is skipped
# Of an error's text, and why its test cannot run. Only names that newer versions of other packages have.
TOO_OLD = {
    "No module named 'bitsandbytes'": "bitsandbytes is not installed",
    "cannot import name 'Chameleon": "this transformers has no Chameleon (4.44 has)",
    "cannot import name 'Janus": "this transformers has no Janus (4.57 has)",
    "is trained with torch.optim.Muon": "this torch has no Muon (2.9 has)",
    "has no attribute '_ensureCUDADeviceGuardSet'": "this torch takes no pretended card",
    "has no attribute '_linear_pointwise'": "this torch has no such product",
}


def reason_to_skip(error: BaseException) -> str:
    """Why an error, or what it was raised from, only says that something is too old or not installed; "" for others."""
    if isinstance(error, AssertionError):
        return ""
    seen: BaseException | None = error
    while seen is not None:
        for text, reason in TOO_OLD.items():
            if isinstance(seen, ImportError | AttributeError | TypeError | RuntimeError) and text in str(seen):
                return reason
        seen = seen.__cause__
    return ""


def skipping_what_is_too_old():
    try:
        return (yield)
    except Exception as error:
        reason = reason_to_skip(error)
        if reason and OLDEST:
            pytest.skip(reason)
        raise


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    return (yield from skipping_what_is_too_old())


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item):
    return (yield from skipping_what_is_too_old())


@pytest.fixture(autouse=True)
def signals_as_they_were():
    """Whoever leaves a signal handled otherwise would change what the next test in this process measures."""
    followed = [signal.SIGINT, signal.SIGTERM]
    before = [signal.getsignal(number) for number in followed]
    yield
    after = [signal.getsignal(number) for number in followed]
    for number, handler in zip(followed, before, strict=True):
        signal.signal(number, handler)
    assert after == before, f"this test left signals handled by {after}; before: {before}"
