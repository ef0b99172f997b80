"""`turnwise review`: verdicts on answers, with single keys."""

from typing import Annotated

import typer

from turnwise.cli.shared_flags import Store

# Nothing else is imported at module level, so that `--help` is fast.


def review(
    reviewer: Annotated[
        str | None, typer.Option(metavar="NAME", help="Your name. Default: the name of your account on this machine.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="Maximum number of answers.")] = 200,
    agreement: Annotated[
        bool, typer.Option("--agreement", help="Only print how far the reviewers agree, and exit.")
    ] = False,
    store: Store = None,
) -> None:
    """Review answers: first those that people disagree about, then disliked, uncertain and off-topic ones.

    The keys: g good, b bad, c correct, s skip, q quit; 1 to 9 set the reasons. The page /review of `turnwise serve` has
    the same queue. At the end, the agreement of the reviewers is printed.

    **Examples**

    ```
    turnwise review
    turnwise review --reviewer ann --limit 50
    turnwise review --agreement
    ```
    """
    from turnwise.app.stores import open_required_store
    from turnwise.cli.review_session import ReviewSession, print_agreement

    with open_required_store(store) as conversations:
        if not agreement:
            ReviewSession(conversations, reviewer or _account_name()).run(limit)
        print_agreement(conversations.review_queue.agreement())


def _account_name() -> str:
    import getpass

    from turnwise.core.errors import InvalidParameter

    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError) as error:  # such as in a container with a user id of its own
        raise InvalidParameter(
            "reviewer", "Your account on this machine has no name. Name yourself with --reviewer."
        ) from error
