"""What a manifest may name of modules: the list, what the operator denies, what a tenant is denied."""

import pytest

from plugyard.domain.manifest import Manifest, Runtime
from plugyard.domain.modules import ModuleList
from plugyard.sandbox.outside.guests import module_list

PYTHON, JAVASCRIPT = Runtime.PYTHON, Runtime.JAVASCRIPT
LIST = module_list(denied=("pickle", "node:crypto", "os.path"))


@pytest.mark.parametrize("runtime", [PYTHON, JAVASCRIPT])
def test_every_module_that_is_offered_may_be_named_and_none_that_is_refused(runtime: Runtime) -> None:
    whole = module_list()
    assert [name for name in whole.offered[runtime] if whole.refusal(runtime, name) is not None] == []
    for name, reason in whole.refused[runtime].items():
        assert whole.refusal(runtime, name) == reason


@pytest.mark.parametrize(
    ("runtime", "name", "says"),
    [
        (PYTHON, "json", None),
        (PYTHON, "json.decoder", None),
        (PYTHON, "urllib.parse", None),
        (PYTHON, "urllib.request", "context.services.http"),
        (PYTHON, "requests", "context.services.http"),
        (PYTHON, "requests.adapters", "context.services.http"),
        (PYTHON, "left_pad", "under lib/"),
        (PYTHON, "pickle", "the operator"),
        (PYTHON, "os.path", "the operator"),
        (PYTHON, "os", None),
        (JAVASCRIPT, "node:path", None),
        (JAVASCRIPT, "path/posix", None),
        (JAVASCRIPT, "crypto", "the operator"),
        (JAVASCRIPT, "node:crypto", "the operator"),
        (JAVASCRIPT, "fs/promises", "context.services.files"),
        (JAVASCRIPT, "fs/other", "context.services.files"),
        (JAVASCRIPT, "lodash", "bundled into the package"),
    ],
)
def test_a_refusal_gives_its_reason_and_what_to_do_instead(runtime: Runtime, name: str, says: str | None) -> None:
    refusal = LIST.refusal(runtime, name)
    assert (refusal is None) if says is None else (refusal is not None and says in refusal)


@pytest.mark.parametrize(
    ("runtime", "name"), [(PYTHON, "csv"), (PYTHON, "csv.x"), (JAVASCRIPT, "assert/strict"), (JAVASCRIPT, "node:url")]
)
def test_what_a_tenant_is_denied_is_refused_in_its_name_with_all_that_lies_in_it(runtime: Runtime, name: str) -> None:
    assert LIST.refusal(runtime, name) is None
    refusal = LIST.refusal(runtime, name, ("node:assert", "csv", "url"))
    assert refusal is not None
    assert refusal.startswith("this tenant does not allow it")


def test_a_component_and_a_server_without_a_list_are_not_judged() -> None:
    assert LIST.refusal(Runtime.WASM, "anything") is None
    assert ModuleList().refusal(PYTHON, "socket") is None


def test_a_manifest_that_names_no_modules_is_told_from_one_that_needs_none() -> None:
    document = {"metadata": {"name": "abc", "version": "1.0.0"}, "runtime": "python"}
    assert Manifest.from_document(document).modules is None
    assert Manifest.from_document({**document, "security": {"modules": []}}).modules == ()
