"""Chinese names, addresses and numbers."""

import random

from latin_names import LatinNames
from number_fillers import digits
from word_lists import word_list

from turnwise.privacy.tagger_features import COMPOUND_SURNAMES, SURNAMES


class ChineseFillers:
    """Draws values for Chinese texts.

    Args:
        rng: source of random numbers.
        latin_names: some pet names are in Latin letters.
    """

    def __init__(self, rng: random.Random, latin_names: LatinNames) -> None:
        self.rng, self.latin_names = rng, latin_names

    def name(self) -> str:
        """A Chinese full name."""
        return self._surname() + self.given()

    def given(self) -> str:
        """A Chinese given name of one or two characters."""
        count = 1 if self.rng.random() < 0.25 else 2
        return "".join(self._word("given_name_characters") for _ in range(count))

    def call(self) -> str:
        """A Chinese surname with a title: one span, because a surname alone is one character."""
        surname = self._surname()
        if self.rng.random() < 0.2:
            return self.rng.choice("小老阿") + surname
        return surname + (
            self.rng.choice(word_list("chinese_titles")[:10])
            if self.rng.random() < 0.6
            else self._word("chinese_titles")
        )

    def nick(self) -> str:
        """A Chinese given name, or a pet name."""
        roll, character = self.rng.random(), self._word("nickname_characters")
        if roll < 0.35:
            return self.rng.choice("小小小阿") + character
        if roll < 0.5:
            return character * 2
        if roll < 0.6:
            return self.latin_names.first()
        return "".join(self._word("given_name_characters") for _ in range(2)) if roll < 0.8 else self.call()

    def person(self) -> str:
        """Any of the Chinese forms."""
        return self.rng.choice((self.name, self.call, self.nick))()

    def street(self) -> str:
        """A short Chinese address, without province and city."""
        roll, number = self.rng.random(), self.rng.randint(1, 999)
        road = (
            self._word("chinese_roads")
            + self.rng.choice(("", "", "东", "西", "南", "北", "中"))
            + self.rng.choice(("路", "路", "路", "街", "大道", "大街", "巷", "胡同"))
        )
        if roll < 0.1:
            return f"{road}{self.rng.randint(1, 99)}弄{self.rng.randint(1, 60)}号"
        if roll < 0.5:
            inner = self._inner() if self.rng.random() < 0.6 else ""
            return f"{road}{self.rng.choice(('', '', '', '甲', '第'))}{number}号{inner}"
        if roll < 0.6:
            return f"{road}与{self._word('chinese_roads')}路{self.rng.choice(('交叉口', '路口'))}"
        return self._compound() + self._inner()

    def address(self) -> str:
        """A Chinese address."""
        roll = self.rng.random()
        if roll < 0.15:
            return self.street()
        province = self._word("provinces")
        if self.rng.random() < 0.35:
            province = province.split("省")[-1]
        if self.rng.random() < 0.3:
            province = province.replace("省", "").replace("市", "")
        district = (
            self._word("districts")
            if self.rng.random() < 0.85
            else self._word("chinese_roads") + self.rng.choice("县市")
        )
        if roll < 0.25:
            return district + self.street()
        gap = " " if self.rng.random() < 0.08 else ""
        town = self._word("chinese_roads") + self.rng.choice(("街道", "镇", "乡")) if self.rng.random() < 0.15 else ""
        return f"{province}{gap}{district}{gap}{town}{self.street()}"

    def amount(self) -> str:
        """An amount of money in yuan."""
        return f"{self.rng.randint(1, 20000)}{self.rng.choice(('元', '块', '万'))}"

    def date(self) -> str:
        """A date in Chinese."""
        year, day = self.rng.choice(("", "2024年", "2025年")), self.rng.randint(1, 28)
        return f"{year}{self.rng.randint(1, 12)}月{day}{self.rng.choice('日号')}"

    def time(self) -> str:
        """A time of day in Chinese."""
        part, hour = self.rng.choice(("上午", "下午", "晚上", "")), self.rng.randint(1, 12)
        return f"{part}{hour}{self.rng.choice(('点', '点半', ':30'))}"

    def plate(self) -> str:
        """A Chinese licence plate."""
        letters = self.rng.choice(("", "D", "F"))
        province = self.rng.choice("京津沪渝冀豫云辽黑湘皖鲁苏浙赣鄂桂甘晋陕吉闽贵粤川琼")
        return f"{province}{self.rng.choice('ABCDEFGH')}{self.rng.choice(('', '', '·'))}{letters}{digits(self.rng, 5)}"

    def _surname(self) -> str:
        common = "王李张刘陈杨赵黄周吴徐孙胡朱高林何郭马罗梁宋郑谢韩唐冯于董萧程曹袁邓许傅沈曾彭吕"
        if self.rng.random() < 0.04:
            return self.rng.choice(sorted(COMPOUND_SURNAMES))
        return self.rng.choice(common) if self.rng.random() < 0.5 else self.rng.choice(sorted(SURNAMES))

    def _compound(self) -> str:
        return self._word("compounds") + self._word("compound_ends")

    def _inner(self) -> str:
        number, room, unit = self.rng.randint(1, 30), self.rng.randint(101, 2808), self.rng.randint(1, 5)
        block = self.rng.choice("ABCD")
        base = self.rng.choice((
            f"{number}号楼{room}室", f"{number}栋{room}", f"{number}幢{unit}单元{room}室",
            f"{number}号楼{unit}单元{room}",
            f"{block}座{room}", f"{block}栋", f"{room}室", f"{number}楼", f"{number}层",
            f"{number}栋{unit}单元{number}楼{room}号", "",
        ))  # fmt: skip
        return (self._compound() if self.rng.random() < 0.25 else "") + base

    def _word(self, name: str) -> str:
        return self.rng.choice(word_list(name))
