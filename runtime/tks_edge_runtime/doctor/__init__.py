"""What a machine has, what it can run, and what to do about the rest."""

from tks_edge_runtime.doctor.examination import Examination, examine
from tks_edge_runtime.doctor.finding import Finding, Status

__all__ = ["Examination", "Finding", "Status", "examine"]
