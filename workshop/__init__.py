"""How the miniature is made and measured. Run from the repository; neither the engine nor the nodes need it."""
