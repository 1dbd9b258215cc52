"""Licences by the names and the sentences that projects use for them, as SPDX identifiers."""

import re

_NAMES = {
    "MIT": r"(?:the )?mit(?: license| licence)?|expat",
    "Apache-2.0": r"apache(?: software)?(?: license| licence)?(?:,? ?(?:version )?v?-?2(?:\.0)?)?|asl 2\.0|apache-2",
    "BSD-3-Clause": r"bsd-3-clause|(?:new |modified |3-clause |three-clause )bsd(?: license)?"
    r"|bsd 3-clause(?: license)?",
    "BSD-2-Clause": r"bsd-2-clause|(?:simplified |2-clause )bsd(?: license)?|bsd 2-clause(?: license)?",
    "0BSD": r"0bsd|zero-clause bsd",
    "ISC": r"isc(?: license)?(?: \(iscl\))?",
    "MPL-2.0": r"mpl[ -]?2(?:\.0)?|mozilla public license 2\.0(?: \(mpl 2\.0\))?",
    "PSF-2.0": r"psf(?:-2\.0)?|python software foundation license",
    "Unlicense": r"(?:the )?unlicense(?: \(unlicense\))?",
    "AGPL-3.0-or-later": r"agpl(?:-?v?3)?(?:\+|-or-later)?|gnu affero general public license v3.*",
    "GPL-3.0-or-later": r"gpl-?v?3(?:\+|-or-later)?|gnu general public license v3.*",
    "GPL-2.0-or-later": r"gpl-?v?2(?:\+|-or-later)?|gnu general public license v2.*",
    "LGPL-3.0-or-later": r"lgpl-?v?3(?:\+|-or-later)?|gnu lesser general public license v3.*",
    "LGPL-2.1-or-later": r"lgpl-?v?2(?:\.1)?(?:\+|-or-later)?|gnu lesser general public license v2.*",
    "ZPL-2.1": r"zpl[ -]2\.1|zope public license",
}
_BY_NAME = [(spdx, re.compile(rf"(?i)(?:{text})\Z")) for spdx, text in _NAMES.items()]
_SENTENCES = (
    ("AGPL-3.0-or-later", "gnu affero general public license"),
    ("LGPL-3.0-or-later", "gnu lesser general public license"),
    ("GPL-3.0-or-later", "gnu general public license"),
    ("Apache-2.0", "apache license"),
    ("MPL-2.0", "mozilla public license"),
    ("BSD-3-Clause", "neither the name of"),
    ("BSD-2-Clause", "redistributions in binary form must reproduce"),
    ("ISC", "permission to use, copy, modify, and/or distribute this software"),
    ("ISC", "isc license"),
    ("MIT", "permission is hereby granted, free of charge"),
    ("MIT", "mit license"),
    ("MIT", "mit licensed"),
    ("MIT", "license: mit"),
    ("MIT", "@license mit"),
    ("Unlicense", "this is free and unencumbered software released into the public domain"),
)
_COPYLEFT = re.compile(r"(?i)(?<![a-z])a?gpl")


def licence_of_name(name: str) -> str | None:
    """The SPDX identifier of a licence as a project names it."""
    text = name.strip()[:100]
    return next((spdx for spdx, shape in _BY_NAME if shape.match(text)), None)


def licence_of_text(text: str) -> str | None:
    """The SPDX identifier of a licence by a sentence of its text."""
    plain = " ".join(text.lower().replace("*", " ").split())
    return next((spdx for spdx, sentence in _SENTENCES if sentence in plain), None)


def is_copyleft(licence: str) -> bool:
    """Whether a licence asks that what is made with the library be published likewise: the GPL and the AGPL."""
    return bool(_COPYLEFT.search(licence.replace("LGPL", "").replace("lgpl", ""))) and " OR " not in licence
