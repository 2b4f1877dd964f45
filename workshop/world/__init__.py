"""The drawn world: what a scene contains, the words for it, and its pixels."""
