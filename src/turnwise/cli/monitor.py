"""The commands of `turnwise monitor`."""

import typer

from turnwise.cli.monitor_results import alerts, dead_letters, resend, trends
from turnwise.cli.monitor_run import replay, run
from turnwise.cli.monitor_simulate import simulate

# Nothing else is imported at module level, so that `--help` is fast.

app = typer.Typer(
    help="Follow streams of texts: label sentiment and topics, count them, and raise alerts of surges.",
    no_args_is_help=True,
)
app.command()(simulate)
app.command()(run)
app.command()(replay)
app.command()(alerts)
app.command()(trends)
app.command("dead-letters")(dead_letters)
app.command()(resend)


@app.command()
def secret() -> None:
    """Print a new secret that signs webhooks.

    **Example**

    ```
    export TURNWISE_WEBHOOK_SECRET=$(turnwise monitor secret)
    ```
    """
    from turnwise.app.monitor.webhooks import create_secret

    typer.echo(create_secret())
