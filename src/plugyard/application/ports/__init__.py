"""What the use cases need of the world outside: Protocols, and the values that cross them.

Every Protocol here has at least two implementations: the adapter that runs in production and the one in memory that
the tests use; the contract suites in ``tests/contract`` run on both.
"""

from plugyard.application.ports.chance import Clock, Ids
from plugyard.application.ports.gate import Inspection, PackageInspector
from plugyard.application.ports.lists import (
    MOST_NAMES,
    AuditEntry,
    AuditFilter,
    AuditLine,
    ExecutionFilter,
    Holdings,
    ListingFilter,
    LogFilter,
    Metrics,
    Page,
    PageRequest,
    PluginFilter,
    ResolvedDependency,
    StoredLogLine,
    StoredReply,
    ToRescan,
    UpgradeFilter,
    UsedBy,
)
from plugyard.application.ports.sandbox import (
    ExampleRun,
    Executor,
    Invocation,
    LoadProbe,
    Outcome,
    Rehearsal,
    Rehearsed,
)
from plugyard.application.ports.store import (
    ExecutionRecorder,
    Objects,
    OperatorTransaction,
    PluginDatabases,
    Store,
    TokenVerifier,
    Trail,
    Transaction,
)

__all__ = [
    "MOST_NAMES",
    "AuditEntry",
    "AuditFilter",
    "AuditLine",
    "Clock",
    "ExampleRun",
    "ExecutionFilter",
    "ExecutionRecorder",
    "Executor",
    "Holdings",
    "Ids",
    "Inspection",
    "Invocation",
    "ListingFilter",
    "LoadProbe",
    "LogFilter",
    "Metrics",
    "Objects",
    "OperatorTransaction",
    "Outcome",
    "PackageInspector",
    "Page",
    "PageRequest",
    "PluginDatabases",
    "PluginFilter",
    "Rehearsal",
    "Rehearsed",
    "ResolvedDependency",
    "Store",
    "StoredLogLine",
    "StoredReply",
    "ToRescan",
    "TokenVerifier",
    "Trail",
    "Transaction",
    "UpgradeFilter",
    "UsedBy",
]
