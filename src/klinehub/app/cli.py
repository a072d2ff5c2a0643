"""The command line: each command is a thin shell over one thing the library does."""

import signal
import sys
from pathlib import Path
from typing import Any, Final, NoReturn

import click

from klinehub.app import options
from klinehub.app.evidence_commands import evidence
from klinehub.app.exits import INTERRUPTED, TERMINATED, USAGE, exit_code
from klinehub.app.waiting import Stopped, end, wait, waited
from klinehub.errors import KlinehubError

VERSION: Final = "0.1.0"
SPEED: Final = click.FloatRange(0, 10_000, min_open=True)
PORT: Final = click.IntRange(0, 65_535)
PALETTES: Final = ("green-red", "red-green", "blue-orange")


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(VERSION, prog_name="klinehub")
def cli() -> None:
    """Every kline of a whole market, live in memory and provably right."""


@cli.command()
@click.option("--symbols", "count", type=click.IntRange(1, 5_000), help="How many symbols; 550.")
@click.option("--seed", type=int, default=1, show_default=True, help="The simulated market's seed.")
@click.option(
    "--replay", metavar="PATH", help="Recorded klines (CSV, ZIP or Parquet, file or folder) as the market."
)
@click.option("--at", metavar="TIME", help="Where market time begins, for example 2025-10-10T21:30:00Z.")
@click.option("--speed", type=SPEED, help="How fast market time runs; 10, with --once 1.")
@click.option("--once", is_flag=True, help="Warm up, rank and verify once, then end.")
@click.option("--limits", is_flag=True, help="Keep the exchange's real weight limit.")
@click.option(
    "--spot", is_flag=True, default=None, help="A spot market beside it, whose pairs the hub follows too."
)
@click.option("--timeframes", metavar="LIST", help="Which timeframes; those that suit the market.")
@options.serve_options
@options.scan_options
@options.common_options
def demo(**given: object) -> None:
    """A simulated exchange, a hub and the live ranking: no network, no key, no settings."""
    from klinehub.app.run import demo as run

    wait(run(given))


@cli.command()
@options.also_options
@options.serve_options
@options.relay_options
@options.scan_options
@options.hub_options
def run(**given: object) -> None:
    """Warm up a market, keep it live and show the ranking at each close."""
    from klinehub.app.run import run as work

    wait(work(given))


@cli.command()
@click.option(
    "--once", is_flag=True, help="Rank once and end; without it the ranking is shown at each close."
)
@click.option("--watch", is_flag=True, help="Show the ranking at each close, as without --once.")
@options.screen_options
@options.scan_options
@options.running_options
@options.hub_options
def scan(**given: object) -> None:
    """Rank the market: from a running hub, or from just the history that the scan needs."""
    from klinehub.app.ask import scan as work

    wait(work(given))


@cli.command()
@click.option("--columns", metavar="LIST", help="Columns, as 'rsi,rsi_1h,zscore(volume_surge)'.")
@click.option("--where", metavar="EXPR", help="Only where this holds, as 'rsi_1h < 30 and age > 30d'.")
@click.option("--preset", metavar="NAME", help="The filter and columns of a preset, or of a screen of yours.")
@click.option("--timeframe", metavar="TF", help="The closed bars of this timeframe; the hub's own.")
@click.option("--sort", metavar="COLUMN", help="Sort by it, with a - before it the largest first; -score.")
@click.option("--top", type=click.IntRange(1), metavar="N", help="How many lines --once prints; 20.")
@click.option(
    "--palette", type=click.Choice(PALETTES), default=PALETTES[0], show_default=True, help="Colours."
)
@click.option("--url", metavar="URL", help="Where a hub is served; without it the hub of this machine.")
@click.option("--token", metavar="TOKEN", help="The secret of a served hub; better KLINEHUB_SERVE_TOKEN.")
@click.option("--once", is_flag=True, help="Print the table once as text, and end.")
@options.common_options
def top(**given: object) -> None:
    """The board of a running hub in this terminal: filter, sort, and why a symbol scores; ? says the keys."""
    from klinehub.app.top import top as work

    wait(work(given))


@cli.command()
@click.argument("held", nargs=-1, metavar="[SYMBOL]...")
@click.option("--when", metavar="EXPR", help="Tell when this comes to hold, as 'rsi_1h > 70'.")
@click.option("--flip", is_flag=True, help="Tell when the trend changes its side.")
@click.option("--stop", type=float, metavar="PRICE", help="Tell when the close comes near this price.")
@click.option("--ranges", type=float, default=2.0, show_default=True, help="How many average true ranges.")
@click.option("--every-bar", is_flag=True, help="Tell it at each bar at which it holds.")
@click.option(
    "--journal", type=click.Path(path_type=Path), metavar="FILE", help="Write hits and what came after."
)
@click.option(
    "--horizons", default="1,4,16,96", show_default=True, help="After how many bars, for the journal."
)
@click.option("--timeframe", metavar="TF", help="Look at the closed bars of this timeframe.")
@click.option("--jsonl", is_flag=True, help="Print each hit as one flat JSON object a line, with its pair.")
@options.reach_options
def watch(**given: object) -> None:
    """Held symbols and screens of klinehub.toml, at each close: a line for each hit."""
    from klinehub.app.watch import watch as work

    wait(work(given))


cli.add_command(evidence)


@cli.command()
@click.argument("path", type=click.Path(path_type=Path), metavar="FILE")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document on stdout.")
def journal(**given: object) -> None:
    """What the price did after the hits that `watch --journal FILE` wrote down."""
    from klinehub.app.journal import journal as work

    work(given)


@cli.command()
@click.argument("name", required=False)
@click.option("--family", metavar="NAME", help="Only one family: trend, momentum, volatility, …")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document on stdout.")
def factors(**given: object) -> None:
    """List the factors that screens are made of, or say everything of one."""
    from klinehub.app.factors import factors as work

    work(given)


@cli.command()
@click.argument("symbol")
@click.argument("timeframe", metavar="TIMEFRAME")
@click.option(
    "--limit", type=click.IntRange(1, 1499), default=20, show_default=True, help="How many closed bars."
)
@options.running_options
@options.hub_options
def klines(**given: object) -> None:
    """Print the closed bars of one symbol: from a running hub, or by one request."""
    from klinehub.app.ask import klines as work

    wait(work(given))


@cli.command()
@options.running_options
@options.common_options
def status(**given: object) -> None:
    """Say what the running hub holds and has done, and what is missing."""
    from klinehub.app.ask import status as work

    wait(work(given))


@cli.group(invoke_without_command=True)
@click.option("--symbol", metavar="SYMBOL", help="Those of one symbol.")
@click.option(
    "--limit", type=click.IntRange(1, 100_000), default=20, show_default=True, help="How many, the newest."
)
@options.common_options
@click.pass_context
def alerts(context: click.Context, /, **given: object) -> None:
    """The newest alerts and what became of them: from the running hub, or from the log on disk."""
    if context.invoked_subcommand is None:
        from klinehub.app.alerts import alerts as work

        wait(work(given))


@alerts.command()
@click.argument("name")
@options.common_options
def test(**given: object) -> None:
    """Send a test: NAME is a rule or a target, of the running hub or of the settings.

    It ends with 1 where a target did not take it.
    """
    from klinehub.app.alerts import tried as work

    wait(work(given))


@cli.command()
@options.running_options
@options.reach_options
def universe(**given: object) -> None:
    """The symbols that are worth a scan, and why: of a running hub, or chosen once by the rules."""
    from klinehub.app.universe import universe as work

    wait(work(given))


@cli.command()
@options.running_options
@options.hub_options
def verify(**given: object) -> None:
    """Compare every closed bar in memory with REST, within the request budget."""
    from klinehub.app.ask import verify as work

    wait(work(given))


@cli.command()
@options.reach_options
def doctor(**given: object) -> None:
    """Say what is the matter with the way to the exchange, what to do, and what works all the same."""
    from klinehub.app.doctor import doctor as work

    wait(work(given))


@cli.command()
@click.argument("names", nargs=-1, metavar="[SYMBOL]...")
@click.option("--timeframes", metavar="LIST", help="Which timeframes; 1m, of which larger ones are made.")
@click.option("--since", metavar="TIME", help="Bars from this time on, as 2024-01-01; all that there are.")
@click.option("--until", metavar="TIME", help="Bars before this time, or up to this day with it; up to now.")
@click.option("--funding", is_flag=True, help="Funding rates too.")
@click.option("--metrics", is_flag=True, help="Open interest and the shares of long and short too.")
@click.option(
    "--from-dir",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Import the archive's files from a folder, without any network.",
)
@click.option(
    "--replace", is_flag=True, help="Fetch all again; where it differs from what is kept, it counts."
)
@click.option("--dry-run", is_flag=True, help="Only say what it would take.")
@click.option("--yes", is_flag=True, help="Do not ask whether to go on.")
@options.archive_options
def download(**given: object) -> None:
    """Years of klines from the exchange's bulk archive into the history: all symbols, or some.

    The days that the archive does not have yet come by REST, within the request budget. What was imported is
    not fetched again, so that an interrupted download goes on where it was.
    """
    from klinehub.app.download import download as work

    wait(work(given))


@cli.group()
def store() -> None:
    """Look after what is kept on disk, or in PostgreSQL: check it, mend it, hand it on, make it smaller."""


@store.command()
@options.store_options
def info(**given: object) -> None:
    """Say what is kept: bars, ranges, gaps, bytes, and what is damaged."""
    from klinehub.app.store import info as work

    work(given)


@store.command("verify")
@click.option(
    "--sample",
    type=click.IntRange(1, 100_000),
    default=50,
    show_default=True,
    help="How many stretches of at most 99 bars --rest compares.",
)
@click.option("--seed", type=int, default=1, show_default=True, help="Which ones.")
@options.store_rest_options
def verify_store(**given: object) -> None:
    """Check every byte, the order of every bar, and that both stores agree; 1 when anything is wrong."""
    from klinehub.app.store_check import verify as work

    end(work(given, waited))


@store.command()
@options.store_rest_options
def repair(**given: object) -> None:
    """Set aside what is damaged, rebuild what can be read, and say what was done; nothing is deleted.

    With --rest bars that lack are fetched, as far as the exchange still has them.
    """
    from klinehub.app.store_check import repair as work

    end(work(given, waited))


@store.command()
@click.argument("dest", metavar="FOLDER|-")
@click.option(
    "--format",
    type=click.Choice(["parquet", "csv", "arrow"]),
    default="parquet",
    show_default=True,
    help="CSV has the twelve fields of the exchange's archive.",
)
@click.option("--timeframes", metavar="LIST", help="Which timeframes; all that are kept.")
@click.option("--symbols", metavar="LIST", help="Just these symbols.")
@click.option("--since", metavar="TIME", help="Bars from this time on, as 2024-01-01.")
@click.option("--until", metavar="TIME", help="Bars before this time, or up to this day with it.")
@options.store_options
def export(**given: object) -> None:
    """Write kept bars, to the last digit, as files into a folder, or one of them to stdout (-)."""
    from klinehub.app.store_files import export as work

    work(given)


@store.command("import")
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
@click.option("--replace", is_flag=True, help="Where a bar differs from what is kept, it counts.")
@options.store_options
def import_files(**given: object) -> None:
    """Keep the bars of files or folders: exports, and the archive's CSV, gzip and zip files."""
    from klinehub.app.store_files import bring as work

    end(work(given))


@store.command()
@click.option("--timeframes", metavar="LIST", help="Which timeframes; all that are kept.")
@click.option("--month", metavar="YYYY-MM", help="Just this month.")
@options.store_options
def compact(**given: object) -> None:
    """Make few files of the many of a month; hubs do it once a month is over."""
    from klinehub.app.store import compact as work

    work(given)


@store.command()
@click.option("--before", metavar="DATE", required=True, help="Bars before it, by whole months.")
@click.option("--timeframes", metavar="LIST", required=True, help="Which timeframes.")
@click.option("--dry-run", is_flag=True, help="Only say what would be deleted.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@options.store_options
def prune(**given: object) -> None:
    """Delete old bars for good."""
    from klinehub.app.store import prune as work

    work(given)


@store.command()
@click.option("--rows", is_flag=True, help="Copy what is new into the table; without it, print its SQL.")
@click.option("--exchange", metavar="NAME", help="Which market; binance-usdm, or binance-spot.")
@options.common_options
def sql(**given: object) -> None:
    """Keep a store on PostgreSQL as plain rows too, for SQL and Grafana."""
    from klinehub.app.store_sql import sql as work

    work(given)


@cli.group(invoke_without_command=True)
@click.option("--symbols", "count", type=click.IntRange(1, 5_000), help="How many symbols; 550.")
@click.option("--seed", type=int, default=1, show_default=True, help="The market's seed.")
@click.option(
    "--replay", metavar="PATH", help="Recorded klines (CSV, ZIP or Parquet, file or folder) as the market."
)
@click.option("--at", metavar="TIME", help="Where market time begins; now, or the recording's start.")
@click.option("--speed", type=SPEED, default=1.0, show_default=True, help="How fast market time runs.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=PORT, default=9000, show_default=True, help="REST port; 0 takes a free one.")
@click.option("--ws-port", type=PORT, help="WebSocket port; the one after the REST port.")
@click.option("--no-limits", is_flag=True, help="Lift the weight limit and the bans.")
@click.option("--spot", is_flag=True, help="A spot market of the same coins too, on the two next ports.")
@click.option("--coinm", is_flag=True, help="A market margined in coins too, two ports after those.")
@click.option(
    "--churn", type=click.IntRange(0), metavar="HOURS", help="One comes and one goes so often; 6, 0 for none."
)
@click.option("--with-parent", is_flag=True, hidden=True, help="End when stdin closes.")
@click.option("--json", "as_json", is_flag=True, help="Print the addresses as one JSON document.")
@click.pass_context
def sim(context: click.Context, /, **given: object) -> None:
    """Run the simulated exchange alone, for demos and for tests of your own programs."""
    if context.invoked_subcommand is None:
        from klinehub.app.market import sim as work

        wait(work(given))


@sim.command()
@click.option(
    "--seeds", metavar="A..B", default="1..50", show_default=True, help="Which seeds, both included."
)
@click.option("--seed", type=click.IntRange(0), help="Just this seed.")
@click.option("--trace", is_flag=True, help="Print all that happens in the one seed; shrink it if it fails.")
@click.option("--twice", is_flag=True, help="Run each seed twice and compare the traces.")
@click.option(
    "--jobs", type=click.IntRange(1, 256), default=2, show_default=True, help="Processes at a time."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document on stdout.")
def soak(seeds: str, **given: Any) -> None:  # noqa: ANN401 - options as click read them
    """Put the hub through seeded faults and hold what it serves against the truth; 1 says it failed."""
    from klinehub.app.soak import run as work

    code = work(seeds=seeds, **given)
    if code:
        sys.exit(code)


@cli.command()
@click.argument("names", nargs=-1)
@click.option(
    "--n", type=click.IntRange(1, 10_000_000), metavar="N", help="How often to kill, to flip a bit, to cut."
)
@click.option("--list", "show_list", is_flag=True, help="List the benchmarks.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document on stdout.")
def bench(names: tuple[str, ...], *, n: int | None, show_list: bool, as_json: bool) -> None:
    """Measure klinehub on this machine; NAMES are some of the benchmarks, by default all."""
    from klinehub.app.measure import bench as work

    work(names, n=n, show_list=show_list, as_json=as_json)


def main() -> NoReturn:
    """Run the command line and end with a code that scripts can trust."""
    sys.exit(_code())


def _code() -> int:
    """Run the command and tell how it ended as an exit code."""
    code, before = 0, signal.signal(signal.SIGTERM, _stop)
    try:
        cli.main(standalone_mode=False)
    except (click.exceptions.Abort, KeyboardInterrupt):
        code = INTERRUPTED
    except click.ClickException as exc:
        click.echo(f"error: {exc.format_message()}", err=True)
        code = USAGE
    except Stopped:
        code = TERMINATED
    except KlinehubError as exc:
        from klinehub.app.show import zoned

        click.echo(f"error: {zoned(str(exc))}", err=True)
        code = exit_code(exc)
    finally:
        signal.signal(signal.SIGTERM, before)
    return code


def _stop(*_: object) -> NoReturn:
    """End a command that has not yet begun its work."""
    raise Stopped("stopped")


if __name__ == "__main__":
    main()
