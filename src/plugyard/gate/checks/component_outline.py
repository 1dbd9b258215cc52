"""A WebAssembly component imports what is offered and exports what is called."""

from plugyard.domain.report import Consequence, Severity
from plugyard.domain.rules import Rule
from plugyard.gate.check import Check

_RULES = (
    Rule(
        "component.not-one",
        Severity.ERROR,
        Consequence.BLOCK,
        "the entry is not a WebAssembly component",
        "Only a component says in types what it takes, gives and needs.",
        "Build for a component target, or make one of the core module with wasm-tools component new.",
    ),
    Rule(
        "component.malformed",
        Severity.ERROR,
        Consequence.BLOCK,
        "the component's sections cannot be read",
        "It could not be compiled.",
        "Build it again with a current toolchain.",
    ),
    Rule(
        "component.import",
        Severity.ERROR,
        Consequence.BLOCK,
        "the component imports what is not offered",
        "It could not be instantiated; nothing but the platform's own door and the empty parts of WASI 0.2 is there.",
        (
            "Import plugyard:plugin/host@1.0.0 and, where the language's library needs it, wasi:cli, "
            "wasi:clocks, wasi:filesystem, wasi:io and wasi:random 0.2; call services through the host."
        ),
    ),
    Rule(
        "component.export-missing",
        Severity.ERROR,
        Consequence.BLOCK,
        "the component does not export what the platform calls",
        "There would be no function to run.",
        "Implement the world component-plugin of sdk/plugin.wit: functions and invoke.",
    ),
)

CHECK = Check(
    "component-outline",
    "A WebAssembly component imports what is offered and exports what is called.",
    _RULES,
    found_in="plugyard.gate.component",
)
