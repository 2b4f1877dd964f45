"""Trains the miniature and its scorers, and writes their files."""
