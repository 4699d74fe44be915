"""Trained networks to static ONNX graphs at a chosen T, verified against the network they came from."""

from tks_edge_export.adoption import AdoptionError, adopt
from tks_edge_export.any_module import export
from tks_edge_export.artifact import Exported, Exporter, record_evaluation_set
from tks_edge_export.codes import Calibration
from tks_edge_export.compiler import Compiled, Compiler
from tks_edge_export.decisions import LayerComparison, StepComparison
from tks_edge_export.errors import ExportError, VerificationError
from tks_edge_export.options import FORMS, MEMBRANES, PRECISIONS, Options
from tks_edge_export.reference import Reference
from tks_edge_export.source import Samples, Source, stem_of
from tks_edge_export.targets import TARGETS
from tks_edge_export.verify import Comparison, compare

__all__ = [
    "FORMS",
    "MEMBRANES",
    "PRECISIONS",
    "TARGETS",
    "AdoptionError",
    "Calibration",
    "Comparison",
    "Compiled",
    "Compiler",
    "ExportError",
    "Exported",
    "Exporter",
    "LayerComparison",
    "Options",
    "Reference",
    "Samples",
    "Source",
    "StepComparison",
    "VerificationError",
    "adopt",
    "compare",
    "export",
    "record_evaluation_set",
    "stem_of",
]
