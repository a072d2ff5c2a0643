"""The commands of `evidence`: what screens were worth, weights that history would have had, calibration."""

import click

from klinehub.app import options


class _Judging(click.Group):
    """`evidence SCREEN` judges; the others are commands of their own."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Take what is no command's name as what is to be judged."""
        if args and args[0] not in {*self.commands, *ctx.help_option_names}:
            args = ["judge", *args]
        return super().parse_args(ctx, args or ["judge"])


@click.group(cls=_Judging)
def evidence() -> None:
    """What screens and factors were worth on history, and weights that history would have had.

    `klinehub evidence [SCREEN]...` is short for `klinehub evidence judge [SCREEN]...`.
    """


@evidence.command()
@click.argument("screens", nargs=-1, metavar="[SCREEN]...")
@click.option(
    "--html", type=click.Path(dir_okay=False), metavar="FILE", help="Write a report with plots, one page."
)
@options.history_options
@options.common_options
def judge(**given: object) -> None:
    """What screens were worth: a line for each horizon, a portfolio after costs, and a verdict.

    SCREEN is `score`, a preset, a screen of klinehub.toml, FILE.py[:NAME], or an expression such as rsi_1h;
    one that begins with a minus comes after --, as in `klinehub evidence -- -rsi`.
    """
    from klinehub.app.evidence import evidence as work

    work(given)


@evidence.command()
@click.option(
    "--write", type=click.Path(), metavar="FILE", help="Write the weights into these settings, klinehub.toml."
)
@options.history_options
@options.common_options
def fit(**given: object) -> None:
    """Propose weights of the default score: ridge on ranks, judged on bars that they had not seen."""
    from klinehub.app.fitting import fitted as work

    work(given)


@evidence.command()
@click.argument("screens", nargs=-1, metavar="[SCREEN]...")
@click.option(
    "--calibration", type=click.Path(), metavar="FILE", help="Where to; calibration.json beside the store."
)
@options.past_options
@options.common_options
def calibrate(**given: object) -> None:
    """Write down what came after hits, by their scores, for live hits to carry.

    Without a SCREEN that is the default score, and the screens of klinehub.toml.
    """
    from klinehub.app.calibrating import calibrate as work

    work(given)
