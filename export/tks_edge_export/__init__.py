"""Trained networks to static ONNX graphs at a chosen T, verified against the network they came from."""

from tks_edge_export.artifact import PRECISIONS, Exported, Exporter, Samples, Source, export, record_evaluation_set
from tks_edge_export.compiler import Compiled, Compiler, export_graph
from tks_edge_export.errors import ExportError, VerificationError
from tks_edge_export.options import Options
from tks_edge_export.replay import LayerComparison
from tks_edge_export.verify import Comparison, compare

__all__ = [
    "PRECISIONS",
    "Comparison",
    "Compiled",
    "Compiler",
    "ExportError",
    "Exported",
    "Exporter",
    "LayerComparison",
    "Options",
    "Samples",
    "Source",
    "VerificationError",
    "compare",
    "export",
    "export_graph",
    "record_evaluation_set",
]
