"""Draws a secret for each client of the compose file, and writes who needs it what it needs: deploy/private/.

Run it once; what is there already is left as it is.
"""

import json
import os
import secrets
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
BOTS = ("freqtrade-a", "freqtrade-b")
REST, STREAMS = "http://klinehub:8787", "ws://klinehub:8788"
# The user of both images.
OWNER = 1000


def hub(tokens: dict[str, str]) -> str:
    """Give the hub's settings: reached by its name in the bots' network, by nobody without a secret."""
    clients = "\n".join(f'{name} = "{token}"' for name, token in tokens.items())
    return f'[serve]\nhost = "0.0.0.0"\nallowed_hosts = ["klinehub"]\n\n[serve.clients]\n{clients}\n'


def exchange(token: str) -> dict[str, Any]:
    """Give freqtrade's addresses: a header would be sent to the exchange too, so the secret is in the path.

    Orders and everything else that is signed goes to the exchange itself: those addresses are not changed.
    """
    rest, streams = f"{REST}/c/{token}", f"{STREAMS}/c/{token}"
    api = {
        "fapiPublic": f"{rest}/fapi/v1",
        "fapiPublicV2": f"{rest}/fapi/v2",
        "fapiPublicV3": f"{rest}/fapi/v3",
        "fapiData": f"{rest}/futures/data",
        "public": f"{rest}/api/v3",
        # The key was called future until 2026, linear since.
        "ws": dict.fromkeys(("linear", "future"), f"{streams}/ws"),
    }
    ccxt = {"urls": {"api": api}, "options": {"fetchMarkets": {"types": ["linear"]}}}
    return {"exchange": {"ccxt_config": ccxt, "ccxt_async_config": ccxt}}


def main() -> int:
    """Write what is missing."""
    private = HERE / "private"
    private.mkdir(mode=0o700, exist_ok=True)
    if (private / "klinehub.toml").exists():
        sys.stderr.write(f"{private} is there already: delete it to draw new secrets\n")
        return 1
    tokens = {name: secrets.token_urlsafe(24) for name in (*BOTS, "prometheus", "health")}
    files = {"klinehub.toml": hub(tokens), "prometheus.token": tokens["prometheus"]}
    files |= {f"{name}.json": json.dumps(exchange(tokens[name]), indent=2) + "\n" for name in BOTS}
    for name, text in files.items():
        fd = os.open(private / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(fd, "w") as file:
            file.write(text)
        if os.geteuid() == 0:
            os.chown(private / name, OWNER, OWNER)
    if os.geteuid() not in {0, OWNER}:
        sys.stderr.write(f"the containers run as user {OWNER}: sudo chown {OWNER} {private}/*\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
