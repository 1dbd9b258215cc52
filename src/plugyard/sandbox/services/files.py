"""The service ``files``: a folder of the plugin's own in the object store, with a quota. ``bootstrap`` makes it.

What a plugin calls a file never becomes a path as it is: each part is checked and written in letters that every store
takes, and folders and files differ in form, so that ``a`` and ``a/b`` may both be there.
"""

import asyncio
import base64
import binascii
import re
import time
import unicodedata
from collections import OrderedDict
from collections.abc import AsyncIterator
from typing import Any, Protocol

from plugyard.domain.errors import NotFound, PlugyardError
from plugyard.sandbox.services.base import Scope, ServiceFault

MAX_PATH_CHARACTERS = 512
MAX_PART_BYTES = 80
MAX_DEPTH = 16
MAX_FILE_BYTES = 2 * 1024 * 1024
_FOLDER = "=d"
_ESCAPE = re.compile(r"=([0-9A-F]{2})")
# Another process may write too, so the sums are taken anew now and then.
_RECOUNT_S = 60.0
_REMEMBERED = 1_000


class FileStore(Protocol):
    """What this service needs of the object store, with the same words and errors (``application/ports/``)."""

    async def get(self, key: str) -> bytes: ...
    async def replace(self, key: str, data: bytes) -> None: ...
    async def delete(self, key: str) -> None: ...
    def sizes(self, prefix: str) -> AsyncIterator[tuple[str, int]]: ...


class _Folder:
    """The size of each file that a plugin has, by path; its changes follow one another."""

    __slots__ = ("counted", "sizes", "turn")

    def __init__(self) -> None:
        self.turn = asyncio.Lock()
        self.sizes: dict[str, int] = {}
        self.counted = float("-inf")


class FilesService:
    """See ``services.base.Service``."""

    methods = frozenset({"read", "write", "list", "delete"})

    def __init__(self, objects: FileStore, *, plugin_bytes: int = 100 * 1024 * 1024, plugin_files: int = 2_000) -> None:
        self._objects = objects
        self._plugin_bytes = plugin_bytes
        self._plugin_files = plugin_files
        self._folders: OrderedDict[str, _Folder] = OrderedDict()

    async def call(self, scope: Scope, method: str, arguments: dict[str, Any]) -> Any:
        """Read, write, list or delete. Raises ``ServiceFault``."""
        root = f"files/{scope.tenant_id}/{scope.plugin_id}/"
        try:
            if method == "list":
                return await self._list(root, arguments)
            key = key_of(_path(arguments))
            if method == "read":
                return _shown(await self._objects.get(root + key), _encoding(arguments))
            if method == "write":
                return await self._write(root, key, _content(arguments))
            return await self._delete(root, key)
        except NotFound:
            raise ServiceFault("file_not_found", "there is no such file") from None
        except PlugyardError as error:
            raise ServiceFault("service_unavailable", "the file store is away; try again later") from error

    async def ended(self, execution_id: str) -> None:
        """Nothing is held for an execution."""

    async def close(self) -> None:
        """Forget the sums."""
        self._folders.clear()

    async def _list(self, root: str, arguments: dict[str, Any]) -> list[str]:
        prefix = arguments.get("prefix") or ""
        if not isinstance(prefix, str) or len(prefix) > MAX_PATH_CHARACTERS:
            raise ServiceFault(
                "invalid_arguments", f"prefix must be a text of at most {MAX_PATH_CHARACTERS} characters"
            )
        folder = self._folder(root)
        async with folder.turn:
            await self._count(root, folder)
            return sorted(path for path in folder.sizes if path.startswith(prefix))

    async def _write(self, root: str, key: str, data: bytes) -> None:
        folder, path = self._folder(root), path_of(key)
        async with folder.turn:
            await self._count(root, folder)
            total = sum(folder.sizes.values()) - folder.sizes.get(path, 0) + len(data)
            if total > self._plugin_bytes:
                raise ServiceFault(
                    "quota_exceeded", f"the files of a plugin may have {self._plugin_bytes} bytes together"
                )
            if path not in folder.sizes and len(folder.sizes) >= self._plugin_files:
                raise ServiceFault("quota_exceeded", f"a plugin may have {self._plugin_files} files")
            # Counted before it is written: an attempt that is cut off may have been kept.
            folder.sizes[path] = max(len(data), folder.sizes.get(path, 0))
            await self._objects.replace(root + key, data)
            folder.sizes[path] = len(data)

    async def _delete(self, root: str, key: str) -> bool:
        folder = self._folder(root)
        async with folder.turn:
            await self._count(root, folder)
            await self._objects.delete(root + key)
            return folder.sizes.pop(path_of(key), None) is not None

    def _folder(self, root: str) -> _Folder:
        folder = self._folders.setdefault(root, _Folder())
        self._folders.move_to_end(root)
        if len(self._folders) > _REMEMBERED:
            oldest = next(iter(self._folders))
            if not self._folders[oldest].turn.locked():
                del self._folders[oldest]
        return folder

    async def _count(self, root: str, folder: _Folder) -> None:
        if time.monotonic() - folder.counted > _RECOUNT_S:
            folder.sizes = {path_of(key.removeprefix(root)): size async for key, size in self._objects.sizes(root)}
            folder.counted = time.monotonic()


def key_of(path: str) -> str:
    """The key of a path below the plugin's root; raises ``ServiceFault`` for one that is no plain relative path."""
    parts = path.split("/")
    if len(parts) > MAX_DEPTH:
        raise _no_path(f"lies more than {MAX_DEPTH} levels deep")
    *folders, file = [_part(part) for part in parts]
    return "/".join([*(folder + _FOLDER for folder in folders), file])


def path_of(key: str) -> str:
    """The path that a key stands for."""
    parts = [part.removesuffix(_FOLDER) for part in key.split("/")]
    return "/".join(
        _ESCAPE.sub(lambda found: chr(int(found[1], 16)), part).encode("latin-1").decode("utf-8", "replace")
        for part in parts
    )


def _part(part: str) -> str:
    if part in ("", ".", ".."):
        raise _no_path("has an empty part, or a part '.' or '..'")
    if any(unicodedata.category(letter) in ("Cc", "Cf", "Cs", "Zl", "Zp") or letter in "\\:" for letter in part):
        raise _no_path("holds a control character, a backslash or a colon")
    data = unicodedata.normalize("NFC", part).encode()
    if len(data) > MAX_PART_BYTES:
        raise _no_path(f"has a part of more than {MAX_PART_BYTES} bytes")
    return "".join(
        chr(byte) if (chr(byte).isalnum() and byte < 128) or byte in b"-_." else f"={byte:02X}" for byte in data
    )


def _no_path(why: str) -> ServiceFault:
    return ServiceFault("invalid_path", f"the path {why}; paths are relative, as in reports/2026/may.csv")


def _path(arguments: dict[str, Any]) -> str:
    path = arguments.get("path")
    if not isinstance(path, str) or len(path) > MAX_PATH_CHARACTERS:
        raise ServiceFault("invalid_arguments", f"path must be a text of at most {MAX_PATH_CHARACTERS} characters")
    return path


def _encoding(arguments: dict[str, Any]) -> str:
    encoding = arguments.get("encoding") or "utf-8"
    if encoding not in ("utf-8", "base64"):
        raise ServiceFault("invalid_arguments", "encoding must be utf-8 or base64")
    return str(encoding)


def _content(arguments: dict[str, Any]) -> bytes:
    content = arguments.get("content")
    if not isinstance(content, str):
        raise ServiceFault("invalid_arguments", "content must be a text")
    try:
        data = base64.b64decode(content, validate=True) if _encoding(arguments) == "base64" else content.encode()
    except (binascii.Error, UnicodeEncodeError, ValueError):
        raise ServiceFault("invalid_arguments", "content is not what its encoding says") from None
    if len(data) > MAX_FILE_BYTES:
        raise ServiceFault("file_too_large", f"a file may have {MAX_FILE_BYTES} bytes; this has {len(data)}")
    return data


def _shown(data: bytes, encoding: str) -> str:
    if encoding == "base64":
        return base64.b64encode(data).decode()
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise ServiceFault("not_text", "the file is no UTF-8 text; read it with the encoding base64") from None
