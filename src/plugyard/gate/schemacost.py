"""Bounds what a schema can cost: how often its parts can be looked at for one value. ``authorschemas`` calls it.

A chain of definitions that each refer twice to the next doubles the work at every link, so that forty lines take
hours. Recursion that takes the same member twice does so for every level of the input. Both are found by counting.
"""

from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

MAX_VISITS = 50_000
_LEVELS = 32
_SAME_VALUE_LISTS = ("allOf", "anyOf", "oneOf")
_SAME_VALUE = ("not", "if", "then", "else")
_OBJECT = ("additionalProperties", "unevaluatedProperties", "propertyNames")
_ARRAY = ("items", "contains", "unevaluatedItems")
_ANY_FIELD, _ANY_ITEM = "{}", "[]"


@dataclass
class Budget:
    """What all schemas of one manifest may cost together while they are checked: steps of counting, and patterns."""

    merges: int = 300_000
    patterns: int = 200


@dataclass
class _Node:
    """Where one subschema leads: to others for the same value, and to others for its members.

    ``members`` is keyed by the member: ``.name`` of an object, ``#index`` of an array, or any of the two kinds.
    """

    same: list[int] = field(default_factory=list)
    members: dict[str, list[int]] = field(default_factory=dict)


def problems(schema: dict[str, Any], budget: Budget) -> list[str]:
    """Why the schema is too costly, in words; empty where it is not. References that lead nowhere are left out."""
    budget.patterns -= _patterns(schema)
    if budget.patterns < 0:
        return [f"holds more patterns than the {Budget.patterns} that the schemas of a manifest may have together"]
    graph = _Graph(schema)
    order = graph.order()
    if order is None:
        return ["refers to itself for the same value, without end"]
    before = [0] * len(graph.nodes)
    for _ in range(_LEVELS):
        after = _level(graph.nodes, order, before, budget)
        if after is None:
            return ["combines more parts than can be counted"]
        if after == before:
            break
        before = after
    if before[0] > MAX_VISITS:
        return [f"could be looked at more than {MAX_VISITS} times for one value; its references multiply"]
    return []


def _patterns(node: Any) -> int:
    """How many regular expressions a schema holds."""
    if isinstance(node, list):
        return sum(map(_patterns, node))
    if not isinstance(node, dict):
        return 0
    own = isinstance(node.get("pattern"), str) + len(_dict(node.get("patternProperties")))
    return own + sum(map(_patterns, node.values()))


def _level(nodes: list[_Node], order: list[int], below: list[int], budget: Budget) -> list[int] | None:
    """The visits that each node costs at most, given what each costs for values one level less deep."""
    visits = [0] * len(nodes)
    sums: list[dict[str, int]] = [{} for _ in nodes]
    for index in order:
        node, total, own = nodes[index], sums[index], 1
        budget.merges -= len(node.members) + 1
        for key, targets in node.members.items():
            total[key] = sum(below[target] for target in targets)
        for target in node.same:
            own += visits[target]
            budget.merges -= len(sums[target]) + 1
            if budget.merges < 0:
                return None
            for key, cost in sums[target].items():
                total[key] = min(MAX_VISITS + 1, total.get(key, 0) + cost)
        visits[index] = min(MAX_VISITS + 1, own)
    return [min(MAX_VISITS + 1, own + _dearest(total)) for own, total in zip(visits, sums, strict=True)]


def _dearest(sums: dict[str, int]) -> int:
    """What the dearest path downwards costs: a value is an object or an array, and a member has one name."""
    field_cost = max((cost for key, cost in sums.items() if key.startswith(".")), default=0)
    item_cost = max((cost for key, cost in sums.items() if key.startswith("#")), default=0)
    return max(sums.get(_ANY_FIELD, 0) + field_cost, sums.get(_ANY_ITEM, 0) + item_cost)


class _Graph:
    def __init__(self, root: dict[str, Any]) -> None:
        self._root = root
        self._known: dict[int, int] = {}
        self.nodes: list[_Node] = []
        self._anchors: dict[str, Any] = {}
        self._find_anchors(root)
        waiting = [root]
        self._index(root)
        while waiting:
            schema = waiting.pop()
            node = self.nodes[self._known[id(schema)]]
            for key, target in self._edges(schema):
                fresh = id(target) not in self._known
                index = self._index(target)
                (node.members.setdefault(key, []) if key else node.same).append(index)
                if fresh:
                    waiting.append(target)

    def _index(self, schema: dict[str, Any]) -> int:
        if id(schema) not in self._known:
            self._known[id(schema)] = len(self.nodes)
            self.nodes.append(_Node())
        return self._known[id(schema)]

    def _find_anchors(self, node: Any) -> None:
        if isinstance(node, dict):
            for keyword in ("$anchor", "$dynamicAnchor"):
                if isinstance(node.get(keyword), str):
                    self._anchors[node[keyword]] = node
            for value in node.values():
                self._find_anchors(value)
        elif isinstance(node, list):
            for value in node:
                self._find_anchors(value)

    def _edges(self, schema: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
        found: list[tuple[str, Any]] = []
        for key in ("$ref", "$dynamicRef"):
            if isinstance(schema.get(key), str):
                found.append(("", self._target(schema[key])))
        for key in _SAME_VALUE_LISTS:
            found += [("", one) for one in _list(schema.get(key))]
        found += [("", schema.get(key)) for key in _SAME_VALUE]
        found += [("", one) for one in _dict(schema.get("dependentSchemas")).values()]
        found += [(_ANY_FIELD, schema.get(key)) for key in _OBJECT]
        found += [(_ANY_FIELD, one) for one in _dict(schema.get("patternProperties")).values()]
        found += [(_ANY_ITEM, schema.get(key)) for key in _ARRAY]
        found += [(f".{name}", one) for name, one in _dict(schema.get("properties")).items()]
        found += [(f"#{index}", one) for index, one in enumerate(_list(schema.get("prefixItems")))]
        return [(key, one) for key, one in found if isinstance(one, dict)]

    def _target(self, reference: str) -> Any:
        # A pointer in a URI fragment is percent-encoded (RFC 6901, section 6).
        fragment = unquote(reference.removeprefix("#"))
        if not fragment.startswith("/"):
            return self._anchors.get(fragment) if fragment else self._root
        node: Any = self._root
        for part in fragment[1:].split("/"):
            key = part.replace("~1", "/").replace("~0", "~")
            if isinstance(node, list) and key.isdigit() and int(key[:9]) < len(node):
                node = node[int(key[:9])]
            else:
                node = _dict(node).get(key)
        return node

    def order(self) -> list[int] | None:
        """The nodes, each behind those it leads to for the same value; ``None`` where that never ends."""
        state = [0] * len(self.nodes)
        order: list[int] = []
        for start in range(len(self.nodes)):
            stack = [] if state[start] else [(start, iter(self.nodes[start].same))]
            state[start] = state[start] or 1
            while stack:
                index, targets = stack[-1]
                target = next(targets, None)
                if target is None:
                    state[index] = 2
                    order.append(index)
                    stack.pop()
                elif state[target] == 1:
                    return None
                elif state[target] == 0:
                    state[target] = 1
                    stack.append((target, iter(self.nodes[target].same)))
        return order


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
