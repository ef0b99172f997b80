"""Flags that commands of `turnwise monitor` share."""

from typing import Annotated

import typer

Db = Annotated[
    str | None, typer.Option(metavar="FILE", help="Store of the monitor. Default: monitor.db in TURNWISE_HOME.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON lines.")]
