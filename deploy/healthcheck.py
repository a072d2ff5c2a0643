"""Ends with 0 when the hub of this container answers /healthz, or the path that is given, such as /readyz.

Port and secret are read from the hub's own settings.
"""

import os
import sys
import tomllib
import urllib.error
import urllib.request
from pathlib import Path


def main() -> int:
    """Ask once."""
    file = Path(os.environ.get("KLINEHUB_CONFIG", "klinehub.toml"))
    serve = tomllib.loads(file.read_text("utf-8")).get("serve", {}) if file.exists() else {}
    clients = serve.get("clients", {})
    token = os.environ.get("KLINEHUB_SERVE_TOKEN") or serve.get("token") or next(iter(clients.values()), "")
    port = os.environ.get("KLINEHUB_SERVE_PORT") or serve.get("port", 8787)
    path = (sys.argv[1:] or ["/healthz"])[0]
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}")
    if token:
        request.add_header("Authorization", f"Bearer {token}")
    try:
        with urllib.request.urlopen(request, timeout=4) as response:  # noqa: S310 - as above
            return 0 if response.status == 200 else 1
    except (urllib.error.URLError, TimeoutError):
        return 1


if __name__ == "__main__":
    sys.exit(main())
