"""Pixels <-> codes."""
