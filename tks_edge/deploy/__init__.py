"""The way onto a board: over SSH (`board.py`), or as one archive that somebody carries there (`bundle.py`)."""
