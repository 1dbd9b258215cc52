"""A text for each version that sorts, byte by byte, as Semantic Versioning 2.0.0 section 11 orders versions.

Written with each version, so that PostgreSQL lists the highest first from an index.
"""

from __future__ import annotations

from plugyard.domain.versions import Version


def precedence_key(version: Version) -> str:
    """The sort key; versions that differ in build metadata alone have the same."""
    core = f"{version.major:015d}.{version.minor:015d}.{version.patch:015d}"
    if not version.prerelease:
        return f"{core}~"  # The last of the printable characters: a release comes after its prereleases.
    # "!" sorts before every character of an identifier, so a version with fewer identifiers comes first.
    return f"{core}-" + "!".join(_identifier(part) for part in version.prerelease)


def _identifier(part: int | str) -> str:
    if isinstance(part, int):
        digits = str(part)
        return f"0{len(digits):03d}{digits}"  # Numbers by their length, then by their digits; before all words.
    return f"1{part}"
