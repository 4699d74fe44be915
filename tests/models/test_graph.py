"""Networks that are described as a graph: what is refused."""

from __future__ import annotations

import pytest

from tks_edge_models import ModelError
from tks_edge_models.graph import INPUT, Graph, Node, graph_network


def test_the_normalisation_of_a_graph_has_the_channels_of_its_image() -> None:
    graph = Graph((Node("flat", "flatten", (INPUT,)), Node("fires", "lif", ("flat",))), "fires")
    with pytest.raises(ModelError, match="mean has 2 channels, std 2, and the image 3"):
        graph_network(graph, (3, 2, 2), 12, mean=[0.5] * 2, std=[0.5] * 2)
