"""What klinehub is made of, and whether a service of known vulnerabilities has answered for all of it.

`make audit`: every package of the lock files is asked about; one that was skipped, or not answered for, is a
failure like one that is vulnerable, and so is a service that cannot be reached. The list of packages is
written as build/sbom.cdx.json (CycloneDX).
"""

import argparse
import json
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

ROOT: Final = Path(__file__).resolve().parents[1]
LOCKS: Final = ("requirements.lock", "deploy/requirements.lock", ".ci/tools.lock")
SBOM: Final = ROOT / "build" / "sbom.cdx.json"
WITHIN: Final = 900
_PINNED: Final = re.compile(r"(?P<name>[a-z0-9][a-z0-9.-]*)==(?P<version>[^ ;]+)(?: ; (?P<marker>.+))?")
_HASH: Final = re.compile(r"--hash=sha256:(?P<digest>[0-9a-f]{64})")


class Package(NamedTuple):
    """A locked package; *marker* says where it is installed at all, empty for everywhere."""

    name: str
    version: str
    marker: str
    hashes: tuple[str, ...]


def locked(text: str) -> list[Package]:
    """Read a lock file; raises ValueError for a line that pins nothing, or has no hashes."""
    found = []
    for line in text.replace("\\\n", " ").splitlines():
        pin, *hashes = [part.strip() for part in re.split(r"(?=--hash=)", line)]
        match = _PINNED.fullmatch(pin)
        digests = tuple(one["digest"] for part in hashes if (one := _HASH.fullmatch(part)))
        if match is None or not digests or len(digests) < len(hashes):
            raise ValueError(f"{line.strip()[:80]!r} is no package with its version and its hashes")
        found.append(Package(match["name"], match["version"], match["marker"] or "", digests))
    return found


def faults(packages: Sequence[Package], report: Mapping[str, Any]) -> list[str]:
    """Say what keeps an audit's report from being green: no answer for a package is no good answer."""
    told = {_plain(one["name"]): one for one in report.get("dependencies", ())}
    wrong = []
    for package in packages:
        one = told.get(package.name)
        if one is None:
            wrong.append(f"{package.name} {package.version}: not audited")
        elif one.get("skip_reason"):
            wrong.append(f"{package.name} {package.version}: skipped, {one['skip_reason']}")
        elif one.get("version") != package.version:
            wrong.append(f"{package.name} {package.version}: {one.get('version')} was audited instead")
        else:
            wrong += [f"{package.name} {package.version}: {each['id']}" for each in one.get("vulns", ())]
    return wrong


def sbom(packages: Sequence[Package]) -> dict[str, Any]:
    """List packages as a CycloneDX document."""
    parts = [
        {
            "type": "library",
            "bom-ref": f"pkg:pypi/{one.name}@{one.version}",
            "name": one.name,
            "version": one.version,
            "purl": f"pkg:pypi/{one.name}@{one.version}",
            "hashes": [{"alg": "SHA-256", "content": digest} for digest in one.hashes],
        }
        for one in packages
    ]
    own = {"type": "application", "bom-ref": "klinehub", "name": "klinehub"}
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": own},
        "components": parts,
    }


def without_markers(packages: Sequence[Package]) -> str:
    """Write a lock file of these packages that leaves none out, whatever machine reads it."""
    return "".join(
        f"{one.name}=={one.version} {' '.join(f'--hash=sha256:{digest}' for digest in one.hashes)}\n"
        for one in packages
    )


def asked(program: Path, packages: Sequence[Package], folder: Path) -> tuple[dict[str, Any], str]:
    """Ask the service; gives its report, empty where there is none, and what was said on the way."""
    (folder / "all.lock").write_text(without_markers(packages))
    report = folder / "audit.json"
    report.unlink(missing_ok=True)
    command = [str(program), "--disable-pip", "--require-hashes", "-r", str(folder / "all.lock")]
    command += ["--progress-spinner", "off", "-f", "json", "-o", str(report)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=WITHIN, check=False)
    found = json.loads(report.read_text()) if report.exists() else {}
    return found, (done.stderr.strip().splitlines() or [f"it ended with {done.returncode}"])[-1]


def main() -> int:
    """Write the list, ask, and say what was found."""
    options = argparse.ArgumentParser(description="Audit the lock files.")
    options.add_argument("--with", dest="program", type=Path, required=True, help="the program pip-audit")
    program = options.parse_args().program
    every = {one for name in LOCKS for one in locked((ROOT / name).read_text("utf-8"))}
    packages = sorted({(one.name, one.version): one for one in sorted(every)}.values())
    SBOM.parent.mkdir(exist_ok=True)
    SBOM.write_text(json.dumps(sbom(packages), indent=1) + "\n")
    print(f"{len(packages)} packages, listed in {SBOM.relative_to(ROOT)}")  # noqa: T201 - it is a program
    wrong = []
    by_round: list[list[Package]] = [[], []]
    for one in packages:
        by_round[any(one.name == other.name for other in by_round[0])].append(one)
    for some in filter(None, by_round):
        report, said = asked(program, some, SBOM.parent)
        wrong += faults(some, report)
        wrong += [] if report else [f"the service gave no report: {said}"]
    print("\n".join([*wrong, f"{len(wrong)} faults" if wrong else "audited all of them"]))  # noqa: T201
    return 1 if wrong else 0


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


if __name__ == "__main__":
    sys.exit(main())
