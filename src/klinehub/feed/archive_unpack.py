"""Unpacking what an archive holds - zip, gzip or plain - without trusting it."""

import gzip
import io
import zipfile
import zlib
from typing import Final

from klinehub.errors import DataError

# The largest that a CSV may unpack to: a year of 1m bars has 60 MiB.
MOST_UNPACKED: Final = 256 << 20
SUFFIXES: Final = (".zip", ".csv", ".csv.gz")
_BROKEN: Final = (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError)


def unpack(name: str, data: bytes) -> bytes:
    """Give the CSV in a file of the archive, by its *name*; raises DataError where there is no whole one."""
    try:
        if name.endswith(".zip"):
            return _of_zip(name, data)
        if name.endswith(".gz"):
            return _capped(name, gzip.GzipFile(fileobj=io.BytesIO(data)).read(MOST_UNPACKED + 1))
    except _BROKEN as error:
        raise DataError(f"{name} is cut short or damaged ({error}): download it again.") from error
    return _capped(name, data)


def _of_zip(name: str, data: bytes) -> bytes:
    """Read the one CSV of a zip file, or among several the one that is named as the zip file."""
    with zipfile.ZipFile(io.BytesIO(data)) as packed:
        found = [one for one in packed.infolist() if one.filename.endswith(".csv")]
        own = [one for one in found if one.filename == name.removesuffix(".zip") + ".csv"]
        if len(own) != 1 and len(found) != 1:
            count = f"{len(found)} CSV files" if found else "no CSV file"
            raise DataError(f"{name} holds {count}, none of its own name: download it again.")
        with packed.open((own or found)[0]) as member:
            return _capped(name, member.read(MOST_UNPACKED + 1))


def _capped(name: str, text: bytes) -> bytes:
    if len(text) > MOST_UNPACKED:
        raise DataError(f"{name} unpacks to more than {MOST_UNPACKED >> 20} MiB: this is no kline file.")
    return text
