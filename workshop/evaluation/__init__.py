"""Measures the miniature and its scorers, and writes the pages about them."""
