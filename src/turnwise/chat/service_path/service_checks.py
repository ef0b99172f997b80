"""Checks of requests that a scenario answers: what it cannot honour is refused."""

from dataclasses import replace

from turnwise.chat.request_checks import check_no_scenario
from turnwise.core.chat_request import ChatRequest
from turnwise.core.errors import InvalidParameter


def check_scenario_request(
    request: ChatRequest, scenario: str | None, *, has_scenarios: bool, has_knowledge: bool = False
) -> None:
    """Raise `InvalidParameter` for a field that the service path cannot honour.

    Args:
        request: the request.
        scenario: name of the scenario that answers; None: the documents of `knowledge`, or the model alone.
        has_scenarios: whether the server has scenarios.
        has_knowledge: whether the server has knowledge bases.
    """
    if not has_scenarios:
        service = request.service if not has_knowledge else replace(request.service, knowledge=())
        check_no_scenario(replace(request, service=service))
    if scenario is None and not request.service.knowledge:
        return
    answerer = "'knowledge'" if scenario is None else f"the scenario '{scenario}'"
    output = request.output
    for name, is_set in (
        ("n", output.n != 1),
        ("best_of", output.best_of != 1),
        ("response_format", output.format is not None),
        ("prediction", output.prediction is not None),
        ("tools", bool(request.tools.definitions)),
        ("continue_final_message", request.context.continue_final_message),
        ("answer_tokens", bool(request.context.answer_ids)),
        ("logprobs", bool(request.sampling.get("logprobs")) or bool(request.sampling.get("top_logprobs"))),
    ):
        if is_set:
            raise InvalidParameter(
                name, f"'{name}' cannot be combined with {answerer}, which decides how to answer.",
                code="unsupported_value",
            )  # fmt: skip
    if not request.messages or request.messages[-1].role != "user":
        raise InvalidParameter(
            "messages",
            f"{'Documents answer' if scenario is None else 'A scenario answers'} a message of the user: "
            "the last message must be one.",
        )
