"""`python -m tks_edge_runtime`: the command line, where its script is not on the path."""

from tks_edge_runtime.cli import main

main()
