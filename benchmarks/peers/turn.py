"""One turn of one contestant, in a process of its own: `python -m benchmarks.peers.turn KIND NAME FOLDER`."""

import json
import sys
from pathlib import Path

from benchmarks.peers.kinds import KINDS


def main() -> None:
    """Print what the contestant measured as the last line of stdout, one JSON document."""
    kind, name, folder = sys.argv[1:]
    found = KINDS[kind].contestants[name](Path(folder))
    sys.stdout.write(f"\n{json.dumps(dict(found))}\n")
    # Clients that are not told to stop keep their threads.
    sys.stdout.flush()


if __name__ == "__main__":
    main()
