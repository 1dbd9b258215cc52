"""Whether a grant allows a request: its host, port, method and path. Called for the first hop and every further one.

A refusal tells the author what was refused and the admin what to grant, and names nothing that they do not know.
"""

from plugyard.domain.covering import host_allows, path_allows
from plugyard.domain.permissions import Permission
from plugyard.sandbox.services.base import Denied
from plugyard.sandbox.services.egress.target import DEFAULT_PORTS, Target, ambiguity

HOW = 'an admin names it under "hosts" of the permission "network" at POST /api/v1/plugins/{id}/install'


def judge(grant: Permission, method: str, target: Target) -> None:
    """Raise Denied unless the grant covers this request."""
    if target.is_address:
        raise Denied("an address is never granted: name a host")
    if not grant.hosts:
        raise Denied(f"no host is granted yet, so {target.host} cannot be called: {HOW}")
    usual = _usual_port(target)
    if not any(host_allows(entry, target.host, target.port, usual=usual) for entry in grant.hosts):
        where = target.host if usual else f"{target.host}:{target.port}"
        raise Denied(f"the host {where} is not granted: {HOW}")
    if grant.methods and method not in grant.methods:
        raise Denied(f"the method {method} is not granted; granted: {', '.join(grant.methods)}")
    if grant.paths:
        _judge_path(grant.paths, target.path)


def _judge_path(granted: tuple[str, ...], path: str) -> None:
    doubt = ambiguity(path)
    if doubt is not None:
        raise Denied(f"the path could be read in more than one way ({doubt}), and the grant names paths")
    if not any(path_allows(pattern, path) for pattern in granted):
        raise Denied(f"the path {path[:200]} is not granted; granted: {', '.join(granted)}")


def _usual_port(target: Target) -> bool:
    return target.port == DEFAULT_PORTS[target.scheme]
