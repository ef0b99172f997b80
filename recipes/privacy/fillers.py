"""Values for the slots of the templates: names and addresses of several countries from Faker and lists of ours."""

import random
from collections.abc import Callable
from functools import cache

from faker import Faker
from turnwise.privacy.tagger_features import COMPOUND_SURNAMES, SURNAMES

ENGLISH_LOCALES = (
    "en_US", "en_GB", "en_IN", "en_US", "en_GB", "es_ES", "de_DE", "fr_FR", "it_IT", "nl_NL", "sv_SE", "tr_TR", "pt_BR",
    "en_KE", "id_ID", "pl_PL", "en_NG",
)  # fmt: skip
# Given names and surnames of regions that the locales of Faker lack or hardly have.
MORE_FIRST = (
    "Wei Xin Ling Mei Jun Hao Yan Hui Jing Lin Ming Li Na Fang Xiao Yu Chen Ying Zhen Bo Kai Ahmed Mohammed Omar Ali "
    "Hassan Hussein Khalid Ibrahim Mustafa Yusuf Tariq Bilal Amir Samir Karim Layla Aisha Fatima Zainab Maryam Noor "
    "Salma Huda Amina Khadija Yasmin Rania Nadia Dina Leila Samira Hiroshi Kenji Takeshi Yuki Haruto Sakura Aiko Naoko "
    "Emi Yoko Akira Daisuke Minjun Jiho Seojun Jiwoo Soyeon Hyun Eun Sung Jin Minh Thanh Linh Huong Tuan Nga Duc Olga "
    "Dmitri Sergei Natasha Svetlana Igor Yelena Tatiana Boris Vladimir Anastasia Ivan Pavel Mikhail Oksana Andriy Chidi "
    "Ngozi Emeka Adaeze Chinedu Ifeoma Kofi Ama Kwabena Abena Thabo Lerato Sipho Nomsa Themba Zinhle Tunde Funmi Bola "
    "Femi Yemi Aoife Niamh Ciaran Eoin Saoirse Declan Maeve Orla Cormac Sean Liam Conor Rhys Gareth Sian Angharad Iain "
    "Hamish Fiona Ewan Isla Callum Priya Rahul Anjali Arjun Deepak Kavya Rohan Sneha Vikram Pooja Ananya Lakshmi Kiran "
    "Sunita Harpreet Gurpreet Manpreet Ravi Suresh Ramesh Ganesh Meena Divya Nikhil Aditya Ishaan Zoltan Istvan Eszter "
    "Katalin Jelena Marko Nikola Milica Ana Luka Ivana Petra Tomas Jana Lukas Katarina Zuzana Ondrej Dimitris Eleni "
    "Giorgos Katerina Nikos Yiannis Moshe Avi Noa Tamar Yael Eitan Shira Pekka Mikko Aino Sanna Timo Henrik Astrid "
    "Bjorn Freja Soren Mads Kasper Signe Beth Sue Joe Dan Tim Tom Ben Sam Max Kate Liz Meg Nick Rob Ted Bob Jim Jen Matt "
    "Chris Mike Dave Pete Andy Tony Steve Greg Jeff Ron Ken Don Ray Jo Al Ed Vic Sal Gus Lou Kim Pat Terry Billie Frankie "
    "Will Mark Grace Rose May June April Bill Frank Jack Hope Faith Joy Lily Daisy Ruby Amber Dawn Summer Autumn Art "
    "Drew Chase Grant Dean Earl Duke Rich Rob Sandy Sunny Violet Ivy Iris Heather Holly Olive Ginger Robin Jay"
).split()
MORE_LAST = (
    "Wang Li Zhang Liu Chen Yang Zhao Huang Zhou Wu Xu Sun Hu Zhu Gao Lin He Guo Ma Luo Tan Lim Ng Ong Goh Wong Chan Lee "
    "Cheung Lau Leung Kwok Tang Nguyen Tran Le Pham Hoang Phan Vu Dang Bui Kim Park Choi Jung Kang Cho Yoon Jang Sato "
    "Suzuki Takahashi Watanabe Ito Yamamoto Nakamura Kobayashi Kato Yoshida Yamada Khan Ahmed Hussain Malik Sheikh "
    "Chaudhry Siddiqui Qureshi Rahman Haddad Khoury Nasser Saleh Farouk Mansour Aziz Hamdan Okafor Okeke Eze Nwosu Obi "
    "Adeyemi Adebayo Balogun Ogunleye Bello Ibrahim Abubakar Mensah Owusu Boateng Asante Appiah Dlamini Nkosi Zulu "
    "Khumalo Ndlovu Mokoena Naidoo Ivanov Petrov Smirnov Sokolov Popov Volkov Kuznetsov Shevchenko Kovalenko Bondarenko "
    "Nowak Kowalski Wisniewski Zielinski Lewandowski Kaminski Novak Svoboda Dvorak Horvat Kovac Jovanovic Petrovic Nagy "
    "Szabo Toth Kovacs Papadopoulos Georgiou Nikolaidis Cohen Levi Mizrahi Friedman Virtanen Korhonen Nieminen Hansen "
    "Jensen Nielsen Larsen Andersen Olsen Johansen O'Brien O'Connor O'Neill O'Sullivan Murphy Kelly Walsh Byrne Ryan "
    "McCarthy McDonald MacLeod McKenzie Campbell Stewart Fraser Sharma Verma Gupta Singh Kumar Patel Shah Reddy Rao Iyer "
    "Nair Menon Pillai Das Bose Banerjee Mukherjee Chatterjee Ghosh Sen Kapoor Mehta Desai Joshi Kulkarni Patil Silva "
    "Santos Oliveira Pereira Costa Ferreira Almeida Garcia Rodriguez Martinez Hernandez Lopez Gonzalez Perez Sanchez "
    "Ramirez Torres Flores Rivera Rossi Russo Ferrari Esposito Romano Ricci Marino Greco Conti Müller Schmidt Schneider "
    "Fischer Weber Meyer Wagner Becker Schulz Hoffmann Dubois Moreau Laurent Lefebvre Fontaine Bakker Jansen Visser "
    "Smit Yilmaz Kaya Demir Celik Sahin Baker Cook Carpenter Young King Bishop Long Brown Green White Stone Wood Hill "
    "Field Brook Marsh Moore Banks Rivers Woods Parks Mills Bell Cross Day Knight Love Price Power Reed Sharp Short Small"
).split()
GIVEN_CHARACTERS = (
    "伟芳娜秀英敏静丽强磊军洋勇艳杰娟涛明超兰霞平刚桂文华建国红志玉春梅雪琳晨宇轩浩然子涵欣怡梓思雨婷佳琪嘉豪俊雅诗涵睿博一诺"
    "泽若曦紫萱艺馨美玲慧颖倩莉萍燕云飞鹏辉斌凯旭东海峰林森淼鑫金银凤龙宁安康健永福寿德仁义礼信忠孝贤良庆祥瑞晓小婉清婧瑶珊"
    "珍珠琴瑟诗画书翰墨远航帆景天成立新学友振兴树根长青松柏杨柳荷莲菊竹芝芬芸蓉薇蕾苗田禾秋冬夏露霜冰洁玥玮琨璐瑾瑜璇昊昕昱"
    "晟晖景曜启铭锐锋钧铁柱宝贵财旺发达富家豪宏伟奇少卿乐悦喜欢心怀恩爱敬尧舜禹汤圣贤哲彦士杰邦彬毅恒坤乾元亨利贞光耀祖宗继业"
    "承志存忆念慈向南北西东方正直奕弈楠桐桦彤霏霖灵巧妙丹青蓝绿彩虹星辰月阳曼琦芮茜菲莎莹莺翠虎兔牛羊根生水火土石山川江河湖"
)
NICK_CHARACTERS = "明红丽强军芳美兰华伟东杰亮龙雪雨玲燕娟敏静霞英飞斌勇磊豆苗果宝贝乐心星朵甜萌团圆琪瑶涵萱晨阳康安"
TITLES_ZH = (
    "先生 女士 小姐 经理 总 老师 医生 师傅 阿姨 叔叔 大爷 大妈 律师 教授 主任 院长 校长 老板 大夫 护士 警官 同学 工 姐 哥 总监 秘书 "
    "主管 科长 处长 局长 书记 店长 教练 奶奶 爷爷 嫂子 助理 法官 博士"
).split()
PROVINCES = (
    "北京市 上海市 天津市 重庆市 广东省广州市 广东省深圳市 广东省东莞市 广东省佛山市 浙江省杭州市 浙江省宁波市 浙江省温州市 江苏省南京市 "
    "江苏省苏州市 江苏省无锡市 山东省济南市 山东省青岛市 四川省成都市 四川省绵阳市 湖北省武汉市 湖北省宜昌市 湖南省长沙市 湖南省株洲市 "
    "河南省郑州市 河南省洛阳市 河北省石家庄市 河北省唐山市 陕西省西安市 陕西省宝鸡市 福建省福州市 福建省厦门市 福建省泉州市 安徽省合肥市 "
    "安徽省芜湖市 江西省南昌市 江西省赣州市 辽宁省沈阳市 辽宁省大连市 吉林省长春市 黑龙江省哈尔滨市 黑龙江省大庆市 云南省昆明市 云南省大理市 "
    "贵州省贵阳市 贵州省遵义市 广西南宁市 广西桂林市 海南省海口市 海南省三亚市 山西省太原市 山西省大同市 内蒙古呼和浩特市 甘肃省兰州市 "
    "宁夏银川市 青海省西宁市 新疆乌鲁木齐市 西藏拉萨市 台湾台北市 台湾高雄市 香港九龙 香港湾仔 澳门"
).split()
DISTRICTS = (
    "朝阳区 海淀区 西城区 东城区 丰台区 浦东新区 徐汇区 静安区 黄浦区 闵行区 天河区 越秀区 白云区 南山区 福田区 宝安区 龙岗区 西湖区 余杭区 滨江区 "
    "江干区 鼓楼区 玄武区 江宁区 姑苏区 吴中区 工业园区 高新区 锦江区 武侯区 青羊区 金牛区 洪山区 江汉区 武昌区 岳麓区 雨花区 芙蓉区 金水区 "
    "二七区 长安区 雁塔区 碑林区 未央区 思明区 湖里区 和平区 沈河区 铁西区 南岗区 道里区 渝中区 江北区 渝北区 沙坪坝区 市南区 市北区 历下区 "
    "包河区 蜀山区 五华区 官渡区 云岩区 青秀区 美兰区 城关区 新市区 南开区 河西区 滨海新区 大安区 信义区 中山区 新华区 桥西区 路北区 开发区"
).split()
ROAD_WORDS = (
    "人民 解放 中山 建设 和平 新华 文化 长江 黄河 北京 南京 上海 天府 科技 创业 学府 师范 体育 滨河 滨江 环城 迎宾 幸福 光明 胜利 青年 友谊 民主 团结 "
    "延安 淮海 衡山 复兴 朝阳 东风 前进 红旗 工业 农业 商业 西湖 花园 桃园 梅园 竹园 松林 柳林 杨柳 桂花 荷花 牡丹 芙蓉 玫瑰 紫荆 凤凰 白鹤 金鸡 龙腾 "
    "虎丘 石桥 板桥 双桥 大桥 河东 河西 江南 江北 湖滨 海滨 沿江 沿河 东湖 南湖 北湖 清河 永安 永宁 安定 太平 福安 福兴 万寿 长寿 长乐 广场 火炬 星湖 "
    "云台 泰山 华山 黄山 庐山 峨眉 昆仑 天山 文一 文二 学院 大学 高新 软件园 创新 望京 建国 复兴门 体育西 中关村 五一 八一 劳动 韶山 岳麓 香港 台湾 福州"
).split()
COMPOUND_WORDS = (
    "阳光 翠湖 锦绣 碧桂 万科 恒大 绿地 保利 金地 龙湖 金色 幸福 和谐 世纪 东方 国际 丽景 御景 星河 华府 盛世 香榭 名仕 水岸 橡树 枫林 紫金 学府 书香 玫瑰 "
    "桃源 江畔 滨江 海景 云顶 天成 中央 银河 鑫源 宏远 富力 雅居 嘉禾 华润 远洋 首开 新城 康桥 怡和 永泰"
).split()
COMPOUND_ENDS = "小区 花园 家园 苑 新村 公寓 大厦 广场 国际中心 写字楼 名苑 府 城 湾 学生宿舍 科技园 创意园 产业园 商务楼".split()
STREET_WORDS = (
    "Oak Maple Elm Cedar Pine Birch Willow Chestnut Walnut Ash Holly Hazel Rose Lavender Meadow Park Church Station "
    "Victoria King's Queen's Mill Bridge River Lake Hill High Main North South East West London York Windsor Albert "
    "George Prince Chapel School Orchard Garden Spring Forest Highland Sunset Valley Ridge Fairview Washington Lincoln "
    "Jefferson Franklin Madison Jackson Harrison Adams Lakeview Riverside Woodland Hunter's Quail Fox Deer Eagle Robin "
    "Mission Ocean Bay Harbour Castle Abbey Priory Bishop Manor Grange Farm Market Mercer Wellington Nelson Trafalgar "
    "Cathedral Tower Cross Brook Glen Heath Moor Field Green Cherry Apple Peach Magnolia Juniper Poplar Sycamore"
).split()
STREET_TYPES = (
    "Street Road Avenue Lane Drive Close Court Crescent Place Way Terrace Square Grove Gardens Hill Row View Walk Parade "
    "St Rd Ave Ln Dr Ct St. Rd. Ave. Blvd Boulevard Circle Trail Parkway Highway Mews Rise Gate Wharf Loop"
).split()
SLOTS_PLAIN: dict[str, str] = {
    "PRODUCT": "iPhone 15|Galaxy S24|MacBook Air|ThinkPad X1|PlayStation 5|Xbox|Kindle|washing machine|kettle|toaster|"
    "blue jacket|router|headphones|Dyson V11|Bosch drill|Canon camera|Nikon Z6|sofa|coffee machine|Nespresso|Lego set|"
    "Surface Pro|AirPods|Roomba|vacuum cleaner|winter boots|gift card|subscription|Pixel 8|smart watch|Fitbit|Switch|"
    "yoga mat|Victoria sponge|Golden Delicious apples|Earl Grey tea|Alfa Romeo|Ford Focus|Tesla Model 3|Mercedes C Class",
    "COMPANY": "Amazon|Tesco|Walmart|Northwind|Acme Corp|Apple|Google|Microsoft|Samsung|Vodafone|Barclays|Santander|HSBC|"
    "Ryanair|Lufthansa|Delta Airlines|Morgan Stanley|Goldman Sachs|Marks and Spencer|John Lewis|Wells Fargo|Ben & Jerry's|"
    "McDonald's|Wendy's|Johnson & Johnson|Ernst & Young|Harley Davidson|Ralph Lauren|Hugo Boss|Deutsche Bank|Ikea|Zara|"
    "Bright Smile Dental|Green Valley Foods|Fast Lane Couriers|Blue Harbour Hotels|Best Buy|Home Depot|Trader Joe's|Dell|"
    "Philips|Siemens|Virgin Media|Western Union|PayPal|Uber|Airbnb|Netflix|Spotify|DHL|FedEx|Royal Mail|Hermes",
    "CITY": "London|Paris|Berlin|New York|San Francisco|Los Angeles|Chicago|Boston|Austin|Houston|Dallas|Seattle|Sydney|"
    "Melbourne|Toronto|Montreal|Dublin|Leeds|Bristol|Manchester|Birmingham|Oxford|Cambridge|Edinburgh|Glasgow|Cardiff|"
    "Belfast|Madrid|Barcelona|Rome|Milan|Florence|Vienna|Munich|Hamburg|Cologne|Amsterdam|Brussels|Copenhagen|Oslo|"
    "Stockholm|Helsinki|Lisbon|Athens|Istanbul|Dubai|Mumbai|Delhi|Bangalore|Chennai|Singapore|Hong Kong|Tokyo|Osaka|"
    "Beijing|Shanghai|Nairobi|Lagos|Cairo|Sofia|Charlotte|Jackson|Madison|Lincoln|Orlando|Phoenix|Denver|Santiago|"
    "San Jose|St Louis|Salt Lake City|Buenos Aires|Rio de Janeiro|Cape Town|Johannesburg|Kuala Lumpur|Jakarta",
    "COUNTRY": "France|Germany|Spain|Italy|Canada|Australia|Ireland|India|China|Japan|Brazil|Mexico|Jordan|Chad|Georgia|"
    "Turkey|Kenya|Nigeria|Poland|Norway|Sweden|the Netherlands|the United States|the UK|South Africa|New Zealand",
    "COLOUR": "Black|White|Navy Blue|Red|Olive|Amber|Ruby Red|Forest Green|Rose Gold|Violet|Sand|Grey|Teal|Ivory|Hazel",
    "MONTH": "January|February|March|April|May|June|July|August|September|October|November|December",
    "DAY": "Monday|Tuesday|Wednesday|Thursday|Friday|Saturday|Sunday|Good Friday|Christmas|tomorrow|next week|today",
    "LANGUAGE": "French|Spanish|German|Italian|Thai|Mandarin|Polish|Turkish|Arabic|Hindi|English|Portuguese|Swedish",
    "TOPIC": "photosynthesis|gravity|the Roman Empire|Python lists|black holes|inflation|climate change|Pandas|jazz|Django|"
    "the Great Wall|quantum physics|baking bread|football|machine learning|the Cold War|vitamin C|chess|blockchain",
    "TITLE": "Mr|Mrs|Ms|Miss|Dr|Mr.|Mrs.|Ms.|Dr.|Prof.|Professor|Sir|Rev.|Doctor",
}  # fmt: skip
SLOTS_CHINESE: dict[str, str] = {
    "PRODUCT": "手机|电脑|洗衣机|冰箱|空调|电饭煲|耳机|鞋子|羽绒服|奶粉|沙发|床垫|路由器|手表|相机|平板|充电器|口红|面膜|iPhone 15|小米14|华为Mate60|"
    "会员|套餐|优惠券|礼品卡|保险|信用卡|机票|酒店|扫地机器人|电动车|自行车|婴儿车|书桌|高跟鞋|金项链|龙井茶|马克杯",
    "COMPANY": "华为|小米|京东|淘宝|阿里巴巴|腾讯|百度|美团|滴滴|顺丰|中通|建设银行|招商银行|工商银行|平安保险|中国移动|联想|格力|海尔|苏宁|国美|"
    "李宁|安踏|沃尔玛|肯德基|星巴克|字节跳动|网易|万科|海底捞|老干妈|王老吉|周黑鸭|张小泉|马应龙|周大福|永和豆浆|同仁堂|全聚德",
    "CITY": "北京|上海|广州|深圳|杭州|南京|成都|重庆|武汉|西安|苏州|天津|长沙|郑州|青岛|大连|厦门|昆明|哈尔滨|沈阳|济南|福州|合肥|南昌|贵阳|海口|兰州|"
    "石家庄|张家界|马鞍山|黄山|丽江|桂林|三亚|洛阳|开封|江门|金华|温州|安阳|常州|龙岩|高雄|台北|香港|澳门|东京|巴黎|伦敦|纽约|柏林",
    "COLOUR": "黑色|白色|红色|蓝色|金色|黄色|银灰|米白|墨绿|粉色|紫色",
    "MONTH": "一月|二月|三月|五月|六月|八月|十月|十一月|十二月",
    "DAY": "今天|明天|后天|周一|周二|周三|周五|周六|周日|下周|国庆|春节|元旦|五一",
    "LANGUAGE": "英语|日语|法语|德语|韩语|西班牙语|俄语|粤语",
    "TOPIC": "光合作用|万有引力|区块链|人工智能|唐诗|宋词|相对论|通货膨胀|黑洞|太极拳|京剧|机器学习|量子力学|二十四节气|长城|丝绸之路|马太效应",
}


@cache
def _fakers() -> dict[str, Faker]:
    fakers = {locale: Faker(locale) for locale in {*ENGLISH_LOCALES}}
    for index, faker in enumerate(fakers.values()):
        faker.seed_instance(index)
    return fakers


@cache
def latin_names() -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Given names and surnames of one word, from the locales of Faker and the lists above."""
    first, last = set(MORE_FIRST), set(MORE_LAST)
    for faker in _fakers().values():
        provider = next(entry for entry in faker.get_providers() if "person" in type(entry).__module__)
        for target, attribute in ((first, "first_names"), (last, "last_names")):
            target |= {name for name in getattr(provider, attribute, ()) if name.replace("'", "").isalpha()}
    return tuple(sorted(first)), tuple(sorted(last))


class Fillers:
    """Draws values of slots.

    Args:
        rng: source of random numbers.
    """

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self._first, self._last = latin_names()

    def fill(self, slot: str, *, is_chinese: bool) -> str:
        """A value of a slot. Raises `AttributeError` for an unknown slot."""
        options = (SLOTS_CHINESE if is_chinese else SLOTS_PLAIN).get(slot)
        if options is not None:
            return self.rng.choice(options.split("|"))
        suffix = "_zh" if is_chinese and hasattr(self, f"{slot.lower()}_zh") else ""
        value: Callable[[], str] = getattr(self, slot.lower() + suffix)
        return value()

    def first(self) -> str:
        """A given name; sometimes one that was made up, so that context counts."""
        roll = self.rng.random()
        if roll < 0.15:
            return self.rng.choice(MORE_FIRST)
        if roll < 0.25:
            return self._made_up()
        return self.rng.choice(self._first)

    def last(self) -> str:
        """A surname."""
        roll = self.rng.random()
        if roll < 0.06:
            return f"{self.rng.choice(self._last)}-{self.rng.choice(self._last)}"
        if roll < 0.16:
            return self._made_up() + self.rng.choice(("", "son", "ski", "ova", "ini", "berg", "well", "wick", "worth"))
        if roll < 0.20:
            particle = self.rng.choice(("de", "van", "van der", "de la", "von", "al-", "El-", "bin", "da", "Mc", "O'"))
            return f"{particle}{'' if particle[-1] in '-c' or particle == chr(79) + chr(39) else ' '}{self.rng.choice(self._last)}"
        return self.rng.choice(MORE_LAST if roll < 0.4 else self._last)

    def name(self) -> str:
        """A full name."""
        first, last = self.first(), self.last()
        roll = self.rng.random()
        if roll < 0.06:
            return f"{first[0]}. {last}"
        if roll < 0.10:
            return f"{first} {self.rng.choice('ABCDEFGHJKLMNPRSTW')}{self.rng.choice(('.', ''))} {last}"
        if roll < 0.15:
            return f"{first} {self.first()} {last}"
        if roll < 0.18:
            return f"{first}-{self.first()} {last}"
        if roll < 0.22:
            return f"{first} {last} {self.rng.choice(self._last)}"
        return f"{first} {last}"

    def person(self) -> str:
        """A given or a full name."""
        return self.first() if self.rng.random() < 0.5 else self.name()

    def _made_up(self) -> str:
        starts, vowels = "b c d f g h j k l m n p r s t v w z br ch dr fl gr kr sh st th tr zh".split(), "aeiou"
        syllables = "".join(self.rng.choice(starts) + self.rng.choice(vowels) for _ in range(self.rng.randint(1, 3)))
        return (syllables + self.rng.choice(("", "n", "r", "l", "s", "m", "th", "na", "ko"))).capitalize()

    def street(self) -> str:
        """House number and street."""
        number = self._house_number()
        street = f"{self.rng.choice(STREET_WORDS)} {self.rng.choice(STREET_TYPES)}"
        if self.rng.random() < 0.2:
            street = f"{self.rng.choice(STREET_WORDS)} {street}"
        if self.rng.random() < 0.15:
            street = f"{self.rng.choice('NSEW')}{self.rng.choice(('', '.'))} {self._ordinal()} {self.rng.choice(STREET_TYPES)}"
        roll = self.rng.random()
        if roll < 0.07:
            return f"number {number} {street}"
        if roll < 0.12:
            return f"{street} {number}"
        if roll < 0.15:
            return f"No. {number}, {street}"
        return f"{number} {street}"

    def address(self) -> str:
        """A postal address in the style of one of many countries."""
        roll, city = self.rng.random(), self._city()
        inner = self.rng.choice(
            ("Apt {n}", "Apt. {n}", "apt {n}b", "Flat {n}", "Unit {n}", "Suite {n}00", "#{n}", "Floor {n}", "Apartment {n}")
        ).format(n=self.rng.randint(1, 60))
        street, postcode = self.street(), self._postcode()
        if roll < 0.25:
            return self.street() if self.rng.random() < 0.5 else f"{street}, {city}"
        if roll < 0.45:  # North America, Australia
            state = self.rng.choice("AL AZ CA CO CT FL GA IL IN KY LA MA MD MI MN NC NJ NM NV NY OH OK OR PA TN TX UT VA WA ON BC QC NSW VIC QLD California Texas Ohio Florida".split())
            parts = [street, *([inner] if self.rng.random() < 0.35 else []), city, f"{state} {self.rng.randint(10000, 99999)}"]
            return self.rng.choice((", ", ", ", " ")).join(parts)
        if roll < 0.6:  # United Kingdom, Ireland
            parts = [*([inner] if self.rng.random() < 0.3 else []), street, f"{city} {postcode}"]
            return self.rng.choice((", ", ", ", "\n")).join(parts)
        if roll < 0.66:
            return f"{self.rng.choice(('PO Box', 'P.O. Box', 'p.o. box'))} {self.rng.randint(10, 9999)}, {city}{self.rng.choice(('', f' {self.rng.randint(1000, 99999)}'))}"
        if roll < 0.73:  # India, South-East Asia
            place = self.rng.choice("Nagar|Layout|Colony|Vihar|Enclave|Sector 12|Phase 2|4th Block|Gardens|Estate".split("|"))
            return f"{self.rng.choice(('No. ', 'House ', 'Plot ', 'Block ', '', 'Flat '))}{self._house_number()}, {self.rng.choice((self._ordinal() + ' Cross', 'MG Road', 'Road ' + str(self.rng.randint(1, 30)), 'Jalan ' + self.rng.choice(self._last)))}, {self.rng.choice(self._last)} {place}, {city} {self.rng.randint(100000, 999999)}"
        if roll < 0.90:
            return self._european(city)
        locale = self.rng.choice(ENGLISH_LOCALES)
        address: str = _fakers()[locale].address()
        return address if self.rng.random() < 0.5 else address.replace("\n", ", ")

    def _european(self, city: str) -> str:
        last, number, code = self.rng.choice(self._last), self._house_number(), self.rng.randint(1000, 99999)
        word = self.rng.choice(STREET_WORDS).replace("'", "")
        street = self.rng.choice((
            f"{last}straße {number}", f"{last}str. {number}", f"{word}weg {number}", f"Am {word}platz {number}", f"{last}gasse {number}",
            f"{number} rue de {last}", f"{number} Rue des {last}s", f"{number}, avenue {last}", f"Calle {last} {number}",
            f"Calle de {last} {number}, 2ºA", f"Via {last} {number}", f"Viale {last}, {number}", f"Piazza {last} {number}",
            f"{last}straat {number}", f"{last}gracht {number}", f"{last}gatan {number}", f"{last}gata {number}", f"{last} vej {number}",
            f"Rua {last}, {number}", f"Avenida {last} {number}", f"ul. {last} {number}", f"{last} Caddesi No: {number}",
        ))  # fmt: skip
        tail = self.rng.choice((f", {code} {city}", f", {code} {city}", f"\n{code} {city}", f" {city}", f", {city}", "", f", {code} {city}, {self.fill('COUNTRY', is_chinese=False)}"))
        return street + tail

    def _city(self) -> str:
        if self.rng.random() < 0.5:
            return self.fill("CITY", is_chinese=False)
        stem = self.rng.choice(STREET_WORDS).replace("'", "").lower()
        return (stem + self.rng.choice(("ton", "ville", "field", "ham", "bury", "ford", "port", "burg", "stadt", "wick", " Falls", " Springs"))).capitalize()

    def _postcode(self) -> str:
        letters = "ABDEFGHJLNPQRSTUWXYZ"
        area = self.rng.choice("B BS CB CF E EC EH G GL HG L LE LS M N NE NG NN NR OX PO RG S SE SN SW TR W WC YO".split())
        return f"{area}{self.rng.randint(1, 29)} {self.rng.randint(1, 9)}{self.rng.choice(letters)}{self.rng.choice(letters)}"

    def _house_number(self) -> str:
        number = self.rng.choice((self.rng.randint(1, 99), self.rng.randint(1, 400), self.rng.randint(100, 9999)))
        return f"{number}{self.rng.choice(('', '', '', '', '', 'a', 'B', '/2', '-3'))}"

    def _ordinal(self) -> str:
        number = self.rng.randint(1, 60)
        return f"{number}{ {1: 'st', 2: 'nd', 3: 'rd'}.get(number % 10 if number not in (11, 12, 13) else 0, 'th')}"

    def _surname_zh(self) -> str:
        common = "王李张刘陈杨赵黄周吴徐孙胡朱高林何郭马罗梁宋郑谢韩唐冯于董萧程曹袁邓许傅沈曾彭吕"
        if self.rng.random() < 0.04:
            return self.rng.choice(sorted(COMPOUND_SURNAMES))
        return self.rng.choice(common) if self.rng.random() < 0.5 else self.rng.choice(sorted(SURNAMES))

    def given(self) -> str:
        """A Chinese given name of one or two characters."""
        count = 1 if self.rng.random() < 0.25 else 2
        return "".join(self.rng.choice(GIVEN_CHARACTERS) for _ in range(count))

    def name_zh(self) -> str:
        """A Chinese full name."""
        return self._surname_zh() + self.given()

    def call(self) -> str:
        """A Chinese surname with a title: one span, because a surname alone is one character."""
        surname = self._surname_zh()
        if self.rng.random() < 0.2:
            return self.rng.choice("小老阿") + surname
        return surname + (self.rng.choice(TITLES_ZH[:10]) if self.rng.random() < 0.6 else self.rng.choice(TITLES_ZH))

    def nick(self) -> str:
        """A Chinese given name, or a pet name."""
        roll, character = self.rng.random(), self.rng.choice(NICK_CHARACTERS)
        if roll < 0.35:
            return self.rng.choice("小小小阿") + character
        if roll < 0.5:
            return character * 2
        if roll < 0.6:
            return self.first()
        return "".join(self.rng.choice(GIVEN_CHARACTERS) for _ in range(2)) if roll < 0.8 else self.call()

    def person_zh(self) -> str:
        """Any of the Chinese forms."""
        return self.rng.choice((self.name_zh, self.call, self.nick))()

    def latin(self) -> str:
        """A name in Latin letters within a Chinese text."""
        return self.first() if self.rng.random() < 0.7 else self.name()

    def street_zh(self) -> str:
        """A short Chinese address, without province and city."""
        roll, number = self.rng.random(), self.rng.randint(1, 999)
        road = self.rng.choice(ROAD_WORDS) + self.rng.choice(("", "", "东", "西", "南", "北", "中")) + self.rng.choice(("路", "路", "路", "街", "大道", "大街", "巷", "胡同"))
        if roll < 0.1:
            return f"{road}{self.rng.randint(1, 99)}弄{self.rng.randint(1, 60)}号"
        if roll < 0.5:
            return f"{road}{self.rng.choice(('', '', '', '甲', '第'))}{number}号{self._inner_zh() if self.rng.random() < 0.6 else ''}"
        if roll < 0.6:
            return f"{road}与{self.rng.choice(ROAD_WORDS)}路{self.rng.choice(('交叉口', '路口'))}"
        return self._compound_zh() + self._inner_zh()

    def address_zh(self) -> str:
        """A Chinese address."""
        roll = self.rng.random()
        if roll < 0.15:
            return self.street_zh()
        province = self.rng.choice(PROVINCES)
        if self.rng.random() < 0.35:
            province = province.split("省")[-1]
        if self.rng.random() < 0.3:
            province = province.replace("省", "").replace("市", "")
        district = self.rng.choice(DISTRICTS) if self.rng.random() < 0.85 else self.rng.choice(ROAD_WORDS) + self.rng.choice("县市")
        if roll < 0.25:
            return district + self.street_zh()
        gap = " " if self.rng.random() < 0.08 else ""
        town = self.rng.choice(ROAD_WORDS) + self.rng.choice(("街道", "镇", "乡")) if self.rng.random() < 0.15 else ""
        return f"{province}{gap}{district}{gap}{town}{self.street_zh()}"

    def _compound_zh(self) -> str:
        return self.rng.choice(COMPOUND_WORDS) + self.rng.choice(COMPOUND_ENDS)

    def _inner_zh(self) -> str:
        number, room = self.rng.randint(1, 30), self.rng.randint(101, 2808)
        base = self.rng.choice((
            f"{number}号楼{room}室", f"{number}栋{room}", f"{number}幢{self.rng.randint(1, 5)}单元{room}室", f"{number}号楼{self.rng.randint(1, 5)}单元{room}",
            f"{self.rng.choice('ABCD')}座{room}", f"{self.rng.choice('ABCD')}栋", f"{room}室", f"{number}楼", f"{number}层", f"{number}栋{self.rng.randint(1, 4)}单元{number}楼{room}号", "",
        ))  # fmt: skip
        return (self._compound_zh() if self.rng.random() < 0.25 else "") + base

    def number(self) -> str:
        """A small number."""
        return str(self.rng.choice((self.rng.randint(1, 20), self.rng.randint(1, 500))))

    def year(self) -> str:
        """A year."""
        return str(self.rng.randint(1960, 2026))

    def amount(self) -> str:
        """An amount of money."""
        return f"{self.rng.choice('$£€¥')}{self.rng.randint(1, 2000)}.{self.rng.randint(0, 99):02d}"

    def amount_zh(self) -> str:
        """An amount of money in yuan."""
        return f"{self.rng.randint(1, 20000)}{self.rng.choice(('元', '块', '万'))}"

    def date(self) -> str:
        """A date."""
        day, month = self.rng.randint(1, 28), self.fill("MONTH", is_chinese=False)
        return self.rng.choice((f"{day} {month} 2024", f"{month} {day}", f"{day}/{self.rng.randint(1, 12)}/2025", "2024-05-17"))

    def date_zh(self) -> str:
        """A date in Chinese."""
        return f"{self.rng.choice(('', '2024年', '2025年'))}{self.rng.randint(1, 12)}月{self.rng.randint(1, 28)}{self.rng.choice('日号')}"

    def time(self) -> str:
        """A time of day."""
        hour = self.rng.randint(1, 12)
        return self.rng.choice((f"{hour}:30", f"{hour} pm", f"{hour} am", f"{hour + 8}:15", "noon"))

    def time_zh(self) -> str:
        """A time of day in Chinese."""
        return f"{self.rng.choice(('上午', '下午', '晚上', ''))}{self.rng.randint(1, 12)}{self.rng.choice(('点', '点半', ':30'))}"

    def version(self) -> str:
        """A version number."""
        return f"{self.rng.randint(1, 20)}.{self.rng.randint(0, 20)}{self.rng.choice(('', f'.{self.rng.randint(0, 9)}'))}"

    def order(self) -> str:
        """An order number."""
        return self.rng.choice(("#{}", "{}", "A-{}", "ORD{}")).format(self.rng.randint(10000, 99999999))

    def phone(self) -> str:
        """A phone number, or the placeholder of a masked one."""
        digits = "".join(self.rng.choice("0123456789") for _ in range(9))
        return self.rng.choice((f"+44 7{digits}", f"({digits[:3]}) {digits[3:6]}-{digits[5:]}", f"1{digits}8", f"0{digits}", "[PHONE_1]"))

    def email(self) -> str:
        """An e-mail address, or the placeholder of a masked one."""
        address = f"{self.rng.choice(self._first).lower()}{self.rng.randint(1, 99)}@example.com"
        return self.rng.choice((address, address, "[EMAIL_1]"))

    def _digits(self, count: int) -> str:
        return "".join(self.rng.choice("0123456789") for _ in range(count))

    def code(self) -> str:
        """A model, flight or tracking number."""
        letters = "".join(self.rng.choice("ABCDEFGHJKLMNPRSTWXZ") for _ in range(self.rng.randint(1, 3)))
        return f"{letters}{self.rng.choice(('', '-', ' '))}{self._digits(self.rng.randint(2, 12))}"

    def id(self) -> str:
        """A number of a person."""
        return self.rng.choice((self._digits(18), self._digits(9), f"{self._digits(3)}-{self._digits(2)}-{self._digits(4)}", f"{self._digits(3)} {self._digits(3)} {self._digits(4)}", self._digits(6), "[ID_NUMBER_1]"))

    def card(self) -> str:
        """A number of a payment card."""
        return self.rng.choice((self._digits(16), self._digits(19), f"{self._digits(4)} {self._digits(4)} {self._digits(4)} {self._digits(4)}", "[CARD_1]"))

    def iban(self) -> str:
        """A bank account number."""
        return self.rng.choice((f"DE{self._digits(20)}", f"GB{self._digits(2)} ABCD {self._digits(4)} {self._digits(4)} {self._digits(4)} {self._digits(2)}", "[IBAN_1]"))

    def plate(self) -> str:
        """A licence plate."""
        return f"{self.rng.choice('ABCDEFGH')}{self.rng.choice('ABCDEFGH')}{self._digits(2)} {self.rng.choice('ABCDEFGH')}{self.rng.choice('KLMNP')}T"

    def plate_zh(self) -> str:
        """A Chinese licence plate."""
        letters = self.rng.choice(("", "D", "F"))
        return f"{self.rng.choice('京津沪渝冀豫云辽黑湘皖鲁苏浙赣鄂桂甘晋陕吉闽贵粤川琼')}{self.rng.choice('ABCDEFGH')}{self.rng.choice(('', '', '·'))}{letters}{self._digits(5)}"

    def secret(self) -> str:
        """A password or a key."""
        letters = "abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ0123456789"
        word = "".join(self.rng.choice(letters) for _ in range(self.rng.choice((8, 10, 24, 40))))
        return self.rng.choice((word, word, f"sk-{word}", f"{word[:5]}!{word[5:7]}", self._digits(8), "[SECRET_1]"))
