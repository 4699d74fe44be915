"""What an artifact should be: its network lowered anew, with what its manifest says it was lowered with."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from tks_edge_export.codes import Calibration
from tks_edge_export.compiler import Compiler
from tks_edge_export.manifests import calibration_of, options_of
from tks_edge_export.options import Options
from tks_edge_export.reference import Reference
from tks_edge_runtime.artifact import Manifest


@dataclass(frozen=True)
class Recompiled:
    """A network lowered anew; `reference` is what the artifact's graph must equal."""

    compiler: Compiler
    options: Options
    calibration: Calibration
    reference: Reference


def recompile(manifest: Manifest, network: nn.Module) -> Recompiled:
    """Lower `network` as the artifact of this manifest was.

    Raises:
        ExportError: the network cannot be lowered so: it is another one.
        MissingError: it was lowered with a plugin's pass, which is not installed here.
    """
    options, calibration = options_of(manifest), calibration_of(manifest)
    shape = list(manifest.input.shape)
    if options.frames and options.form == "static":
        del shape[1]
    compiler = Compiler(network, torch.from_numpy(np.zeros(shape, manifest.input.dtype)))
    return Recompiled(compiler, options, calibration, compiler.compile(options, calibration).reference)
