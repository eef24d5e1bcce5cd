"""onnxruntime-web, which runs a network in a browser: its version, its files, how to get them.

A package does not hold them: they are 14 MB of another project. The page takes them from ``ort/``
beside it, and only as they were published.
"""

from __future__ import annotations

VERSION = "1.30.0"
FOLDER = "ort"  # where the page looks for the files, beside it
# Of each file the page needs, what its bytes must be, as browsers check them (W3C's Subresource
# Integrity).
SCRIPT, BINARY = "ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm"
INTEGRITY = {
    SCRIPT: "sha384-PLWz+nHEVHpjwBsO0YVdvQj6n5814Iv8E3b8FG0Rp/uIAtjFMCKOpP66iPzedrIG",
    BINARY: "sha384-vjBJ1z7qrhkTyYsNqKeF6c7N+nOJSU94czEo+tvZcu8G75JparGq9kB+kTnEUNVM",
}
ARCHIVE = f"https://registry.npmjs.org/onnxruntime-web/-/onnxruntime-web-{VERSION}.tgz"
_UNPACK = " ".join(
    ["tar -xz -C", FOLDER, "--strip-components=2", *(f"package/dist/{name}" for name in INTEGRITY)]
)
# Both run in the folder of the page.
FETCH = f"mkdir -p {FOLDER} && curl -sSL {ARCHIVE} | {_UNPACK}"
SERVE = "python -m http.server --bind 127.0.0.1"
ADDRESS = "http://127.0.0.1:8000/"
