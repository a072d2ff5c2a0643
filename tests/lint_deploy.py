"""The files of deploy/, each given to the program that knows best whether it is right.

`make lint-deploy`: hadolint and check-jsonschema are installed for it, systemd-analyze and promtool are of
the system. A program that is not there checks nothing, and that is said, and is a failure with --all.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

ROOT: Final = Path(__file__).resolve().parents[1]
DEPLOY: Final = ROOT / "deploy"
PROMETHEUS: Final = DEPLOY / "prometheus"
PROGRAM: Final = "/opt/klinehub/bin/klinehub"
WITHIN: Final = 120


class Check(NamedTuple):
    """What is checked, and by which command."""

    what: str
    command: tuple[str, ...]


def expressions() -> Iterator[str]:
    """Give each query of the dashboard, for all hubs."""
    board = json.loads((DEPLOY / "grafana" / "klinehub.json").read_text("utf-8"))
    for panel in board["panels"]:
        yield from (str(target["expr"]).replace("$instance", ".*") for target in panel["targets"])


def as_rules() -> dict[str, Any]:
    """Write the dashboard's queries as rules: promtool reads no dashboards."""
    rules = [{"record": f"query:{number}", "expr": one} for number, one in enumerate(expressions())]
    return {"groups": [{"name": "dashboard", "rules": rules}]}


def checks(folder: Path) -> list[Check]:
    """Give all checks; what they need is written to *folder*."""
    queries, unit = folder / "queries.json", folder / "klinehub.service"
    queries.write_text(json.dumps(as_rules()))
    # The program need not be installed where its unit is checked.
    unit.write_text((DEPLOY / unit.name).read_text("utf-8").replace(PROGRAM, "/bin/true"))
    compose = ("check-jsonschema", "--builtin-schema", "vendor.compose-spec", str(DEPLOY / "compose.yaml"))
    security = ("systemd-analyze", "security", "--offline=yes", "--threshold=20", str(unit))
    return [
        Check("Dockerfile", ("hadolint", str(DEPLOY / "Dockerfile"))),
        Check("compose.yaml", compose),
        Check("klinehub.service", ("systemd-analyze", "verify", "--man=no", str(unit))),
        Check("klinehub.service, how open it is", security),
        Check("alerts.yml", ("promtool", "check", "rules", str(PROMETHEUS / "alerts.yml"))),
        Check("the dashboard's queries", ("promtool", "check", "rules", str(queries))),
        Check(
            "prometheus.yml",
            ("promtool", "check", "config", "--syntax-only", str(PROMETHEUS / "prometheus.yml")),
        ),
    ]


def outcome(check: Check, programs: Path) -> tuple[bool | None, str]:
    """Run a check; gives whether it is right, None where its program is not here, and what was said."""
    name, *arguments = check.command
    program = shutil.which(name, path=str(programs)) or shutil.which(name)
    if program is None:
        return None, f"not checked, there is no {name} here"
    done = subprocess.run(
        [program, *arguments], capture_output=True, text=True, timeout=WITHIN, check=False, cwd=ROOT
    )
    if done.returncode == 0:
        return True, "right"
    return False, f"wrong: {(done.stdout + done.stderr).strip()}"


def main() -> int:
    """Run all checks and say what came of them."""
    options = argparse.ArgumentParser(description="Check the files of deploy/.")
    options.add_argument("--with", dest="programs", type=Path, default=Path("bin"), help="where linters are")
    options.add_argument("--all", action="store_true", help="fail where a program is not there")
    given = options.parse_args()
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for check in checks(Path(folder)):
            right, said = outcome(check, given.programs)
            found.append(right)
            print(f"{check.what}: {said}")  # noqa: T201 - it is a program
    return 1 if False in found or (given.all and None in found) else 0


if __name__ == "__main__":
    sys.exit(main())
