"""Numbers of orders, customers, accounts and the like, and names of accounts, after a word that announces them."""

import re
from collections.abc import Iterator

from turnwise.core.personal_data import PersonalSpan
from turnwise.privacy.patterns import AFTER, LINK_EN, LINK_ZH, find_spans, has_digit

_SUBJECT = (
    r"(?:order|customer|client|account|acct|booking|reservation|confirmation|tracking|invoice|policy|ticket|"
    r"membership|member|case|claim|"
    r"contract|reference|ref|sort code|routing|student|employee|patient|loyalty|shipment|parcel|licen[cs]e|user)"
)
_CODE = r"(?=[A-Za-z0-9#\-]{0,100}\d)#?[A-Za-z0-9]{1,30}(?:[\-/.][A-Za-z0-9]{1,12}){0,5}"
_ENGLISH = re.compile(
    rf"\b{_SUBJECT}(?:\s+(?:reference|confirmation))?(?P<link>{LINK_EN})(?:and\s+)?(?P<value>(?:{_CODE}|"
    rf"\d[\d\-]{{4,24}})){AFTER}(?!:\d)",
    re.IGNORECASE,
)
_LETTERS = re.compile(
    rf"\b(?:booking reference|confirmation code|reservation code|record locator)\s*(?:is|"
    rf":)?\s*(?P<value>(?-i:[A-Z0-9]{{5,8}})){AFTER}",
    re.IGNORECASE,
)
_CHINESE = re.compile(
    rf"(?:订单|快递单|运单|物流单|单号|会员卡?|客户|用户|账号|账户|帐号|合同|保单|工单|案件|学号|工号|病历|"
    rf"就诊卡|预约|流水|交易|社保|公积金|编号|卡号)"
    rf"{LINK_ZH}#?(?P<value>[A-Za-z0-9][A-Za-z0-9_\-]{{3,31}}){AFTER}"
)
_MESSENGER = re.compile(
    rf"(?:QQ|qq|微信|vx|VX|WeChat|wechat|支付宝|抖音|"
    rf"微博)\s*{LINK_ZH}(?P<value>[A-Za-z0-9][A-Za-z0-9_\-]{{4,29}}){AFTER}"
)


def detect(text: str) -> Iterator[PersonalSpan]:
    """Spans of numbers and names of accounts."""
    for match in _ENGLISH.finditer(text):
        value = match["value"]
        digits = sum(character.isdigit() for character in value)
        # "order 66" is a quantity; a short number needs "number" or a sign before it.
        is_announced = bool(match["link"].strip()) or "#" in value
        is_long = len(value) >= 4 and digits >= 2 if is_announced else digits >= 5
        if is_long and not _is_date(value):
            yield PersonalSpan(*match.span("value"), "account")
    yield from find_spans(_LETTERS, text, "account")
    yield from find_spans(_CHINESE, text, "account", has_digit)
    yield from find_spans(_MESSENGER, text, "account", has_digit)


def _is_date(value: str) -> bool:
    return re.fullmatch(r"\d{1,4}[./\-]\d{1,2}[./\-]\d{1,4}|(?:19|20)\d{2}", value) is not None
