"""One of everything that can be added to tks-edge; each module stands alone."""
