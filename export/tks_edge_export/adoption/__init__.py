"""Trained networks of other libraries, taken over with their weights and exactly their semantics.

    record     the foreign module runs once on an example, and what it does is written down
    translate  each layer by the file of its library, each function between them
    timestep   of several timesteps the first is taken, of sequences what one timestep does
    lower      to a graph of ours, with the weights under the names that they had
    compare    both networks run, and every spike must be the same

Nothing of the other libraries is needed to use what came of it.
"""

from tks_edge_export.adoption.adopting import adopt
from tks_edge_export.adoption.errors import AdoptionError

__all__ = ["AdoptionError", "adopt"]
