"""Example values for the OpenAPI document; a test holds each against the schema that it stands beside."""

from typing import Any

PLUGIN_ID = "019a8f3e-7c1d-7b52-9d3f-2f6f0c1e4a10"
EXECUTION_ID = "019a8f40-11aa-7c3e-8a51-6b1f2f3d4e5f"
LISTING_ID = "019a8f41-2b3c-7d4e-9f50-8a9b0c1d2e3f"
KEY_ID = "019a8f42-3c4d-7e5f-8061-9b0c1d2e3f40"
TENANT_ID = "019a8f30-0a1b-7c2d-8e3f-4a5b6c7d8e9f"
DIGEST = "sha256:8f434346648f6b96df89dda901c5176b10a6d83961dd3c1ac88b59b2dc327aa4"
MOMENT = "2026-01-31T09:30:00Z"

WEBHOOK_SECRET = {"secret": "whsec_" + "0f" * 32}
LIMITS: dict[str, Any] = {
    "memory": None,
    "timeout": None,
    "cpu": None,
    "output": None,
    "logLines": None,
    "logSize": None,
    "serviceCalls": None,
    "serviceRate": None,
    "serviceSize": None,
    "inFlight": None,
    "stack": None,
    "startup": None,
}
HEALTH = {"status": "healthy", "score": 100, "checkedAt": MOMENT}
PERMISSION = {
    "service": "network",
    "hosts": ["api.acme.com"],
    "methods": ["POST"],
    "paths": ["/v1/*"],
    "topics": [],
    "reason": "creates invoices",
}
ASK = {**PERMISSION, "status": "granted", "grant": PERMISSION, "byPolicy": False, "grantable": True}
WAITING = {
    "version": "1.1.0",
    "asks": [{"service": "database", "hosts": [], "methods": [], "paths": [], "topics": [], "reason": "keeps notes"}],
    "since": MOMENT,
    "requestedBy": f"key:{KEY_ID}",
    "declined": False,
    "declinedBecause": None,
    "decidedBy": None,
    "decidedAt": None,
}
RIGHT: dict[str, Any] = {
    "service": "network",
    "name": "*.acme.com",
    "grantedAt": MOMENT,
    "lastUsedAt": MOMENT,
    "unused": False,
    "seen": [{"name": "api.acme.com", "lastUsedAt": MOMENT}],
}
AVAILABLE = {"version": "1.1.0", "fromMarketplace": False, "asks": WAITING["asks"]}
FUNCTION = {
    "name": "total",
    "description": "Adds up an invoice",
    "effect": "read",
    "input": {"type": "object"},
    "output": None,
}
KEY_DIGEST = "630dcd2966c4336691125448bbb25b4ff412a49c732db2c8abc1b8581bd710dd"
PUBLIC_KEY = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
SIGNATURE = {
    "keyId": KEY_DIGEST,
    "publicKey": PUBLIC_KEY,
    "value": "A" * 86 + "==",
    "acceptedAt": MOMENT,
    "counts": True,
    "keyRevokedAt": None,
    "keyRevokedBecause": None,
}
TRUST = {"signed": True, "publisher": "Lovelace & Co.", "verifiedPublisher": True}
PUBLISHER = {"tenantId": TENANT_ID, "name": "Lovelace & Co.", "verified": True, "verifiedAt": MOMENT}
PUBLISHER_KEY = {
    "id": KEY_DIGEST,
    "name": "release machine",
    "publicKey": PUBLIC_KEY,
    "createdAt": MOMENT,
    "revokedAt": None,
    "invalidFrom": None,
    "revokedBecause": None,
}
SUMMARY: dict[str, Any] = {
    **TRUST,
    "id": PLUGIN_ID,
    "name": "invoice-totals",
    "version": "1.0.0",
    "status": "active",
    "runtime": "javascript",
    "description": "Adds up invoices with taxes and discounts",
    "author": "Ada Lovelace",
    "category": "finance",
    "health": HEALTH,
    "waitingVersion": "1.1.0",
    "createdAt": MOMENT,
    "updatedAt": MOMENT,
}
DETAIL: dict[str, Any] = {
    **SUMMARY,
    "keywords": ["invoice", "tax"],
    "entry": "index.ts",
    "digest": DIGEST,
    "functions": [FUNCTION],
    "endpoints": [],
    "permissions": [PERMISSION],
    "grants": [PERMISSION],
    "asks": [ASK],
    "waiting": WAITING,
    "available": AVAILABLE,
    "limits": {
        "memory": 128,
        "timeout": 30000,
        "cpu": None,
        "output": None,
        "logLines": None,
        "logSize": None,
        "serviceCalls": None,
        "serviceRate": None,
        "serviceSize": None,
        "inFlight": None,
        "stack": None,
        "startup": None,
    },
    "isolation": "shared",
    "modules": None,
    "configuration": {"currency": "EUR", "token": "********"},
    "configurationSchema": {"type": "object", "properties": {"currency": {"type": "string", "default": "EUR"}}},
    "listingId": None,
    "signature": SIGNATURE,
    "suspendedBecause": None,
    "installedAt": MOMENT,
    "activatedAt": MOMENT,
    "allowed": ["execute", "deactivate", "uninstall", "install", "upgrade", "rollback", "configure"],
}
WITH_DEPENDENCIES = {
    **DETAIL,
    "dependencies": [{"name": "currency-rates", "range": "^2.0.0", "version": "2.3.1", "pluginId": PLUGIN_ID}],
}
FINDING = {
    "rule": "manifest.unknown-field",
    "severity": "warning",
    "consequence": "show",
    "where": "plugin.json#/metadata/licence",
    "line": 4,
    "what": "There is no field 'licence'.",
    "why": "A misspelt field is silently without effect.",
    "mend": "Write 'license'.",
}
BEHAVIOUR: dict[str, Any] = {
    "examples": [
        {
            "function": "total",
            "example": 0,
            "status": "succeeded",
            "code": None,
            "message": None,
            "skipped": None,
            "wallMs": 9.4,
            "cpuMs": 7.1,
            "peakMemoryBytes": 6291456,
            "serviceCalls": 1,
            "permissions": ["network"],
            "uses": [
                {
                    "service": "http",
                    "method": "request",
                    "target": "GET https://api.acme.com/v1/rates",
                    "refused": None,
                    "count": 1,
                }
            ],
            "moreUses": 0,
        }
    ],
    "used": ["network"],
    "unused": [],
    "undeclared": [],
    "hosts": [{"host": "api.acme.com", "declared": True, "private": False}],
    "tookMs": 14.2,
}
REPORT: dict[str, Any] = {
    "version": "1.0.0",
    "digest": DIGEST,
    "format": "zip",
    "packedBytes": 4096,
    "unpackedBytes": 9120,
    "entries": 7,
    "tookMs": 12.5,
    "findings": [FINDING],
    "libraries": 1,
    "behaviour": BEHAVIOUR,
}
UPLOADED = {
    "plugin": DETAIL,
    "version": "1.0.0",
    "created": True,
    "report": {**REPORT, "findings": []},
    "consentNeeded": [],
    "notActivated": None,
    "standing": None,
}
STANDING = {
    "state": "released",
    "since": "2026-11-01T12:00:00Z",
    "decidedAt": "2026-11-02T09:00:00Z",
    "reason": "The eval is that of a template engine.",
}
SBOM = {
    "bomFormat": "CycloneDX",
    "specVersion": "1.6",
    "components": [{"type": "library", "name": "tally", "version": "1.0.0", "purl": "pkg:pypi/tally@1.0.0"}],
}
SARIF = {
    "version": "2.1.0",
    "runs": [{"tool": {"driver": {"name": "plugyard"}}, "results": [{"ruleId": "code.eval", "level": "warning"}]}],
}
JUDGED_REPORT: dict[str, Any] = {**REPORT, "standing": STANDING, "laterFindings": None}
SUSPECT = {
    "versionId": "01a1f0c4-7a10-7000-8000-000000000031",
    "tenantId": "01a1f0c4-7a10-7000-8000-000000000001",
    "pluginId": "01a1f0c4-7a10-7000-8000-000000000021",
    "name": "invoice-totals",
    "version": "1.0.0",
    "digest": DIGEST,
    "decidedBy": "key:01a1f0c4-7a10-7000-8000-000000000009",
    **STANDING,
}
SUSPECT_DETAIL = {**SUSPECT, "report": REPORT}
RESCAN = {
    "rulesVersion": "3f2a9c0b7d415e68",
    "waiting": 12,
    "items": [
        {
            "versionId": "01a1f0c4-7a10-7000-8000-000000000031",
            "name": "invoice-totals",
            "version": "1.0.0",
            "digest": DIGEST,
            "at": "2026-11-02T09:00:00Z",
            "findings": [REPORT["findings"][0]],
            "installations": [
                {
                    "tenantId": "01a1f0c4-7a10-7000-8000-000000000001",
                    "pluginId": "01a1f0c4-7a10-7000-8000-000000000021",
                    "status": "active",
                }
            ],
        }
    ],
    "nextCursor": None,
}
VERSION = {
    "version": "1.0.0",
    "digest": DIGEST,
    "packedBytes": 4096,
    "runtime": "javascript",
    "functions": ["total"],
    "permissions": [PERMISSION],
    "createdAt": MOMENT,
    "standing": None,
    "laterFindings": 0,
    "signature": SIGNATURE,
    **TRUST,
}
USAGE = {"wallMs": 1.9, "cpuMs": 0.8, "peakMemoryBytes": 6291456, "serviceCalls": 2, "start": "warm"}
EXECUTED: dict[str, Any] = {
    "executionId": EXECUTION_ID,
    "pluginId": PLUGIN_ID,
    "version": "1.0.0",
    "function": "total",
    "status": "succeeded",
    "output": {"total": "119.00"},
    "error": None,
    "usage": USAGE,
}
EXECUTION = {
    **{name: value for name, value in EXECUTED.items() if name != "output"},
    "startedAt": MOMENT,
    "endedAt": MOMENT,
    "actor": f"key:{KEY_ID}",
    "requestId": "request-1",
    "inputBytes": 61,
    "outputBytes": 18,
    "queuedAt": None,
    "attempts": [],
}
QUEUED = {
    **EXECUTION,
    "status": "queued",
    "usage": None,
    "endedAt": None,
    "outputBytes": 0,
    "queuedAt": MOMENT,
}
ATTEMPT = {"startedAt": MOMENT, "endedAt": MOMENT, "status": "failed", "code": "plugin_error", "message": "it broke"}
DEAD_LETTER = {
    "executionId": EXECUTION_ID,
    "pluginId": PLUGIN_ID,
    "version": "1.0.0",
    "function": "total",
    "origin": "call",
    "priority": "normal",
    "actor": f"key:{KEY_ID}",
    "queuedAt": MOMENT,
    "diedAt": MOMENT,
    "attempts": [ATTEMPT],
    "inputBytes": 61,
}
LOG = {
    "id": EXECUTION_ID,
    "executionId": EXECUTION_ID,
    "at": MOMENT,
    "level": "info",
    "message": "called",
    "fields": {"by": "user-7"},
}
METRICS = {
    "since": "2026-01-30T09:30:00Z",
    "until": MOMENT,
    "executions": 41,
    "byStatus": {"succeeded": 40, "failed": 1},
    "errorRate": 0.0244,
    "wallMs": {"mean": 2.1, "p50": 1.9, "p95": 3.2, "p99": 4.0, "max": 9.7},
    "cpuMsTotal": 33.6,
    "cpuMsMean": 0.82,
    "peakMemoryBytesMax": 7340032,
    "byFunction": {"total": 41},
    "starts": {"cold": 1, "warm": 40},
    "health": HEALTH,
}
LISTING = {
    "id": LISTING_ID,
    "name": "invoice-totals",
    "version": "1.0.0",
    "digest": DIGEST,
    "runtime": "javascript",
    "description": "Adds up invoices with taxes and discounts",
    "author": "Ada Lovelace",
    "category": "finance",
    "keywords": ["invoice", "tax"],
    "license": "Apache-2.0",
    "homepage": None,
    "functions": [FUNCTION],
    "permissions": [PERMISSION],
    "asks": [{**ASK, "status": "waiting", "grant": None}],
    "packedBytes": 4096,
    "publishedAt": MOMENT,
    "withdrawnAt": None,
    "installations": 12,
    "rating": 4.5,
    "ratings": 2,
    "healthScore": 100,
    "score": 0.6521,
    "signature": SIGNATURE,
    **TRUST,
}
RATING = {"stars": 5, "review": "Adds up.", "mine": True, "createdAt": MOMENT, "updatedAt": MOMENT}
KEY: dict[str, Any] = {
    "id": KEY_ID,
    "name": "continuous delivery",
    "role": "developer",
    "scopes": [{"actions": ["execute"], "plugin": PLUGIN_ID, "functions": ["total"]}],
    "succeeds": None,
    "createdAt": MOMENT,
    "expiresAt": None,
    "revokedAt": None,
    "lastUsedAt": None,
}
OPERATOR_KEY: dict[str, Any] = {**KEY, "name": "Grace", "role": "operator", "scopes": []}
NEW_OPERATOR_KEY = {**OPERATOR_KEY, "secret": "plugyard_shown-this-once-and-never-again"}
NEW_KEY = {**KEY, "secret": "plugyard_shown-this-once-and-never-again"}
TENANT: dict[str, Any] = {
    "id": TENANT_ID,
    "slug": "acme",
    "name": "Acme",
    "createdAt": MOMENT,
    "policy": {"autoGrant": ["cache"], "requireSignature": "none", "requireVerifiedPublisher": False},
    "modulesDenied": ["pickle"],
    "bounds": {
        "ceilings": {**LIMITS, "memory": 256},
        "grantable": ["cache", "database", "events", "filesystem", "network"],
        "autoGrantable": ["cache", "events"],
        "quotas": {
            "plugins": 1000,
            "storageBytes": 21474836480,
            "executionsPerMinute": None,
            "executionsPerDay": 100000,
            "concurrentExecutions": 50,
        },
    },
    "state": "active",
    "suspendedBecause": None,
    "suspendedAt": None,
}
SUSPENDED_TENANT = {**TENANT, "state": "suspended", "suspendedBecause": "The bill is open.", "suspendedAt": MOMENT}
DELETED_TENANT = {**SUSPENDED_TENANT, "state": "deleting", "suspendedBecause": "The tenant is being deleted."}
OWN_TENANT = {
    **TENANT,
    "quotas": {
        "plugins": {"limit": 1000, "used": 12},
        "storageBytes": {"limit": 21474836480, "used": 5242880},
        "executionsPerMinute": {"limit": None, "used": 210},
        "executionsPerDay": {"limit": 100000, "used": 40210},
        "concurrentExecutions": {"limit": 50, "used": 3},
    },
}
NEW_TENANT = {"tenant": TENANT, "key": {**NEW_KEY, "name": "first admin key", "role": "admin"}}
ME = {"actor": f"key:{KEY_ID}", "role": "admin", "tenantId": TENANT_ID}
AUDIT = {
    "id": EXECUTION_ID,
    "at": MOMENT,
    "actor": f"key:{KEY_ID}",
    "action": "plugin.activated",
    "target": PLUGIN_ID,
    "detail": {"version": "1.0.0"},
    "requestId": "request-1",
    "sequence": 42,
    "hash": "5f" * 32,
}
AUDIT_HEAD = {"sequence": 42, "hash": "5f" * 32}


def page_of(item: dict[str, Any]) -> dict[str, Any]:
    """One item as the last page of a list."""
    return {"items": [item], "nextCursor": None}
