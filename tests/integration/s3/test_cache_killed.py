"""The cache of objects after `kill -9` in the middle of a write: what is served is whole, and nothing half stays."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from plugyard.infrastructure.cachefolder import CacheFolder

CAP = 24 * 1024 * 1024
_WRITER = """
import itertools, sys
from pathlib import Path
from plugyard.infrastructure.cachefolder import CacheFolder

folder = CacheFolder(Path(sys.argv[1]), int(sys.argv[2]), b"secret")
for number in itertools.count(int(sys.argv[3])):
    key, piece = f"bundles/{number}", bytes([number % 256]) * 65_536
    half = folder.half(key)
    for _ in range(64):
        half.write(piece)
    half.finish()
    print(number, flush=True)
"""


def test_a_kill_in_the_middle_of_a_write_leaves_only_whole_files(tmp_path: Path) -> None:
    path = tmp_path / "cache"
    number = halves = served = 0
    for turn in range(8):
        writer = subprocess.Popen(
            [sys.executable, "-c", _WRITER, str(path), str(CAP), str(number)], stdout=subprocess.PIPE, text=True
        )
        assert writer.stdout is not None
        number = int(writer.stdout.readline())
        time.sleep(0.013 * (turn + 1))
        os.kill(writer.pid, signal.SIGKILL)
        for line in writer.stdout.read().splitlines():
            number = int(line)
        writer.stdout.close()
        assert writer.wait() == -signal.SIGKILL
        halves += any(file.name.startswith(".half-") for file in path.iterdir())
        folder = CacheFolder(path, CAP, b"secret")
        assert not [file for file in path.iterdir() if file.name.startswith(".half-")]
        assert folder.held_bytes == sum(file.stat().st_size for file in path.iterdir()) <= CAP
        for written in range(number + 3):
            data = folder.read(f"bundles/{written}")
            if data is not None:
                served += 1
                assert hashlib.sha256(data).digest() == hashlib.sha256(bytes([written % 256]) * 4_194_304).digest()
        assert folder.read(f"bundles/{number}") is not None, "what was finished before the kill is still served"
    assert halves, "no kill came in the middle of a write"
    assert served >= 8
