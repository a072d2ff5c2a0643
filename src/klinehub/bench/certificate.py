"""A certificate for one benchmark's loopback server, made by the `openssl` command where there is one."""

import shutil
import subprocess
from pathlib import Path

ARGUMENTS = (
    *("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"),
    *("-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"),
    *("-addext", "keyUsage=critical,digitalSignature,keyCertSign"),
)


def certificate(folder: Path) -> Path | str:
    """Make a self-signed certificate with its key in *folder*; where that cannot be done, say why."""
    openssl = shutil.which("openssl")
    if openssl is None:
        return "the `openssl` command is not there to make a certificate"
    key, cert, both = folder / "key.pem", folder / "certificate.pem", folder / "both.pem"
    made = subprocess.run(  # noqa: S603 - fixed arguments
        [openssl, *ARGUMENTS, "-keyout", str(key), "-out", str(cert)],
        capture_output=True,
        text=True,
        check=False,
    )
    if made.returncode != 0:
        return f"`openssl` could not make a certificate: {made.stderr.strip()[-200:]}"
    both.write_bytes(key.read_bytes() + cert.read_bytes())
    return both
