from .cli import main

raise SystemExit(main(program="python -m ar_core"))
