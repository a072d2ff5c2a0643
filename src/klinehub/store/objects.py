"""Files in an object store, or on whatever else pyarrow or fsspec reaches: S3, Google, Azure, HDFS.

1. An object is there whole or not at all. Where files are written in place, that is under a hidden name.
2. Nothing there keeps two writers apart, so one hub writes a history. Two lose nothing: their segments lie
   beside each other, and bars on which they disagree are named.
3. Credentials come from where the cloud's own programs have them, never out of the address.
4. Every request has an end, and nothing is asked before something is read or written.
"""

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import cache, cached_property
from io import BufferedIOBase
from pathlib import Path, PurePath, PurePosixPath
from typing import Any, Final, cast
from urllib.parse import parse_qsl, unquote, urlsplit, urlunsplit

from klinehub.errors import DefinitionError, KlinehubError, StoreError, UnknownName
from klinehub.store import disk
from klinehub.store.files import Away, Files, Folder
from klinehub.store.parquet import arrow

# Seconds for a connection, and without a byte of an answer; how often a request is tried.
CONNECT: Final = 5.0
SILENCE: Final = 10.0
ATTEMPTS: Final = 3
# Google's own way to say how long is tried in all; left alone it is a quarter of an hour.
_GOOGLE: Final = ("retry_limit_seconds", str(round(ATTEMPTS * SILENCE)))
_S3: Final = ("region", "scheme", "endpoint_override", "force_virtual_addressing", "tls_ca_file_path")
# Where a put is whole or not at all, so that no hidden name is needed first.
_OBJECTS: Final = frozenset({"s3", "gs", "gcs", "abfs", "abfss"})
_BUCKETS: Final = frozenset({"s3", "gs", "gcs"})
_SECRETS: Final = frozenset(
    {"access_key", "secret_key", "session_token", "account_key", "sas_token", "client_secret", "password"}
)
_SETTING: Final = "`store.history_path`"
# What clouds say when they do not let in, and what is said where nobody answers.
_REFUSED: Final = (
    "ACCESS_DENIED",
    "INVALID_ACCESS_KEY_ID",
    "INVALID_CLIENT_TOKEN_ID",
    "INVALID_SIGNATURE",
    "MISSING_AUTHENTICATION_TOKEN",
    "SIGNATURE_DOES_NOT_MATCH",
    "EXPIRED_TOKEN",
    "InvalidAccessKeyId",
    "SignatureDoesNotMatch",
    "HTTP status 401",
    "HTTP status 403",
)
_SILENT: Final = ("NETWORK_CONNECTION", "curlCode", "REQUEST_TIMEOUT", "imeout", "onnection refused")
_NO_BUCKET: Final = ("NO_SUCH_BUCKET", "NoSuchBucket")


def is_address(text: str) -> bool:
    """Whether a place is written as an address, such as s3://bucket/prefix, and is no path."""
    return "://" in text


def files_at(place: str, *below: str) -> Files:
    """Give the files of the folder *below* a place: a path, or an address that pyarrow or fsspec knows.

    Raises DefinitionError for an address with a secret in it, or that is none.
    """
    if not is_address(place):
        return Folder(Path(place).expanduser().joinpath(*below))
    parts = urlsplit(place)
    if parts.scheme == "file":
        return Folder(Path(unquote(parts.path)).joinpath(*below))
    return Objects(place, *below)


class Objects:
    """The files of the folder *below* an address; nothing is asked before something is read or written."""

    def __init__(self, address: str, *below: str) -> None:
        parts = urlsplit(address)
        self._scheme = parts.scheme
        self._query = dict(parse_qsl(parts.query))
        self._refuse_secrets(parts.password is not None or (self._scheme == "s3" and "@" in parts.netloc))
        bare = urlunsplit((*parts[:3], "", "")).rstrip("/")
        if self._scheme == "s3":
            if not parts.hostname:
                raise DefinitionError(f"{address} names no bucket: write it like s3://bucket/prefix.")
            for name in self._query:
                if name not in _S3:
                    raise UnknownName("parameter of an s3:// address", name, _S3)
        self.where = "/".join((bare, *below))
        self._address = address
        self._below = below
        self._seen = False

    def _refuse_secrets(self, named: bool) -> None:  # noqa: FBT001 - one caller
        """Refuse an address that would be printed, logged and handed on with a secret in it."""
        if named or _SECRETS & self._query.keys():
            raise DefinitionError(
                f"{_SETTING} has a user or a secret in it: leave that out, and give it in the environment "
                "(AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY), or as a profile in ~/.aws/credentials that "
                "AWS_PROFILE names."
            )

    @cached_property
    def _opened(self) -> tuple[Any, PurePosixPath]:
        """Open the file system: pyarrow's own where it knows the address, else fsspec's."""
        pa, fs = arrow(), _systems()
        parts = urlsplit(self._address)
        if self._scheme == "s3":
            # As `from_uri` would, which can not say for how long.
            more: dict[str, Any] = {**self._query}
            if "force_virtual_addressing" in more:
                more["force_virtual_addressing"] = more["force_virtual_addressing"].lower() in {"true", "1"}
            opened = fs.S3FileSystem(
                **more,
                connect_timeout=CONNECT,
                request_timeout=SILENCE,
                # One put where a segment is small, not three requests.
                allow_delayed_open=True,
                retry_strategy=fs.AwsStandardS3RetryStrategy(max_attempts=ATTEMPTS),
            )
            return opened, PurePosixPath(parts.netloc + unquote(parts.path)).joinpath(*self._below)
        address = self._address
        if self._scheme in {"gs", "gcs"} and _GOOGLE[0] not in self._query:
            address += ("&" if self._query else "?") + "=".join(_GOOGLE)
        try:
            opened, path = fs.FileSystem.from_uri(address)
        except pa.ArrowInvalid as exc:
            if "Unrecognized filesystem" not in str(exc):
                raise DefinitionError(f"{self.where} is no address to keep history at: {exc}") from exc
            opened, path = _by_fsspec(self._address)
        return opened, PurePosixPath(path).joinpath(*self._below)

    @property
    def root(self) -> PurePosixPath:
        """The folder that all files lie below, bucket and all."""
        with self._asking("reached"):
            return self._opened[1]

    @contextmanager
    def _asking(self, doing: str) -> Iterator[None]:
        """Tell what fails while something is asked of the store; a file that is gone is told as that."""
        try:
            yield
        except (FileNotFoundError, KlinehubError):
            raise
        except Exception as exc:
            # File systems of fsspec raise whatever they like.
            raise self._told(exc, doing) from exc

    def _told(self, exc: Exception, doing: str) -> StoreError:
        # pyarrow says at length what it was doing, and behind that what came of it.
        text = str(exc).rpartition("AWS Error ")[2] or type(exc).__name__
        if any(word in text for word in _NO_BUCKET):
            return self._no_bucket()
        if any(word in text for word in _REFUSED) or isinstance(exc, PermissionError):
            return StoreError(
                f"{self.where} does not let us in ({text}): check the credentials in the environment or in "
                "AWS_PROFILE, and that they may list, read, write and delete there."
            )
        if isinstance(exc, TimeoutError | ConnectionError) or any(word in text for word in _SILENT):
            return Away(
                f"{self.where} is not reached ({text}): check the network, and the host in {_SETTING}. "
                "What waits stays where it is, and is tried again."
            )
        return StoreError(f"{self.where} can not be {doing} ({text}): nothing that was there is lost.")

    def _no_bucket(self) -> StoreError:
        bucket = urlsplit(self._address).netloc
        return StoreError(
            f"There is no bucket {bucket!r}: make it, or check its name and `region` in {_SETTING}."
        )

    def _listed(self, folder: PurePath, *, deep: bool = False) -> list[tuple[PurePath, bool]]:
        """Give what lies in a folder, in order, and of each whether it is a file."""
        with self._asking("read"):
            fs = _systems()
            opened, root = self._opened
            asked = fs.FileSelector(str(folder), allow_not_found=True, recursive=deep)
            found = sorted((PurePosixPath(one.path), one.type) for one in opened.get_file_info(asked))
            if not (found or self._seen) and self._scheme in _BUCKETS:
                # Nothing there, or no there: S3 says the same of both.
                (bucket,) = opened.get_file_info([root.parts[0]])
                if bucket.type == fs.FileType.NotFound:
                    raise self._no_bucket()
            self._seen = True
            return [(path, kind == fs.FileType.File) for path, kind in found]

    def folders(self, folder: PurePath) -> list[str]:
        """Give the names of the folders in one, in order."""
        return [path.name for path, is_file in self._listed(folder) if not is_file]

    def files(self, folder: PurePath) -> list[PurePath]:
        """Give the files of a folder, hidden ones too, in order."""
        return [path for path, is_file in self._listed(folder) if is_file]

    def below(self) -> list[PurePath]:
        """Give the files of all folders two steps below the root, in order."""
        root = self.root
        found = self._listed(root, deep=True)
        return [path for path, is_file in found if is_file and len(path.parts) == len(root.parts) + 3]

    @contextmanager
    def reading(self, path: PurePath) -> Iterator[BufferedIOBase]:
        """Open an object to read some of its bytes."""
        with self._asking("read"), self._opened[0].open_input_file(str(path)) as file:
            yield cast("BufferedIOBase", file)

    def size(self, path: PurePath) -> int:
        """Give an object's size in bytes."""
        with self._asking("read"):
            info = self._opened[0].get_file_info(str(path))
            if not info.is_file:
                raise FileNotFoundError(str(path))
            return int(info.size)

    def put(self, path: PurePath, body: bytes) -> None:
        """Write an object, and see that all of it is there."""
        with self._asking("written"):
            opened, _ = self._opened
            part = path if self._scheme in _OBJECTS else disk.hidden(path)
            try:
                if part != path:
                    opened.create_dir(str(path.parent), recursive=True)
                with opened.open_output_stream(str(part)) as sink:
                    sink.write(body)
                if part != path:
                    opened.move(str(part), str(path))
                kept = self.size(path)
            except FileNotFoundError as exc:
                raise OSError(str(exc)) from exc
            if kept != len(body):
                raise OSError(f"{kept} of {len(body)} bytes of {path.name} are there")

    def drop(self, paths: Iterable[PurePath]) -> None:
        """Delete objects; one that is gone already is no error."""
        with self._asking("deleted"):
            for path in paths:
                with suppress(FileNotFoundError):
                    self._opened[0].delete_file(str(path))

    def clear(self, folder: PurePath) -> None:
        """Delete a folder where nothing is left in it: some stores keep a mark where objects were."""
        if not self._listed(folder, deep=True):
            with self._asking("deleted"), suppress(FileNotFoundError):
                self._opened[0].delete_dir(str(folder))

    def rename(self, path: PurePath, to: PurePath) -> None:
        """Call an object otherwise."""
        with self._asking("written"):
            self._opened[0].move(str(path), str(to))

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Let the threads of this process take turns; other processes are not kept out."""
        with _turn(self.where):
            yield


@cache
def _turn(where: str) -> threading.Lock:  # noqa: ARG001 - a lock for each place
    return threading.Lock()


def _systems() -> Any:  # noqa: ANN401 - a module, whose stubs are older than it
    """Import what pyarrow reaches other machines with."""
    from pyarrow import fs  # noqa: PLC0415 - an extra

    return fs


def _by_fsspec(address: str) -> tuple[Any, str]:
    """Open a file system of fsspec's; raises DefinitionError where it knows none, or lacks what it needs."""
    scheme = urlsplit(address).scheme
    try:
        from fsspec.core import url_to_fs  # noqa: PLC0415 - brought by those who need it

        found, path = url_to_fs(address, use_listings_cache=False)
    except ImportError as exc:
        raise DefinitionError(
            f"{scheme}:// is reached through fsspec, which lacks a package for it ({exc}): "
            "pip install fsspec, and the one that it names."
        ) from exc
    except ValueError as exc:
        raise DefinitionError(
            f"Neither pyarrow nor fsspec knows {scheme}:// ({exc}): name a folder, or an address such as "
            "s3://bucket/prefix."
        ) from exc
    fs = _systems()
    return fs.PyFileSystem(fs.FSSpecHandler(found)), str(path)
