"""Small WebAssembly components in text form, for the gate's rules and for the sandbox's tests."""

from wasmtime import wat2wasm

HEADER = b"\0asm\x0d\0\x01\0"

# An allocator that never gives back but at the start of a call, and `echo`, which returns its input.
_CORE = """
  (core module $m
    IMPORTS
    (memory (export "memory") 1)
    (global $heap (mut i32) (i32.const 4096))
    (func (export "realloc") (param i32 i32 i32 i32) (result i32)
      (local $at i32)
      (local.set $at (i32.and (i32.add (global.get $heap) (i32.const 7)) (i32.const -8)))
      (global.set $heap (i32.add (local.get $at) (local.get 3)))
      (block $fits
        (loop $more
          (br_if $fits (i32.le_u (global.get $heap) (i32.mul (memory.size) (i32.const 65536))))
          (if (i32.eq (memory.grow (i32.const 16)) (i32.const -1)) (then unreachable))
          (br $more)))
      (local.get $at))
    (data (i32.const 64) "\\80\\00\\00\\00\\04\\00\\00\\00")
    (data (i32.const 128) "NAME")
    (func $answer (param $tag i32) (param $at i32) (param $length i32) (result i32)
      (i32.store8 (i32.const 8) (local.get $tag))
      (i32.store (i32.const 12) (local.get $at))
      (i32.store (i32.const 16) (local.get $length))
      (global.set $heap (i32.const 4096))
      (i32.const 8))
    (func (export "functions") (result i32)
      (i32.store (i32.const 0) (i32.const 64))
      (i32.store (i32.const 4) (i32.const 1))
      (i32.const 0))
    (func (export "invoke") (param i32 i32) (param $input i32) (param $length i32) (param i32 i32) (result i32)
      BODY)
    START)
"""
_LIFT = """
  (func (export "functions") (result (list string))
    (canon lift (core func $i "functions") (memory (core memory $i "memory")) (realloc (core func $i "realloc"))))
  (func (export "invoke") (param "function" string) (param "input" string) (param "context" string)
    (result (result string (error string)))
    (canon lift (core func $i "invoke") (memory (core memory $i "memory")) (realloc (core func $i "realloc"))))
"""
ECHO = "(call $answer (i32.const 0) (local.get $input) (local.get $length))"


def component(body: str = ECHO, *, start: str = "", name: str = "echo") -> bytes:
    """A component with one function, named by four letters; `body` is the core code of its `invoke`."""
    core = _CORE.replace("IMPORTS", "").replace("BODY", body).replace("START", start).replace("NAME", name)
    return bytes(wat2wasm(f"(component {core} (core instance $i (instantiate $m)) {_LIFT})"))


def importing(name: str) -> bytes:
    """The same component, which also imports an instance of this name and leaves it alone."""
    core = _CORE.replace("IMPORTS", "").replace("BODY", ECHO).replace("START", "").replace("NAME", "echo")
    return bytes(
        wat2wasm(f'(component (import "{name}" (instance)) {core} (core instance $i (instantiate $m)) {_LIFT})')
    )


# rule, bytes that break it, what the finding says
COMPONENT_SAMPLES: tuple[tuple[str, bytes, str], ...] = (
    ("component.not-one", b"hello", "no WebAssembly at all"),
    ("component.not-one", b"", "no WebAssembly at all"),
    ("component.not-one", bytes(wat2wasm("(module)")), "a core module"),
    ("component.not-one", b"\0asm\x0e\0\x01\0", "another format or version"),
    ("component.malformed", HEADER + b"\x0a\x7f", "longer than the file"),
    ("component.malformed", HEADER + b"\x63\0", "section 99"),
    ("component.malformed", HEADER + b"\x0a\xff\xff\xff\xff\xff\x01", "too long"),
    ("component.malformed", HEADER + b"\x0a\x02\x01\x07", "a form that is not known"),
    ("component.malformed", HEADER + b"\x0b\x05\x01\0\x02\xff\xff", "not UTF-8"),
    ("component.malformed", component()[:-3], "longer than the file"),
    ("component.import", importing("wasi:sockets/tcp@0.2.0"), "wasi:sockets/tcp@0.2.0"),
    ("component.import", importing("wasi:http/outgoing-handler@0.2.0"), "wasi:http"),
    ("component.import", importing("wasi:io/poll@0.3.0"), "0.3.0"),
    ("component.import", importing("plugyard:plugin/host@2.0.0"), "host@2.0.0"),
    ("component.export-missing", bytes(wat2wasm("(component)")), "function invoke"),
    ("component.export-missing", bytes(wat2wasm("(component)")), "function functions"),
)
