"""A small, complete scenario on the disk that tests change."""

import textwrap

import pytest

FILES = {
    "scenario.yaml": """
        schema_version: 1
        title: {en: Lamp shop, zh: 灯具店}
        description: {en: Answers customers., zh: 回答顾客。}
        languages: [en, zh]
        default_language: en
        instruction: {en: "You answer for {{ shop_name }}.", zh: "你是{{ shop_name }}的客服。"}
        sampling: {temperature: 0.3}
        knowledge: [knowledge]
        messages:
          clarify: {en: "What do you mean?", zh: "您的意思是？"}
          hand_off: {en: A colleague takes over., zh: 为您转接同事。}
          no_answer: {en: I do not know., zh: 我不清楚。}
        """,
    "intents.yaml": """
        order_status:
          title: {en: an order, zh: 订单}
          examples: {en: [where is my lamp, was my order sent], zh: [我的灯到哪儿了, 发货了吗]}
        returns: {title: {en: a return, zh: 退货}, examples: {en: [I want to send it back], zh: [我想退货]}}
        care: {title: {en: care, zh: 保养}, answer: knowledge, examples: {en: [how do I clean a lamp], zh: [灯怎么擦]}}
        person: {title: {en: a person, zh: 人工}, answer: hand_off, examples: {en: [a human please], zh: [转人工]}}
        """,
    "templates.yaml": """
        order_status: {en: "Order {{ order_number }} is on its way.", zh: "订单{{ order_number }}在路上。"}
        returns: {en: "You can return it within {{ return_days }}.", zh: "{{ return_days }}内可以退货。"}
        """,
    "slots.yaml": """
        order_number: {pattern: 'LA\\d{4}', uppercase: true, ask: {en: Which order?, zh: 哪个订单？}}
        """,
    "facts.yaml": """
        shop_name: {en: Lampino, zh: 灯诺}
        return_days: {value: {en: 30 days, zh: 30天}, terms: {en: [return*], zh: [退货]}}
        price: {en: £20, zh: 20英镑}
        """,
    "examples.yaml": """
        en: [[Do you sell lamps?, "Yes, from £20."]]
        zh: [[有灯吗？, 有，20英镑起。]]
        """,
    "safety.yaml": """
        shock:
          phrases: {en: [electric shock], zh: [触电]}
          say: {en: Call 112., zh: 请打 120。}
          call_person: true
        """,
    "refusals.yaml": """
        discounts:
          phrases: {en: [discount*], zh: [打折|优惠]}
          say: {en: No discounts., zh: 不打折。}
          forbids: {en: [you get ... off!], zh: [给您 ... 折]}
        """,
    "knowledge/en/care.md": "Wipe lamps with a dry cloth.",
    "knowledge/zh/care.md": "用干布擦。",
    "tests/basic.yaml": """
        - {id: a, language: en, messages: [Where is LA1234?], decision: "template:order_status", must_include: [LA1234]}
        - {id: b, language: zh, messages: [怎么退货], decision: "template:returns", must_include: [30天]}
        - {id: c, language: en, messages: [I got an electric shock], decision: "safety:shock", must_include: ["112"]}
        - {id: d, language: zh, messages: [能打折吗], decision: refusal, must_include: [不打折]}
        """,
}


@pytest.fixture
def lamp_shop(tmp_path):
    """Writes the scenario with changed files; None leaves a file out. Returns its folder."""

    def write(**changed_files):
        changes = {name.replace("__", "/") + (".yaml" if "." not in name else ""): text
                   for name, text in changed_files.items()}  # fmt: skip
        folder = tmp_path / "lamp_shop"
        for name, text in {**FILES, **changes}.items():
            path = folder / name
            if text is None:
                path.unlink(missing_ok=True)
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(textwrap.dedent(text), encoding="utf-8")
        return folder

    return write
