"""`info`: an artifact's manifest, readable."""

from __future__ import annotations

from tks_edge_runtime.command import DebugFlag, JsonFlag, running
from tks_edge_runtime.commands.options import ArtifactArgument


def info(artifact: ArtifactArgument, as_json: JsonFlag = False, debug: DebugFlag = False) -> None:
    """Show what an artifact says about itself."""
    with running(as_json, debug) as out:
        from tks_edge_runtime.artifact import Artifact
        from tks_edge_runtime.show import artifact_document, show_artifact

        opened = Artifact.open(artifact)
        show_artifact(opened, out.console)
        out.document(artifact_document(opened))
        out.next("profile", str(artifact))
