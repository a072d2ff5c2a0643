"""Row 20 of docs/security.md, and whether the files of deploy/ fit what klinehub and its clients do.

`make lint-deploy` gives them to the programs that read them; here is what these cannot know.
"""

import importlib.util
import json
import re
import runpy
import shlex
import stat
import threading
import tomllib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, Final

import pytest
from tests.lint_deploy import checks, expressions, outcome

from klinehub.app.config import TABLES, load
from klinehub.serve.guard import Guard

ROOT: Final = Path(__file__).resolve().parents[2]
DEPLOY: Final = ROOT / "deploy"
DOCKERFILE: Final = (DEPLOY / "Dockerfile").read_text("utf-8")
COMPOSE: Final = (DEPLOY / "compose.yaml").read_text("utf-8")
UNIT: Final = (DEPLOY / "klinehub.service").read_text("utf-8")
SERVICES: Final = ("klinehub", "freqtrade-a", "freqtrade-b")
# What Prometheus makes of a histogram and a summary.
SUFFIXES: Final = re.compile(r"_(bucket|sum|count)$")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run prepare.py in a copy of the folder, and give what it wrote."""
    folder = tmp_path_factory.mktemp("deploy")
    (folder / "prepare.py").write_text((DEPLOY / "prepare.py").read_text("utf-8"))
    main = runpy.run_path(str(folder / "prepare.py"))["main"]
    main()
    first = {path.name: path.read_bytes() for path in (folder / "private").iterdir()}

    assert main() == 1
    assert {path.name: path.read_bytes() for path in (folder / "private").iterdir()} == first
    return folder / "private"


def service(name: str) -> str:
    """Give what the compose file says of a service."""
    found = re.search(rf"^  {name}:.*?\n(.*?)(?=^\S|^  \S)", COMPOSE, re.MULTILINE | re.DOTALL)
    assert found is not None
    return found[0]


def test_row_20_no_container_is_root_or_may_become_it() -> None:
    users = re.findall(r"^USER (\S+)$", DOCKERFILE, re.MULTILINE)
    hardened = COMPOSE[COMPOSE.index("x-hardened:") : COMPOSE.index("services:")]

    assert users == ["1000:1000"]
    assert DOCKERFILE.rindex("USER 1000") > DOCKERFILE.rindex("RUN ")
    for line in ('user: "1000:1000"', "cap_drop: [ALL]", 'security_opt: ["no-new-privileges:true"]'):
        assert line in hardened
    assert "<<: *hardened" in service("klinehub")
    assert "<<: *hardened" in service("freqtrade-a")
    assert "<<: *freqtrade" in service("freqtrade-b")
    assert not re.search(r"privileged|docker\.sock|network_mode|pid: host|cap_add", COMPOSE)


def test_row_20_the_hub_writes_only_where_its_data_is() -> None:
    hub = service("klinehub")
    set_to = dict(re.findall(r"(\w+)=(\S+)", DOCKERFILE[DOCKERFILE.index("ENV") :]))

    assert "read_only: true" in hub
    assert 'volumes: ["klinehub:/data"]' in hub
    places = ("HOME", "NUMBA_CACHE_DIR", "KLINEHUB_STORE_PATH", "XDG_RUNTIME_DIR")
    assert all(set_to[name].startswith(("/data", "/tmp")) for name in places)
    assert re.search(r"^VOLUME /data$", DOCKERFILE, re.MULTILINE)


def test_row_20_ports_are_published_to_this_machine_alone() -> None:
    published = re.findall(r'"([^"]*:\d+:\d+)"', COMPOSE)

    assert sorted(published) == ["127.0.0.1:8787:8787", "127.0.0.1:8788:8788"]


def test_row_20_the_unit_gives_nothing_away() -> None:
    told = dict(line.split("=", 1) for line in UNIT.splitlines() if re.match(r"[A-Z]\w+=", line))

    assert told["DynamicUser"] == told["NoNewPrivileges"] == told["ProtectHome"] == "yes"
    assert told["ProtectSystem"] == "strict"
    assert told["CapabilityBoundingSet"] == told["AmbientCapabilities"] == ""
    assert told["UMask"] == "0077"
    # Secrets come as a credential, readable by this unit alone.
    assert told["LoadCredential"] == "klinehub.toml:/etc/klinehub/klinehub.toml"


def test_row_20_secrets_are_drawn_anew_and_kept_from_others(prepared: Path) -> None:
    files = list(prepared.iterdir())
    secrets = tomllib.loads((prepared / "klinehub.toml").read_text())["serve"]["clients"]

    assert stat.S_IMODE(prepared.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    assert set(secrets) == {"freqtrade-a", "freqtrade-b", "prometheus", "health"}
    assert len(set(secrets.values())) == 4
    assert "/deploy/private/" in (ROOT / ".gitignore").read_text()
    mounted = re.findall(r"file: \./private/(\S+) ", COMPOSE)
    assert set(mounted) <= {path.name for path in files}


def test_row_20_the_hub_starts_with_what_was_prepared(prepared: Path) -> None:
    config = load(prepared / "klinehub.toml", {})

    Guard(config.serve)
    assert (config.serve.host, config.serve.allowed_hosts) == ("0.0.0.0", ("klinehub",))


def test_row_20_variables_are_settings() -> None:
    names = re.findall(r"\bKLINEHUB_([A-Z]+)_([A-Z_]+)=", DOCKERFILE + UNIT)

    assert names
    assert all(key.lower() in TABLES[table.lower()] for table, key in names)


@pytest.mark.parametrize("bot", ["freqtrade-a", "freqtrade-b"])
def test_row_20_ccxt_takes_the_bots_addresses(prepared: Path, bot: str) -> None:
    import ccxt.async_support as ccxt
    from ccxt import pro

    exchange = json.loads((prepared / f"{bot}.json").read_text())["exchange"]
    token = load(prepared / "klinehub.toml", {}).serve.clients[bot]
    assert exchange["ccxt_config"] == exchange["ccxt_async_config"]
    api = exchange["ccxt_config"]["urls"]["api"]
    known = ccxt.binance().describe()["urls"]["api"]

    client = ccxt.binance({**exchange["ccxt_config"], "options": {"defaultType": "swap"}})

    assert set(api) - {"ws"} <= set(known)
    # Which of the two it is depends on how old ccxt is.
    assert set(api["ws"]) == {"linear", "future"}
    assert set(api["ws"]) & set(pro.binance().describe()["urls"]["api"]["ws"])
    for name, url in api.items():
        if name != "ws":
            assert client.urls["api"][name] == url
            # The same path as at the exchange, behind the secret.
            assert url == f"http://klinehub:8787/c/{token}/" + known[name].split("/", 3)[3]
    assert all(url == f"ws://klinehub:8788/c/{token}/ws" for url in api["ws"].values())
    # What is signed goes to the exchange itself.
    assert client.urls["api"]["fapiPrivate"] == known["fapiPrivate"]


def test_row_20_compose_and_bots_fit_together() -> None:
    common = json.loads((DEPLOY / "freqtrade" / "common.json").read_text("utf-8"))

    assert common["dry_run"] is True
    assert (common["exchange"]["key"], common["exchange"]["secret"]) == ("", "")
    for name in SERVICES[1:]:
        assert f"--config=/run/secrets/{name}.json" in service(name)
        assert f"secrets: [{name}.json]" in service(name)
    assert "klinehub: { condition: service_healthy }" in service("freqtrade-a")


@pytest.mark.parametrize(
    ("asked", "status", "code"), [([], 200, 0), ([], 503, 1), (["/readyz"], 200, 0), (["/readyz"], 401, 1)]
)
def test_row_20_the_health_check_shows_the_hubs_secret(
    monkeypatch: pytest.MonkeyPatch, prepared: Path, asked: list[str], status: int, code: int
) -> None:
    shown: list[tuple[str, str | None]] = []

    class Hub(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            shown.append((self.path, self.headers["Authorization"]))
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Hub)
    thread = threading.Thread(target=server.handle_request)
    thread.start()
    monkeypatch.setenv("KLINEHUB_CONFIG", str(prepared / "klinehub.toml"))
    monkeypatch.setenv("KLINEHUB_SERVE_PORT", str(server.server_port))
    monkeypatch.setattr("sys.argv", ["healthcheck.py", *asked])
    check = runpy.run_path(str(DEPLOY / "healthcheck.py"))["main"]

    assert check() == code
    thread.join()
    server.server_close()
    clients = load(prepared / "klinehub.toml", {}).serve.clients
    assert shown == [((asked or ["/healthz"])[0], f"Bearer {clients['freqtrade-a']}")]
    assert check() == 1


def metrics() -> set[str]:
    """Give the names of a hub's metrics, or skip where it has none."""
    if importlib.util.find_spec("klinehub.serve.figures") is None:
        pytest.skip("the hub has no metrics: alerts and dashboard were not held against them")
    figures = importlib.import_module("klinehub.serve.figures")
    return {f"klinehub_{one.name}" for one in figures.FIGURES}


def queried() -> Iterator[str]:
    alerts = (DEPLOY / "prometheus" / "alerts.yml").read_text("utf-8")
    for text in (*expressions(), *re.findall(r"expr: (.*)", alerts)):
        yield from re.findall(r"klinehub_\w+", text)


def test_row_20_alerts_and_dashboard_name_metrics_that_are_there() -> None:
    known = metrics()

    unknown = {name for name in queried() if name not in known and SUFFIXES.sub("", name) not in known}
    assert unknown == set()


def test_row_20_the_dashboard_shows_all_of_the_main_metrics() -> None:
    board = json.loads((DEPLOY / "grafana" / "klinehub.json").read_text("utf-8"))
    ids = [panel["id"] for panel in board["panels"]]

    assert len(set(ids)) == len(ids) > 15
    assert all(panel["targets"] and panel["title"] for panel in board["panels"])
    places = [tuple(panel["gridPos"].values()) for panel in board["panels"]]
    assert len(set(places)) == len(places)
    assert all(x + w <= 24 for x, _, w, _ in places)


def test_row_20_what_checks_these_files_is_run_where_it_is(tmp_path: Path) -> None:
    """Those that are missing are told by `make lint-deploy`."""
    for check in checks(tmp_path):
        right, said = outcome(check, ROOT / ".venv" / "tools" / "bin")
        assert right is not False, f"{check.what} ({shlex.join(check.command)}): {said}"
