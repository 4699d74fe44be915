"""Networks in the Neuromorphic Intermediate Representation (NIR), read and written.

A file of NIR holds equations in continuous time. What a network computes step by step follows from them only with what
the file does not say (`Discretization`): it is asked for, never guessed.
"""

from tks_edge_export.nir_graphs.discretization import FIRES, LEAKS, RESETS, Discretization
from tks_edge_export.nir_graphs.errors import NirError
from tks_edge_export.nir_graphs.reading import read_nir
from tks_edge_export.nir_graphs.writing import Written, write_nir

__all__ = ["FIRES", "LEAKS", "RESETS", "Discretization", "NirError", "Written", "read_nir", "write_nir"]
