"""All checks of the gate, in the order in which they run. A check that is not listed here does not run."""

from plugyard.gate.check import Check
from plugyard.gate.checks import (
    archive_form,
    archive_paths,
    author_schemas,
    bundle_text,
    component_outline,
    debris,
    gate_itself,
    malware,
    manifest_files,
    manifest_meaning,
    manifest_shape,
    manifest_text,
    package_layout,
)

CHECKS: tuple[Check, ...] = (
    archive_form.CHECK,
    archive_paths.CHECK,
    package_layout.CHECK,
    debris.CHECK,
    manifest_files.CHECK,
    manifest_text.CHECK,
    manifest_shape.CHECK,
    manifest_meaning.CHECK,
    author_schemas.CHECK,
    bundle_text.CHECK,
    component_outline.CHECK,
    malware.CHECK,
    gate_itself.CHECK,
)
