"""`python -m tks_edge`: the same as the `tks-edge` command."""

from tks_edge.cli import main

if __name__ == "__main__":
    main()
