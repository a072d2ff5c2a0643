"""What reading leaves behind: threads of Arrow's, counted in a process of its own."""

import subprocess
import sys
from pathlib import Path

import pytest

counted = pytest.mark.skipif(
    not Path("/proc/self/task").exists(), reason="only Linux tells the threads of a process"
)


def left(imports: str, code: str, path: Path) -> list[str]:
    """Give the words that *code* prints of *path*, and last how many threads it has left."""
    script = f"""
import os, sys
from pathlib import Path
from klinehub.store.parquet import arrow
{imports}

path = Path(sys.argv[1])
arrow()
before = len(os.listdir("/proc/self/task"))
{code}
print(len(os.listdir("/proc/self/task")) - before)
"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=True
    )
    return done.stdout.split()
