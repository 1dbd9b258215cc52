"""A version's bill of materials as CycloneDX 1.6 JSON.

``http/plugins.py`` answers it and ``plugyard check --sbom`` writes it. The library that makes it takes half a second
to load, so it is loaded when it is first needed, and not in the thread that serves.
"""

import asyncio
import re
import uuid
from datetime import datetime
from typing import Any

from plugyard.application.history import version
from plugyard.application.platform import Platform
from plugyard.domain.identity import Caller
from plugyard.domain.report import Component, Report

_NAMESPACE = uuid.UUID("6f9b1c2e-6d7a-5e0b-9d43-3f3c8f0a7a51")  # of our own: names a bill by its package's digest


async def bill_of(platform: Platform, caller: Caller, plugin_id: str, number: str) -> bytes:
    """The bill of materials of a plugin's version; raises ``NotFound``."""
    found = await version(platform, caller, plugin_id, number)
    return await asyncio.to_thread(cyclonedx, found.manifest.name, found.number, found.report, found.created_at)


def cyclonedx(name: str, number: str, report: Report, at: datetime) -> bytes:
    """The bill of the package that the report is on, as it is known since ``at``; the same package, the same bill."""
    from cyclonedx.model import HashAlgorithm, HashType, Property
    from cyclonedx.model.bom import Bom, BomMetaData
    from cyclonedx.model.component import Component as Part
    from cyclonedx.model.component import ComponentType
    from cyclonedx.output.json import JsonV1Dot6

    root = Part(
        name=name,
        version=number,
        type=ComponentType.APPLICATION,
        bom_ref=f"sha256:{report.digest}",
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=report.digest)],
    )
    parts = [
        Part(
            name=one.name,
            version=one.version,
            type=ComponentType.LIBRARY,
            bom_ref=f"{place}:{one.purl or one.name}",
            purl=_purl(one),
            licenses=_licences(one),
            hashes=[HashType(alg=HashAlgorithm.SHA_256, content=one.digest)],
            properties=[Property(name="plugyard:path", value=one.path)],
        )
        for place, one in enumerate(report.components)
    ]
    bom = Bom(
        serial_number=uuid.uuid5(_NAMESPACE, report.digest),
        metadata=BomMetaData(component=root, timestamp=at),
        components=parts,
    )
    bom.register_dependency(root, parts)
    return JsonV1Dot6(bom).output_as_string(indent=2).encode()


def _purl(one: Component) -> Any:
    from packageurl import PackageURL

    return PackageURL.from_string(one.purl) if one.purl else None


def _licences(one: Component) -> Any:
    from cyclonedx.contrib.license.factories import LicenseFactory
    from cyclonedx.model.license import DisjunctiveLicense, LicenseExpression

    made = [LicenseFactory().make_from_string(text) for text in one.licences if not re.match("see ", text)]
    expressions = [text for text in made if isinstance(text, LicenseExpression)]
    # The schema takes one expression, or any number of single licences.
    return expressions[:1] or [text for text in made if isinstance(text, DisjunctiveLicense)]
