"""Keeps every test on one thread (results and timings then repeat) and offline."""

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch

torch.set_num_threads(1)
