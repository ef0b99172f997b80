"""Tests whose expected decision cannot be taken: no intent, safety line or refusal leads to it."""

from collections.abc import Collection, Iterator

from turnwise.core.errors import did_you_mean
from turnwise.scenarios.definition import ScenarioDefinition
from turnwise.scenarios.dialogues import TestConversation
from turnwise.scenarios.finding import Finding, error


def check(scenario: ScenarioDefinition) -> Iterator[Finding]:
    """Report tests that expect unknown names, or another decision than the phrases of safety lines and refusals."""
    answers = {intent.answer for intent in scenario.intents.values()} | {scenario.settings.unmatched}
    for test in scenario.tests:
        for decision in test.decisions:
            if (problem := _problem(scenario, decision, answers)) is not None:
                yield error(scenario.test_files[test.id], test.id, problem)
        yield from _check_phrases(scenario, test)


def _problem(scenario: ScenarioDefinition, decision: str, answers: Collection[str]) -> str | None:
    kind, _, name = decision.partition(":")
    if kind == "template":
        if name not in scenario.intents:
            hint = did_you_mean(name, scenario.intents) if scenario.intents else "there are none."
            return f"no intent is called '{name}'; {hint}"
        if (answer := scenario.intents[name].answer) != "template":
            return f"the intent '{name}' is answered by '{answer}', not by a template."
    elif kind == "safety" and name not in scenario.safety:
        return f"safety.yaml has no '{name}'."
    elif kind == "refusal" and ((name and name not in scenario.refusals) or not scenario.refusals):
        return f"refusals.yaml has no '{name}'." if name else "refusals.yaml declines nothing."
    elif kind in ("knowledge", "generate") and kind not in answers:
        return f"no intent is answered by '{kind}', and 'unmatched' in scenario.yaml is another answer."
    elif kind == "hand_off" and kind not in answers and not scenario.settings.messages.hand_off:
        return "no person can take over: 'messages.hand_off' in scenario.yaml is missing."
    elif kind == "clarify" and kind not in answers and not any(slot.ask for slot in scenario.slots.values()):
        return "no intent and no slot asks a question."
    return None


def _check_phrases(scenario: ScenarioDefinition, test: TestConversation) -> Iterator[Finding]:
    message = test.messages[-1]
    safety = scenario.match_safety(message)
    refusal = None if safety else scenario.match_refusal(message)
    decision = f"safety:{safety.name}" if safety else f"refusal:{refusal[0]}" if refusal else None
    file = scenario.test_files[test.id]
    if decision is not None and not test.accepts(decision):
        yield error(file, test.id, f"the phrases of '{decision}' match the message, and the test expects another one.")
    if decision is None and all(expected.startswith(("safety", "refusal")) for expected in test.decisions):
        yield error(file, test.id, f"no phrase matches the message, and the test expects '{test.decisions[0]}'.")
