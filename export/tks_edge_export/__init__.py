"""Trained networks to static ONNX graphs at a chosen T, verified against the network they came from."""

from tks_edge_export.errors import ExportError, VerificationError
from tks_edge_export.export import PRECISIONS, Exported, Samples, Source, export, write_evaluation_set
from tks_edge_export.unroll import export_graph
from tks_edge_export.verify import Comparison, LayerComparison, compare

__all__ = [
    "PRECISIONS",
    "Comparison",
    "ExportError",
    "Exported",
    "LayerComparison",
    "Samples",
    "Source",
    "VerificationError",
    "compare",
    "export",
    "export_graph",
    "write_evaluation_set",
]
