"""What a check of the gate is: a name, the rules that it can find broken, and one function.

Each lives in a file of its own below ``checks/``, with its samples in ``tests/unit/gate/checks``; ``checks/__init__``
lists them all, and ``inspect`` runs them.
"""

from collections.abc import Callable
from dataclasses import dataclass

from plugyard.domain.rules import Rule
from plugyard.gate.findings import Findings
from plugyard.gate.package import Package


@dataclass(frozen=True, slots=True)
class Check:
    """A check. ``run`` looks at a package that was read and adds what it finds.

    What can only be found while the package is read, or by the service that has more than the package, has no ``run``:
    ``found_in`` names the module that reports it.
    """

    name: str
    about: str
    rules: tuple[Rule, ...]
    run: Callable[[Package, Findings], None] | None = None
    found_in: str = ""
