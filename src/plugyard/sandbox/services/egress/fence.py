"""Whether a grant allows a request: its host, port, method and path. Called for the first hop and every further one.

A refusal tells the author what was refused and the admin what to grant, and names nothing that they do not know.
"""

from plugyard.domain.covering import DEFAULT_PORTS, host_allows, path_allows
from plugyard.domain.permissions import Permission
from plugyard.sandbox.services.base import Denied
from plugyard.sandbox.services.egress.target import Target, ambiguity

HOW = 'an admin names it under "hosts" of the permission "network" at POST /api/v1/plugins/{id}/install'


def judge(grant: Permission, method: str, target: Target) -> str:
    """The entry of the grant's hosts that allows this request; raises Denied unless the grant covers it."""
    if target.is_address:
        raise Denied("an address is never granted: name a host")
    if not grant.hosts:
        raise Denied(f"no host is granted yet, so {target.host} cannot be called: {HOW}")
    usual = _usual_port(target)
    entries = (entry for entry in grant.hosts if host_allows(entry, target.host, target.port, usual=usual))
    allowing = next(entries, None)
    if allowing is None:
        raise Denied(f"the host {named(target)} is not granted: {HOW}")
    if grant.methods and method not in grant.methods:
        raise Denied(f"the method {method} is not granted; granted: {', '.join(grant.methods)}")
    if grant.paths:
        _judge_path(grant.paths, target.path)
    return allowing


def _judge_path(granted: tuple[str, ...], path: str) -> None:
    doubt = ambiguity(path)
    if doubt is not None:
        raise Denied(f"the path could be read in more than one way ({doubt}), and the grant names paths")
    if not any(path_allows(pattern, path) for pattern in granted):
        raise Denied(f"the path {path[:200]} is not granted; granted: {', '.join(granted)}")


def named(target: Target) -> str:
    """The host as a grant would name it: with its port where that is not the scheme's own."""
    return target.host if _usual_port(target) else f"{target.host}:{target.port}"


def _usual_port(target: Target) -> bool:
    return target.port == DEFAULT_PORTS[target.scheme]
