"""A small shop as a scenario, written into a folder of a test, and the parts that answer by it."""

from turnwise.chat.service_path.scenario_chat_service import ScenarioChatService
from turnwise.core.access import UNRESTRICTED, Principal
from turnwise.core.chat_request import ChatRequest, ServiceOptions
from turnwise.core.messages import Message
from turnwise.core.scheduling_options import SchedulingOptions
from turnwise.scenarios.scenario_library import ScenarioLibrary
from turnwise.testing import ScriptedChatService

FILES = {
    "scenario.yaml": """
schema_version: 1
title: {en: Lamp shop, zh: 灯具店}
description: {en: A shop for lamps., zh: 一家灯具店。}
languages: [en, zh]
default_language: en
instruction: {en: You answer customers of the lamp shop., zh: 你是灯具店的客服。}
sampling: {temperature: 0.25}
knowledge: [knowledge]
unmatched: hand_off
messages:
  hand_off: {en: A colleague takes over now., zh: 正在为您转接同事。}
  no_answer: {en: I do not know that., zh: 这个我不清楚。}
limits: {max_clarifications: 2}
""",
    "intents.yaml": """
order_status:
  title: {en: where an order is, zh: 订单到哪儿了}
  examples:
    en: [where is my parcel, has my order been sent, track my order, when will my parcel arrive, order status please,
         my parcel has not arrived yet]
    zh: [我的包裹到哪儿了, 订单发货了吗, 查询订单物流, 我的快递什么时候到, 包裹还没收到]
opening_hours:
  title: {en: "our opening hours, Sundays too", zh: 营业时间}
  examples:
    en: [when are you open, what are your opening hours, are you open on sunday, when does the shop close,
         is the shop open today]
    zh: [你们几点开门, 营业时间是什么时候, 周日营业吗, 店铺几点关门, 今天开门吗]
exchange_size:
  examples:
    en: [I want another size of shade, the shade is too small, exchange for a different size,
         the lampshade does not fit, can I swap the shade for another size]
    zh: [我想换一个尺码的灯罩, 灯罩太小了, 可以换大小吗, 灯罩不合适想换, 换个尺寸]
warranty:
  answer: knowledge
  examples:
    en: [how long is the guarantee, does the warranty cover a broken bulb, is there a warranty on lamps,
         guarantee conditions, what does the warranty include]
    zh: [保修多久, 灯泡坏了保修吗, 灯具有质保吗, 保修条件是什么, 质保包括什么]
talk_to_person:
  answer: hand_off
  examples:
    en: [I want to talk to a person, connect me with a human, give me a real agent, can I speak to someone,
         I need a human being]
    zh: [我要转人工, 请转人工客服, 我想和真人说话, 找个客服人员, 要人工服务]
small_talk:
  answer: generate
  examples:
    en: [tell me something nice, how are you today, good morning to you, thank you very much, you are funny]
    zh: [你好呀, 今天怎么样, 早上好, 非常感谢你, 你真有趣]
broken:
  answer: clarify
  question: {en: What exactly is broken?, zh: 具体是哪里坏了？}
  examples:
    en: [it does not work, something is broken, it is defective, the thing fails, nothing happens when I press it]
    zh: [用不了, 坏了, 出故障了, 不能用, 按了没反应]
""",
    "templates.yaml": """
order_status:
  en: ["Order {{ order_number }} is on its way."]
  zh: ["订单{{ order_number }}正在配送中。"]
opening_hours:
  en: ["We are open {{ opening_hours }}."]
  zh: ["营业时间是{{ opening_hours }}。"]
exchange_size:
  en: ["We send you a {{ size }} shade."]
  zh: ["我们给您寄一个{{ size }}灯罩。"]
""",
    "slots.yaml": """
order_number:
  pattern: '\\bLW-?[0-9]{6}\\b'
  ask: {en: What is your order number?, zh: 请问订单号是多少？}
size:
  choices:
    small: {en: [small, tiny], zh: [小号, 小的]}
    large: {en: [large, big], zh: [大号, 大的]}
  ask: {en: Which size do you need?, zh: 您要哪个尺码？}
""",
    "facts.yaml": """
opening_hours: {en: "9:00 to 18:00, Monday to Saturday", zh: 周一至周六9:00到18:00}
""",
    "safety.yaml": """
fire:
  phrases: {en: [lamp ... fire, smoke ... lamp], zh: [灯 ... 着火, 冒烟]}
  say: {en: "Pull the plug, leave the room and call 999.", zh: 请立即拔掉插头，离开房间并拨打119。}
  call_person: true
shock:
  phrases: {en: [electric shock], zh: [触电]}
  say: {en: Call 999 now., zh: 请立即拨打120。}
""",
    "refusals.yaml": """
discounts:
  phrases: {en: [discount*|rebate*], zh: [打折|优惠]}
  say: {en: I cannot give discounts., zh: 我不能提供折扣。}
hostile:
  phrases: {en: [you idiot, "ignore ... instructions"], zh: [蠢货, 忽略 ... 指令]}
  say: {en: I will answer questions about our lamps., zh: 我可以回答灯具方面的问题。}
""",
    "knowledge/en/warranty.md": """# Warranty

Every lamp has a warranty of 24 months from the day of purchase.

A broken bulb is not covered by the warranty, because bulbs wear out.

## Repairs

We repair lamps in our workshop in Harrow within 10 days.
""",
    "knowledge/zh/warranty.md": """# 保修

所有灯具自购买之日起保修24个月。

灯泡属于易耗品，不在保修范围内。
""",
}


def write_scenario(folder, **changes):
    """Write the shop into a folder. `changes` replace files, by their name without the ending; None leaves one out."""
    for path, content in FILES.items():
        content = changes.get(path.partition(".")[0], content)
        if content is not None:
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(content, encoding="utf-8")
    return folder


def open_shop(tmp_path, *, store=None, answers=("I am a model.",), changes=(), **settings):
    """The service of the shop, and the scripted model behind it."""
    write_scenario(tmp_path / "shop", **dict(changes))
    model = ScriptedChatService(answers, store=store)
    return ScenarioChatService(model, ScenarioLibrary([tmp_path]), **settings), model


def ask(*texts, conversation=None, tenant="", scenario="shop", **fields):
    """A request with messages of the customer and the assistant in turn; with `tenant`, of the key with this name."""
    messages = [Message("assistant" if index % 2 else "user", text) for index, text in enumerate(texts)]
    return ChatRequest(
        tuple(messages), conversation_id=conversation, scheduling=SchedulingOptions(tenant=tenant),
        service=ServiceOptions(scenario), principal=Principal(tenant, "user") if tenant else UNRESTRICTED, **fields,
    )  # fmt: skip
