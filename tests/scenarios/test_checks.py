"""Every check finds its planted fault, and nothing in a scenario without faults."""

import pytest

from turnwise.scenarios.checks import SCENARIO_CHECKS, run_checks
from turnwise.scenarios.loader import load_scenario

TEMPLATES = "order_status: {en: [a], zh: [b]}\nreturns: {en: [a], zh: [b]}\n"
FAULTS = {
    "unreachable_templates": [
        (
            {"templates": TEMPLATES + "order_staus: {en: [a], zh: [b]}"},
            "templates.yaml",
            "order_staus",
            "did you mean 'order_status'",
        ),
        ({"templates": TEMPLATES + "care: {en: [a], zh: [b]}"}, "templates.yaml", "care", "answered by 'knowledge'"),
    ],
    "missing_answers": [
        ({"templates": "order_status: {en: [a], zh: [b]}"}, "intents.yaml", "returns", "has none for it"),
        (
            {
                "intents": "a: {answer: clarify, examples: {en: [hm], zh: [嗯]}}",
                "scenario": (
                    "schema_version: 1\n"
                    "title: {en: A}\n"
                    "description: {en: A}\n"
                    "languages: [en]\n"
                    "default_language: en\n"
                    "instruction: {en: A}\n"
                ),
            },
            "intents.yaml",
            "a",
            "neither 'question'",
        ),
    ],
    "unfilled_slots": [
        (
            {"templates": "order_status: {en: ['{{ order_numbr }}'], zh: [b]}\nreturns: {en: [a], zh: [b]}"},
            "templates.yaml",
            "order_status.en.1",
            "did you mean 'order_number'",
        ),
        ({"slots": "order_number: {fact: ordernumber}"}, "slots.yaml", "order_number", "facts.yaml has no"),
        ({"slots": "price: {ask: {en: a, zh: b}}"}, "slots.yaml", "price", "a fact has this name too"),
    ],
    "unused_slots": [
        (
            {"slots": "order_number: {pattern: a}\nsize: {ask: {en: Which?, zh: 哪个？}}"},
            "slots.yaml",
            "size",
            "no template",
        ),
    ],
    "unused_facts": [
        (
            {
                "facts": (
                    "shop_name: {en: Lampino, zh: 灯诺}\nreturn_days: {en: 30 days, zh: 30天}\nprice: £20\nphone: '12'"
                ),
            },
            "facts.yaml",
            "phone",
            "uses this fact",
        ),
    ],
    "missing_translations": [
        (
            {"templates": "order_status: {en: [a]}\nreturns: {en: [a], zh: [b]}"},
            "templates.yaml",
            "order_status",
            "'zh'",
        ),
        ({"safety": "a: {phrases: {en: [b]}, say: {en: c, zh: d}}"}, "safety.yaml", "a.phrases", "no text in 'zh'"),
        (
            {"slots": "order_number: {pattern: a, ask: {en: Which?, fr: Quel?, zh: 哪个？}}"},
            "slots.yaml",
            "order_number.ask",
            "'fr' is not in 'languages'",
        ),
        ({"knowledge/zh/care.md": None}, "scenario.yaml", "knowledge", "no folder of documents is called 'zh'"),
        (
            {"tests__basic": "- {id: a, language: en, messages: [hi], decision: clarify}"},
            "tests",
            "",
            "no test in 'zh'",
        ),
    ],
    "overlapping_intents": [
        (
            {
                "intents": (
                    "order_status: {examples: {en: [where is it], zh: [哪儿呢]}}\n"
                    "returns: {examples: {en: ['Where is it?'], "
                    "zh: [退]}}"
                ),
            },
            "intents.yaml",
            "returns.examples.en",
            "is an example of 'order_status' too",
        ),
        (
            {
                "intents": (
                    "order_status: {examples: {en: [a], zh: [请问我的订单现在到哪里了]}}\n"
                    "returns: {examples: {en: [b], "
                    "zh: [请问我的订单现在到哪里了呢]}}"
                ),
            },
            "intents.yaml",
            "returns.examples.zh",
            "is almost",
        ),
    ],
    "contradicted_facts": [
        (
            {"templates": "order_status: {en: [a], zh: [b]}\nreturns: {en: [Within 14 days.], zh: [b]}"},
            "templates.yaml",
            "returns.en.1",
            "'14 days'",
        ),
        (
            {"examples": "en: [[How much?, 'It costs £25.']]\nzh: [[多少钱？, 25英镑。]]"},
            "examples.yaml",
            "zh.1",
            "25英镑",
        ),
        (
            {"refusals": "a: {phrases: {en: [b], zh: [c]}, say: {en: 'It is £3.', zh: d}}"},
            "refusals.yaml",
            "a.say.en",
            "£3",
        ),
        ({"knowledge/zh/care.md": "顾客可以在60天内退货。"}, "knowledge/zh/care.md", "", "'60天'"),
        (
            {
                "tests__basic": (
                    "- {id: a, language: zh, messages: [hi], decision: knowledge, passing_answer: 退货期是三天。}"
                ),
            },
            "tests/basic.yaml",
            "a",
            "三天",
        ),
    ],
    "answered_refusals": [
        (
            {"examples": "en: [[Any discount?, 'Yes, take some.']]\nzh: [[有灯吗？, 有。]]"},
            "examples.yaml",
            "en.1",
            "about 'discounts'",
        ),
    ],
    "forbidden_promises": [
        (
            {
                "templates": (
                    "order_status: {en: [You get 20 percent off.], zh: [b]}\nreturns: {en: [a], zh: [给您打八折。]}"
                ),
            },
            "templates.yaml",
            "returns.zh.1",
            "which the refusal 'discounts' forbids",
        ),
    ],
    "missing_titles": [
        (
            {
                "intents": (
                    "order_status: {title: {en: a, zh: b}, examples: {en: [a], zh: [b]}}\n"
                    "returns: {examples: {en: [c], zh: [d]}}\n"
                    "unclear: {answer: clarify, examples: {en: [hm], zh: [嗯]}}"
                )
            },
            "intents.yaml",
            "returns.title",
            "has no title",
        ),
        (
            {
                "intents": (
                    "order_status: {title: {en: An  order, zh: a}, examples: {en: [a], zh: [b]}}\n"
                    "returns: {title: {en: an order, zh: b}, examples: {en: [c], zh: [d]}}"
                )
            },
            "intents.yaml",
            "returns.title.en",
            "is the title of 'order_status' too",
        ),
    ],
    "harmless_messages": [
        (
            {"safety": "a: {phrases: {en: [lamp], zh: [触电]}, say: {en: b, zh: c}}"},
            "safety.yaml",
            "a.phrases",
            "'lamp' matches 'where is my lamp'",
        ),
        (
            {"refusals": "a: {phrases: {en: [b], zh: [退货]}, say: {en: b, zh: c}}"},
            "refusals.yaml",
            "a.phrases",
            "我想退货",
        ),
        (
            {"safety": "a: {phrases: {en: [sell lamps], zh: [触电]}, say: {en: b, zh: c}}"},
            "safety.yaml",
            "a.phrases",
            "answered otherwise",
        ),
    ],
    "uncovered_tests": [
        (
            {"tests__basic": "- {id: a, language: en, messages: [hi], decision: 'template:order'}"},
            "tests/basic.yaml",
            "a",
            "no intent is called 'order'",
        ),
        (
            {"tests__basic": "- {id: a, language: en, messages: [hi], decision: 'template:care'}"},
            "tests/basic.yaml",
            "a",
            "not by a template",
        ),
        (
            {"tests__basic": "- {id: a, language: en, messages: [hi], decision: 'safety:fire'}"},
            "tests/basic.yaml",
            "a",
            "safety.yaml has no 'fire'",
        ),
        (
            {"tests__basic": "- {id: a, language: en, messages: [hi], decision: 'safety:shock'}"},
            "tests/basic.yaml",
            "a",
            "no phrase matches",
        ),
        (
            {"tests__basic": "- {id: a, language: en, messages: [any discount?], decision: knowledge}"},
            "tests/basic.yaml",
            "a",
            "the phrases of 'refusal:discounts' match",
        ),
    ],
    "untested_intents": [
        (
            {"tests__basic": "- {id: b, language: zh, messages: [怎么退货], decision: 'template:returns'}"},
            "intents.yaml",
            "order_status",
            "no test expects",
        ),
    ],
    "unknown_placeholders": [
        (
            {"templates": "order_status: {en: ['Order {order_number} is here'], zh: [b]}\nreturns: {en: [a], zh: [b]}"},
            "templates.yaml",
            "order_status.en.1",
            "{order_number}",
        ),
        (
            {"safety": "a: {phrases: {en: [b], zh: [c]}, say: {en: 'Call {{ phone }}', zh: c}}"},
            "safety.yaml",
            "a.say.en",
            "this text has no slots",
        ),
        ({"knowledge/en/care.md": "Dear [CUSTOMER NAME]"}, "knowledge/en/care.md", "", "[CUSTOMER NAME]"),
        ({"knowledge/zh/care.md": "联系【请填写电话】"}, "knowledge/zh/care.md", "", "【请填写电话】"),
    ],
}


def test_a_fault_is_planted_for_every_check():
    assert set(FAULTS) == set(SCENARIO_CHECKS.names())


def test_a_scenario_without_faults_has_no_findings(lamp_shop):
    assert run_checks(load_scenario(lamp_shop())) == []


@pytest.mark.parametrize(
    ("check", "files", "file", "key", "message"),
    [(check, *fault) for check, faults in FAULTS.items() for fault in faults],
)
def test_a_planted_fault_is_reported_at_its_place(lamp_shop, check, files, file, key, message):
    findings = run_checks(load_scenario(lamp_shop(**files)), [check])
    matching = [finding for finding in findings if (finding.file, finding.key) == (file, key)]
    assert any(message in finding.message for finding in matching), findings
    assert all(finding.check == check for finding in findings)


@pytest.mark.parametrize(
    "files",
    [
        {"intents": "a: {answer: knowledge, examples: {en: [a]}}\nb: {answer: knowledge, examples: {en: [c]}}"},
        {"intents": "a: {answer: generate, examples: {en: [a], zh: [b]}}"},
        {"intents": "a: {answer: generate, examples: {en: [a]}}\nb: {answer: clarify, examples: {en: [c]}}"},
    ],
)
def test_no_title_is_needed_where_no_question_offers_two_intents(lamp_shop, files):
    assert run_checks(load_scenario(lamp_shop(**files)), ["missing_titles"]) == []


def test_errors_come_before_warnings(lamp_shop):
    findings = run_checks(load_scenario(lamp_shop(templates="orders: {en: [a]}", slots="size: {pattern: a}")))
    severities = [finding.severity for finding in findings]
    assert severities == sorted(severities)
    assert set(severities) == {"error", "warning"}


def test_a_quantity_of_a_unit_that_no_fact_has_is_no_contradiction(lamp_shop):
    folder = lamp_shop(examples="en: [[Is it hot?, 'Up to 40 percent less heat in 2 hours.']]\nzh: [[烫吗？, 不烫。]]")
    assert run_checks(load_scenario(folder), ["contradicted_facts"]) == []


def test_a_sentence_about_a_fact_states_its_value_and_not_that_of_another_fact(lamp_shop):
    facts = """
        shop_name: {en: Lampino, zh: 灯诺}
        return_days: {value: {en: 30 days, zh: 30天}, terms: {en: [return*], zh: [退货]}}
        delivery: {en: 5 days, zh: 5天}
        """
    folder = lamp_shop(facts=facts, examples="en: [[Hm?, 'Delivery takes 5 days, and you can return it for 5 days.']]")
    (finding,) = run_checks(load_scenario(folder), ["contradicted_facts"])
    assert "'return_days' is 30 days" in finding.message
