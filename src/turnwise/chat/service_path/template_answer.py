"""Step 5: a template of the intent, with the values of its slots. A missing value is asked for.

The text is sent word for word, and a passage that is much closer to the message is added. With `rewrites_templates`
the model puts it in the scenario's tone, with the template as its draft; a rewriting that changes, adds or loses a
number, name, date or price is dropped.
"""

from dataclasses import replace

from turnwise.chat.service_path.quotations import add_passage
from turnwise.chat.service_path.slot_values import slot_values
from turnwise.chat.service_path.text_evidence import is_negated, names, numbers
from turnwise.chat.service_path.turn import ServiceAnswer, ServiceTurn, StepResult
from turnwise.core.messages import Message
from turnwise.scenarios.answer_template import AnswerTemplate
from turnwise.scenarios.field_types import localize

NAME = "template_answer"
_REWRITE = {
    "en": "Rewrite this answer in your tone. Keep every fact, number and name:",
    "zh": "请用你的语气改写下面的回答，所有事实、数字和名称保持不变：",
}


async def decide(turn: ServiceTurn) -> StepResult:
    """Answer with a template if the intent is certain and has one."""
    if turn.kind != "template" or turn.intent is None:
        return StepResult("not_needed")
    by_language = turn.definition.templates.get(turn.intent)
    if not by_language:
        turn.kind = "knowledge"
        return StepResult("no_template", detail=turn.intent)
    templates = localize(by_language, turn.language, turn.default_language)
    values = slot_values(turn, tuple(dict.fromkeys(slot for template in templates for slot in template.slots)))
    complete = next((template for template in templates if set(template.slots) <= values.keys()), None)
    if complete is None:
        return _ask_for_slot(turn, templates, values)
    turn.state.clear_question()
    text = complete.render(values)
    outcome, answer = "verbatim", ServiceAnswer(f"template:{turn.intent}", text)
    if turn.rewrites_templates:
        outcome, answer = await _rewrite(turn, answer)
    if turn.finder is not None:
        candidates = await turn.finder.find(turn.customer_messages, 1)
        answer = add_passage(turn.message, answer, candidates, turn.thresholds.similarity)
    return StepResult(outcome, answer, turn.intent)


def _ask_for_slot(turn: ServiceTurn, templates: tuple[AnswerTemplate, ...], values: dict[str, str]) -> StepResult:
    """Ask for the first missing value. A question that was asked too often calls a person."""
    assert turn.intent is not None
    for template in templates:
        for name in template.slots:
            slot = turn.definition.slots.get(name)
            if name in values or slot is None or slot.ask is None:
                continue
            times_asked = turn.state.num_asked if turn.state.pending_slot == name else 0
            if times_asked > turn.definition.settings.limits.max_clarifications:
                continue
            turn.state.ask(turn.intent, name)
            question = localize(slot.ask, turn.language, turn.default_language)
            return StepResult("asked", ServiceAnswer("clarify", question), name)
    turn.kind = "hand_off"
    turn.failed.append(f"template:{turn.intent}")
    return StepResult("missing_value", detail=turn.intent)


async def _rewrite(turn: ServiceTurn, answer: ServiceAnswer) -> tuple[str, ServiceAnswer]:
    instruction = localize(_REWRITE, turn.language, "en")
    messages = (
        Message("system", turn.definition.system_prompt(turn.language)),
        Message("user", f"{instruction}\n\n{answer.text}"),
    )
    request = turn.model_request(messages)
    response = await turn.model.reply(replace(request, output=replace(request.output, prediction=answer.text)))
    text = response.text.strip()
    if response.finish_reason != "stop" or not is_faithful(text, answer.text):
        return "rewriting_dropped", replace(answer, usage=response.usage)
    return "rewritten", replace(answer, text=text, usage=response.usage)


def is_faithful(text: str, original: str) -> bool:
    """True if a rewriting has the same numbers and names, and is negated as the original is."""
    if not text or len(text) > 3 * len(original):
        return False
    return (
        numbers(text) == numbers(original)
        and names(text) <= names(original) | {word.casefold() for word in original.split()}
        and all(name in text.casefold() for name in names(original))
        and is_negated(text) == is_negated(original)
    )
