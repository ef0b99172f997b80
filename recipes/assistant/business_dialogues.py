"""Writes dialogues in which the facts of a company stand in the system message and customers ask about them.

Companies, prices, hours and rules are invented per dialogue. An answer is computed from the same values as the system
message, so it is always consistent with it.
"""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from turnwise.core.messages import Conversation, Message
from turnwise.data.typing_noise import add_typos

DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


@dataclass(frozen=True)
class Kind:
    """A kind of company. `items` are "singular/plural/usual price" with an optional "/capacity"."""

    noun: str
    desk: str  # what has opening hours
    names: str
    items: str
    missing: str  # what customers may expect and the company does not have
    tags: str
    duration: str = ""  # "process/minutes" or "process/days/what the customer does first"
    group: str = "person/people"  # what a capacity counts
    unit: str = ""  # what a price is for: night, month, day


KINDS = (
    Kind("bakery", "shop", "{} Bakery|The {} Oven|Bakehouse {}",
         "rye loaf/rye loaves/4|cheese tart/cheese tarts/3|apple cake/apple cakes/18|cinnamon roll/cinnamon rolls/2|"
         "seed baguette/seed baguettes/3", "gluten-free bread|wedding cakes|sandwiches", "delivery card food shop"),
    Kind("bicycle repair shop", "workshop", "{} Cycles|Wheelhouse {}|{} Bike Repairs",
         "brake service/brake services/30|new inner tube/new inner tubes/12|full inspection/full inspections/75|"
         "chain replacement/chain replacements/38", "e-bike batteries|rental bikes|child seats",
         "guarantee card shop decide", "repair/days/bring in my bike"),
    Kind("hotel", "reception", "Hotel {}|The {} Inn|{} House Hotel",
         "single room/single rooms/70/1|double room/double rooms/105/2|family room/family rooms/150/4",
         "a sauna|airport transfers|rooms with a kitchen", "stay cancel pets baby decide card", unit="night"),
    Kind("campsite", "reception", "{} Bay Campsite|Camping {}|{} Meadows Campsite",
         "small tent pitch/small tent pitches/16/2|large tent pitch/large tent pitches/27/5|"
         "wooden cabin/wooden cabins/64/4|caravan pitch/caravan pitches/34/6", "bicycle hire|a swimming pool|bed linen",
         "stay cancel pets deposit card", unit="night"),
    Kind("language school", "office", "{} Language School|Lingua {}|The {} Language Centre",
         "evening course/evening courses/190|intensive course/intensive courses/420|"
         "conversation class/conversation classes/85|exam course/exam courses/260",
         "Japanese courses|private lessons at home|translations", "notice app decide age lesson", "lesson/minutes"),
    Kind("gym", "gym", "{} Fitness|Gym {}|{} Strength Club",
         "basic membership/basic memberships/25|plus membership/plus memberships/39|"
         "student membership/student memberships/19|off-peak membership/off-peak memberships/22",
         "a sauna|childcare|boxing classes", "notice app decide age towel", unit="month"),
    Kind("internet provider", "hotline", "{} Net|{} Fibre|{}link Internet",
         "Home 50 tariff/Home 50 tariffs/25/3|Home 100 tariff/Home 100 tariffs/35/6|"
         "Home 250 tariff/Home 250 tariffs/48/10",
         "television packages|mobile contracts|satellite internet", "notice app decide remote",
         "new connection/days/sign up", "device/devices", "month"),
    Kind("dental practice", "practice", "{} Dental|Dr {}'s Dental Practice|{} Street Dental Care",
         "dental cleaning/dental cleanings/80|night guard/night guards/240|whitening session/whitening sessions/190",
         "braces|surgery under general anaesthetic|home visits", "cancel card decide baby", "check-up/minutes"),
    Kind("museum", "museum", "{} Museum|Museum {}|The {} Collection",
         "adult ticket/adult tickets/12|reduced ticket/reduced tickets/7|annual pass/annual passes/45|"
         "audio guide/audio guides/4", "a restaurant|guided tours in Italian|a cloakroom for suitcases",
         "pets young card baby photo", "guided tour/minutes"),
    Kind("cinema", "box office", "{} Cinema|Cinema {}|The {} Picture House",
         "standard seat/standard seats/11|balcony seat/balcony seats/14|child ticket/child tickets/7|"
         "large popcorn/large popcorns/6", "3D films|hot meals|private screenings", "cancel app card food"),
    Kind("florist", "shop", "{} Flowers|Florist {}|The {} Garden Shop",
         "small bouquet/small bouquets/18|large bouquet/large bouquets/36|orchid/orchids/24|"
         "door wreath/door wreaths/29", "artificial flowers|garden design|fruit trees", "delivery card shop"),
    Kind("taxi company", "hotline", "{} Taxi|Taxi {}|{} Cabs",
         "airport ride/airport rides/38|station ride/station rides/14|minibus ride/minibus rides/62",
         "rides with a trailer|motorcycle taxis|limousines", "cancel pets card lost"),
    Kind("laundry", "shop", "{} Laundry|Wash House {}|{} Cleaners",
         "shirt/shirts/3|suit/suits/16|duvet/duvets/22|winter coat/winter coats/19",
         "carpet cleaning|leather cleaning|shoe repairs", "delivery card shop decide",
         "cleaning/days/drop off my clothes"),
    Kind("pet hotel", "office", "{} Pet Hotel|Happy Paws {}|{} Animal Lodge",
         "cat room/cat rooms/18|small dog room/small dog rooms/24|large dog room/large dog rooms/31|"
         "rabbit hutch/rabbit hutches/11", "dog training|places for reptiles|grooming",
         "cancel deposit vaccine card decide", unit="night"),
    Kind("furniture shop", "showroom", "{} Furniture|{} Living|House of {}",
         "oak table/oak tables/480|armchair/armchairs/320|bookcase/bookcases/190|bedside lamp/bedside lamps/45",
         "mattresses|kitchens|garden furniture", "delivery returns guarantee card shop"),
    Kind("online shoe shop", "customer service", "{} Shoes|{} Footwear|Step by {}",
         "pair of trainers/pairs of trainers/85|pair of boots/pairs of boots/120|pair of sandals/pairs of sandals/48|"
         "tin of shoe polish/tins of shoe polish/9", "handbags|made-to-measure shoes|gift wrapping",
         "delivery returns guarantee app remote decide"),
    Kind("ferry company", "ticket office", "{} Ferries|{} Line|Ferry {}",
         "foot passenger ticket/foot passenger tickets/16|car ticket/car tickets/48|bicycle ticket/bicycle tickets/6|"
         "motorhome ticket/motorhome tickets/75", "cabins|rail tickets|night crossings",
         "cancel pets young card lost", "crossing/minutes"),
    Kind("pizza delivery service", "kitchen", "Pizza {}|{} Pizza|Pizzeria {}",
         "pizza margherita/pizzas margherita/9|pizza with mushrooms/pizzas with mushrooms/11|"
         "mixed salad/mixed salads/6|bottle of lemonade/bottles of lemonade/3",
         "pasta|gluten-free pizza|burgers", "delivery card food app"),
    Kind("car rental company", "counter", "{} Rent a Car|{} Cars|{} Car Hire",
         "compact car/compact cars/38/4|estate car/estate cars/55/5|minibus/minibuses/92/8|van/vans/70/3",
         "motorcycles|campervans|cars with a driver", "deposit cancel age fuel decide pets", unit="day"),
    Kind("tailor", "shop", "Tailor {}|{} Alterations|{} & Daughters Tailors",
         "trouser hem/trouser hems/14|zip replacement/zip replacements/19|jacket alteration/jacket alterations/45|"
         "dress fitting/dress fittings/60", "leather repairs|fabric sales|embroidery",
         "card shop decide guarantee", "alteration/days/bring my clothes"),
    Kind("swimming pool", "pool", "{} Pool|{} Baths|Aqua {}",
         "adult ticket/adult tickets/7|child ticket/child tickets/4|family ticket/family tickets/17|"
         "swimming course/swimming courses/95", "a sauna|a water slide|diving courses", "young card towel lost"),
    Kind("print shop", "shop", "{} Print|Print Studio {}|{} Copy Shop",
         "photo book/photo books/28|bound thesis/bound theses/24|large poster/large posters/17|"
         "set of business cards/sets of business cards/32", "T-shirt printing|3D printing|stickers",
         "delivery guarantee card shop decide", "print job/days/send my file"),
    Kind("hair salon", "salon", "Salon {}|{} Hair|Hair by {}",
         "short haircut/short haircuts/28|long haircut/long haircuts/46|child's haircut/children's haircuts/17|"
         "beard trim/beard trims/14", "manicures|wigs|make-up", "cancel card decide pets", "haircut/minutes"),
    Kind("garden centre", "shop", "{} Garden Centre|{} Plants|Green {}",
         "rose bush/rose bushes/16|bag of compost/bags of compost/8|clay pot/clay pots/11|apple tree/apple trees/39",
         "lawnmowers|cut flowers|garden sheds", "delivery returns card shop pets"),
    Kind("coworking space", "front desk", "{} Works|{} Desk Club|Studio {}",
         "day desk/day desks/22/1|small meeting room/small meeting rooms/65/4|"
         "large meeting room/large meeting rooms/120/12",
         "phone booths|night access|post boxes", "cancel app pets deposit decide", unit="day"),
    Kind("boat hire", "jetty", "{} Boats|{} Lake Boat Hire|Boathouse {}",
         "rowing boat/rowing boats/35/3|pedal boat/pedal boats/44/4|motor boat/motor boats/98/6|kayak/kayaks/28/1",
         "sailing boats|fishing gear|surfboards", "deposit cancel age pets card", unit="day"),
    Kind("bookshop", "shop", "{} Books|Bookshop {}|The {} Page",
         "gift box/gift boxes/15|wall calendar/wall calendars/13|puzzle/puzzles/19|notebook/notebooks/8",
         "second-hand books|e-readers|magazines", "delivery returns card shop", "book order/days/order a book"),
    Kind("driving school", "office", "{} Driving School|Drive with {}|{} Motoring",
         "driving lesson/driving lessons/52|theory package/theory packages/180|motorway lesson/motorway lessons/64",
         "motorcycle lessons|lorry lessons|lessons in an automatic car", "cancel age app decide",
         "driving lesson/minutes"),
    Kind("electricity supplier", "hotline", "{} Energy|{} Power|Bright {}",
         "Basic tariff/Basic tariffs/58|Green tariff/Green tariffs/66|Night tariff/Night tariffs/52",
         "gas|solar panels|wall boxes", "notice app decide remote", "switch/days/sign up", unit="month"),
    Kind("vet", "practice", "{} Vets|Vet {}|{} Animal Practice",
         "vaccination/vaccinations/48|microchip/microchips/35|nail trim/nail trims/16|dental check/dental checks/42",
         "treatment of horses|home visits|pet insurance", "cancel card decide", "check-up/minutes"),
    Kind("phone repair shop", "counter", "{} Phone Repair|Fix it {}|{} Mobile Service",
         "new screen/new screens/110|new battery/new batteries/55|data backup/data backups/30|"
         "screen protector/screen protectors/14", "laptop repairs|used phones|mobile contracts",
         "guarantee card shop decide", "repair/days/bring in my phone"),
    Kind("climbing hall", "hall", "{} Climbing|Boulder {}|{} Rock Hall",
         "day ticket/day tickets/14|evening ticket/evening tickets/10|pair of rental shoes/pairs of rental shoes/4|"
         "beginner course/beginner courses/49", "a sauna|outdoor tours|child care", "young card towel food lost"),
)  # fmt: skip

SYLLABLES = ("Al", "Bel", "Cor", "Dun", "El", "Fal", "Gar", "Hol", "Ing", "Jar", "Kel", "Lor", "Mar", "Nor", "Or",
             "Pel", "Quin", "Ros", "Sel", "Tar", "Ul", "Ver", "Wes", "Yar", "Zan", "Bran", "Clem", "Fenn", "Harl",
             "Thorn")  # fmt: skip
ENDINGS = ("a", "by", "den", "dale", "er", "field", "ford", "ham", "ina", "is", "ley", "low", "mere", "mont", "o",
    "ola",
           "ridge", "sen", "ton", "vale", "wick", "wood", "ett", "ano")  # fmt: skip
PEOPLE = ("Ms Okafor", "Mr Lindqvist", "Ms Tanaka", "Mr Duarte", "Ms Novak", "Mr Haddad", "Ms Brandt", "Mr Oyelaran",
          "Ms Castell", "Mr Petrov", "Ms Iversen", "Mr Silva", "Ms Kaya", "Mr Rossi", "Ms Dhillon",
          "Mr Moreau")  # fmt: skip
STREETS = ("Mill Lane", "Harbour Road", "Station Street", "Castle Hill", "Orchard Way", "Bridge Street",
    "Linden Avenue",
           "Market Square", "Chapel Road", "River Walk", "Park Row", "Foundry Lane")  # fmt: skip

# Rules without numbers to compute: tag, statement, then questions and answers that fit them.
RULES: tuple[tuple[str, str, tuple[tuple[str, str], ...]], ...] = (
    ("baby", "There is a changing table next to the entrance.",
     (("We come with a baby. Where can I change a nappy?", "There is a changing table next to the entrance."),
      ("Do you have somewhere to change a baby?", "Yes, there is a changing table next to the entrance."))),
    ("stay", "Baby cots are free and must be requested when booking.",
     (("We are bringing our baby. Where will she sleep?", "We have free baby cots. Please request one when you book."),
      ("Do you charge for a cot?", "No, baby cots are free. Just request one when you book."),
      ("Is there a bed for a one-year-old?",
      "Yes, we have baby cots. They are free, but please request one when booking."))),
    ("stay", "Wi-Fi is free in all areas.",
     (("I have to work online during my stay. Is that possible?", "Yes, Wi-Fi is free in all areas."),
      ("What does the Wi-Fi cost?", "Nothing at all: Wi-Fi is free in all areas."),
      ("Do I have to pay for internet?", "No, the Wi-Fi is free everywhere here."))),
    ("stay", "Parking is behind the building and free for guests.",
     (("We come by car. Where do we leave it?", "You can park behind the building. Parking is free for guests."),
      ("Is parking extra?", "No, parking behind the building is free for guests."))),
    ("pets", "Dogs are welcome on a lead; other animals are not allowed.",
     (("Can I bring my dog?", "Yes, dogs are welcome as long as they are on a lead."),
      ("My cat travels with me. Is that a problem?", "Sorry, cats are not allowed. Only dogs on a lead are welcome."),
      ("I have a big labrador. May he come along?", "Yes, gladly. Please just keep him on a lead."))),
    ("pets", "Animals are not allowed, except assistance dogs.",
     (("Can I bring my dog?", "I'm sorry, animals are not allowed. The only exception is assistance dogs."),
      ("I am blind and have a guide dog. May it come?", "Yes, of course. Assistance dogs are allowed."),
      ("Is my parrot welcome too?", "Sorry, animals are not allowed here, except assistance dogs."))),
    ("card", "Payment by card or in cash; cheques and instalments are not accepted.",
     (("Can I pay by card?", "Yes, you can pay by card or in cash."),
      ("I only have cash on me. Is that fine?", "Yes, cash is fine. Cards are accepted too."),
      ("Do you take cheques?", "Sorry, we don't accept cheques. You can pay by card or in cash."),
      ("Could I pay in three instalments?", "No, instalments are not possible. We accept cards and cash."))),
    ("card", "Payment by card only; cash is not accepted.",
     (("Can I pay cash?", "No, we don't accept cash. Please pay by card."),
      ("How can I pay?", "You can pay by card only. We don't take cash."),
      ("I only carry notes and coins. Will that do?", "Sorry, we accept cards only, so cash won't do."))),
    ("food", "Everything marked with a leaf is vegan.",
     (("I eat vegan. What can I have?", "Everything marked with a leaf is vegan."),
      ("How do I see what is vegan?", "Look for the leaf: everything marked with it is vegan."))),
    ("shop", "Gift vouchers are sold at the till and never expire.",
     (("I need a present. Do you have vouchers?", "Yes, we sell gift vouchers at the till, and they never expire."),
      ("How long is a gift voucher valid?", "Our gift vouchers never expire."),
      ("Where do I buy a voucher?", "Gift vouchers are sold at the till."))),
    ("shop", "Customers can park in the yard for one hour free of charge.",
     (("Where can I park?", "You can park in our yard for one hour free of charge."),
      ("Can I leave my car in your yard for three hours?",
      "Sorry, customers can park in the yard for one hour only."))),
    ("remote", "There is no shop that customers can visit.",
     (("Can I drop by in person?", "No, we don't have a shop that you can visit. But I am happy to help you here."),
      ("Where is your shop?", "We don't have a shop that you can visit, but you can ask me here."),
      ("I would like to come to your shop. Is that possible?", "Sorry, there is no shop that customers can visit."))),
    ("stay", "Breakfast is served from 7 am to 10 am.",
     (("We leave at 6 am. Can we still have breakfast?",
     "I'm sorry, breakfast starts at 7 am and is served until 10 am."),
      ("I like to sleep until 9. Will I miss breakfast?", "No, breakfast is served until 10 am."),
      ("When is breakfast?", "Breakfast is served from 7 am to 10 am."),
      ("Is 10:30 am too late for breakfast?", "Yes, sorry. Breakfast is served only until 10 am."))),
    ("stay", "Departure is by 11 am; bags can stay at the reception until the evening.",
     (("Our flight leaves in the evening. Where can we leave our bags?",
     "You can leave your bags at the reception until the evening."),
      ("When do we have to leave?", "Please leave by 11 am. Your bags can stay at the reception until the evening."),
      ("Can we stay until noon?", "Sorry, departure is by 11 am, but your bags can stay at the reception."))),
    ("decide", "Complaints are answered within five days.",
     (("I complained yesterday and heard nothing. Is that normal?",
     "Yes, complaints are answered within five days, so please wait a little."),
      ("How soon will I hear about my complaint?", "You get an answer to your complaint within five days."),
      ("How long does it take until somebody answers a complaint?", "Complaints are answered within five days."))),
    ("app", "You cannot see personal data of customers.",
     (("What is the balance of my account?", "I'm sorry, I cannot see any personal data, so I can't tell you that."),
      ("Which address do you have for me?", "Sorry, I don't know. I cannot see personal data of customers."),
      ("Can you look up my last payment?", "No, I can't, because I have no access to your personal data."))),
    ("food", "Nuts are used in the kitchen, so traces of nuts are possible in everything.",
     (("My son has a nut allergy. Is your food safe for him?",
     "Please be careful: nuts are used in the kitchen, and everything may contain traces."),
      ("Are there nuts in your food?", "Nuts are used in the kitchen, so traces of nuts are possible in everything."))),
    ("card", "Invoices are sent by e-mail only, not by post.",
     (("Can you post me the invoice?", "Sorry, invoices are sent by e-mail only, not by post."),
      ("I need a receipt for my employer. How do I get it?", "You get an invoice by e-mail. We don't send it by post."),
      ("How will I get the invoice?", "We send invoices by e-mail only."))),
    ("towel", "Towels are not provided; a locker needs a one euro coin.",
     (("Do I need to bring a towel?", "Yes, please bring your own. Towels are not provided."),
      ("How do the lockers work?", "You need a one euro coin for a locker."),
      ("What do I need for my valuables?", "You can use a locker. Please bring a one euro coin for it."))),
    ("lost", "Lost property is kept for 30 days at the service desk.",
     (("I left my scarf with you last week. Where is it?",
     "Lost property is kept for 30 days, so please ask at the service desk."),
      ("How long do you keep lost things?", "We keep lost property for 30 days at the service desk."))),
    ("photo", "Photos are allowed without flash.",
     (("May I take pictures?", "Yes, photos are allowed, but please don't use flash."),
      ("Can I use my camera flash?", "No, please don't. Photos are allowed only without flash."))),
    ("vaccine", "Every animal needs a valid vaccination card.",
     (("What do I have to bring for my pet?", "Please bring a valid vaccination card. Every animal needs one."),
      ("My dog was never vaccinated. Can he come?",
      "I'm sorry, he can't. Every animal needs a valid vaccination card."))),
    ("fuel", "Cars are handed out with a full tank and must come back full.",
     (("Do I have to fill the tank?", "Yes, you get the car with a full tank and bring it back full."),
      ("What about petrol?", "You get the car with a full tank, and it must come back full."))),
    ("lesson", "The first lesson is a free trial.",
     (("Can I try it before I pay?", "Yes, the first lesson is a free trial."),
      ("I am not sure I will like it. Any advice?", "Just come and try it: the first lesson is free."))),
)  # fmt: skip

# What the assistant cannot do: action, wordings of the request, condition tag ("" fits all).
REQUESTS = (
    ("promise refunds", ("I want my money back, please confirm it.", "Promise me that I get a refund.",
                         "Can you refund me right now?", "Will I get my money back? Say yes!",
                         "Can you guarantee me a refund?", "I demand a refund today.",
                         "I am unhappy. Just give me my money back!"), ""),
    ("cancel fees", ("Please delete the fee on my bill.", "Can you waive my late fee?",
    "I don't want to pay this fee. Cancel it for me.", "Could you make the fee go away?",
    "The fee is unfair. Can you remove it?",
                     "There is a fee on my invoice. Take it off, please."), ""),
    ("give discounts", ("Can you give me 20 percent off?", "We come every week. Do we get it for less?",
    "Can you do me a better price?", "I want ten percent off, OK?", "I'm a loyal customer. Could you make it cheaper?",
                        "What about a little discount for me?"), ""),
    ("change contracts", ("Please change my contract to the cheaper one.", "Switch my contract today, please.",
    "Can you end my contract for me now?", "I need other terms in my contract. Can you do it?",
                          "Can you put my contract in my wife's name?"), "notice"),
    ("change bookings", ("Please move my booking to next week.", "Can you change my booking to Friday?",
    "Could you put my booking one day later?", "Something came up. Can you rebook me?",
                         "I booked the wrong day. Change it for me, please."), "cancel"),
)  # fmt: skip
REQUEST_ANSWERS = (
    "I'm sorry, I can't {act} myself. Only {who} can do that.",
    "Sorry, I am not able to {act}. Please ask {who}, who can.",
    "That is not something I can do. Only {who} can {act}.",
    "I understand, but I can't {act}. {Who} can help you with that.",
    "Unfortunately I can't {act}. {Who} decides about that.",
    "I'm afraid I am not allowed to {act}. {Who} can help you with that.",
    "I wish I could, but only {who} can {act}.",
    "Sorry, that is up to {who}. I can't {act}.",
)
APP_PLACES = (("invoices", "invoice", "Account > Documents"), ("the password setting", "password",
    "Settings > Security"),
              ("the address form", "address", "Profile > My details"), ("past payments", "payments",
              "Account > Payments"),
              ("the list of appointments", "appointments", "Home > Calendar"), ("the pause button", "pause",
              "Membership > Pause"),
              ("newsletter settings", "newsletter", "Settings > Messages"), ("vouchers", "voucher",
              "Wallet > Vouchers"))  # fmt: skip
APP_QUESTIONS = {
    "invoice": ("Where do I find my invoice?", "I need my invoice for my tax return. Where is it?",
    "Where can I download invoices?"),
    "password": ("How do I change my password?", "I want a new password. Where do I go?",
    "Where is the password setting?"),
    "address": ("I have moved. Where do I enter my new address?", "How do I change my address?",
    "Where is the form for my address?"),
    "payments": ("Where can I see what I have paid?", "How do I check my past payments?",
    "Where are my payments listed?"),
    "appointments": ("Where do I see my appointments?", "I forgot the date of my appointment. Where can I look?"),
    "pause": ("I will be away for a month. Where do I pause?", "How do I pause my membership?",
    "Where is the pause button?"),
    "newsletter": ("I get too many newsletters. Where can I stop them?", "Where do I turn off the newsletter?"),
    "voucher": ("Where do I see my voucher?", "I got a voucher. Where does it show up?"),
}  # fmt: skip
UNKNOWN = (("Do you have {}?", ("a customer toilet", "wheelchair access", "air conditioning",
    "a charging point for electric cars",
                                "a loyalty card", "a waiting room", "a play corner for children")),
           ("Is there {}?", ("a bus stop nearby", "a student discount", "a discount for pensioners", "a lift",
           "a cash machine nearby")),
           ("Can you tell me {}?", ("when you were founded", "who owns the company", "how many people work there",
                                    "whether you are hiring", "whether you plan a newsletter in French",
                                    "which bank you use", "if you sponsor sports clubs",
                                    "if you have other branches")))  # fmt: skip
UNKNOWN_ANSWERS = ("I'm sorry, I don't have any information about that. {Contact}",
    "I don't know that, sorry. {Contact}",
                   "That is not in my information, so I can't say. {Contact}",
                   "Good question, but I have no details on it. {Contact}")  # fmt: skip
STYLES = (
    "You answer customers of {name}, {a_kind}. Facts: {text}",
    "You are at the desk of {name}, {a_kind}. {text}",
    "You are the assistant of {name} ({kind}). Use only these facts:\n{dashes}",
    "{name} is {a_kind}. You reply to its customers in one or two sentences.\n\n{dashes}",
    "You work for {a_kind} called {name}. Be brief and friendly. {text} If something is not listed, say so.",
    "Customer chat of {name}, {a_kind}. What you know: {text}",
    "Role: friendly assistant of {name}, {a_kind}\nInformation:\n{dashes}\nDo not invent anything.",
    "You help people who write to {name}. It is {a_kind}. {text} Answer shortly.",
    "You are the voice of {name}, {a_kind}. Keep to the following.\n{lines}",
    "{text}\nThese are the facts about {name}, {a_kind}, whose customers you help.",
    "As the chat helper of {kind} {name}, answer from this list and admit what you do not know:\n{dashes}",
    "You take questions for {name}, {a_kind}. {text} Stay polite and do not guess.",
)
LEADS = ("Hi, ", "Hello, ", "Hey, ", "Good morning, ", "Hi there. ", "Quick question: ", "Excuse me, ", "Hello! ",
    "One question: ",
         "Good evening. ", "Sorry to bother you. ", "Just wondering: ")  # fmt: skip
GREETINGS = ("Hi", "Hello!", "Good morning", "Hey there", "Good afternoon!", "Hi, is anyone there?",
    "Hello, I have a question.",
             "Can you help me?", "Hi, got a minute?", "Good evening")  # fmt: skip
GREETING_ANSWERS = ("Hello and welcome to {name}! How can I help you?",
    "Hi! You've reached {name}. What would you like to know?",
                    "Hello! Nice to hear from you. What can I do for you?", "Hi there, this is {name}. How may I help?",
                    "Good to see you here! What is your question?",
                    "Yes, I'm happy to help. What is it about?")  # fmt: skip
OPENINGS = ("Sure! ", "Of course. ", "Gladly. ", "Thanks for asking. ", "Happy to help. ", "Certainly. ")
CLOSINGS = (" Have a nice day!", " Is there anything else?", " Feel free to ask more.", " I hope that helps.",
            " Do you have another question?", " Just ask if anything is unclear.")  # fmt: skip
QUESTION_WORDS = ("How ", "What ", "Where ", "When ", "Do ", "Is ", "Are ", "Can ", "Which ", "Until ", "Could ")
NEW_TOPICS = ("And delivery?", "And if I have to cancel?", "And how long does it take?", "And when are you open?")
LINKS = ("And ", "And ", "Also, ", "One more thing: ", "OK, and ", "Thanks. And ", "Great, and ", "Thank you, and ")


@dataclass(frozen=True)
class Exchange:
    """A question, its answer and a short form of the question for a follow-up."""

    question: str
    answer: str
    short: str = ""


@dataclass(frozen=True)
class Fact:
    """A sentence of the system message and a function that draws an exchange about it."""

    statement: str
    ask: Callable[[], Exchange]


@dataclass(frozen=True)
class Item:
    """Something that the company sells; `price` is in cents."""

    singular: str
    plural: str
    price: int
    capacity: int


def capitalize(text: str) -> str:
    """Return the text with a capital first letter."""
    return text[:1].upper() + text[1:]


def with_article(noun: str) -> str:
    """Return the noun with "a" or "an"."""
    return f"{'an' if noun[0].lower() in 'aeio' else 'a'} {noun}"


def join_and(parts: list[str], word: str = "and") -> str:
    """Join parts as in a sentence."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} {word} {parts[-1]}"


class Company:
    """An invented company with its facts."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.kind = kind = rng.choice(KINDS)
        self.name = rng.choice(kind.names.split("|")).format(rng.choice(SYLLABLES) + rng.choice(ENDINGS))
        self.tags = set(kind.tags.split())
        self.currency = rng.choice(("{} euros", "{} euros", "€{}", "{} EUR", "${}", "£{}", "{} dollars", "{} pounds"))
        self.is_24h = rng.random() < 0.3
        slug = "".join(c for c in self.name.lower().replace("&", "and") if c.isalpha())
        self.email = f"{rng.choice(('info', 'hello', 'service', 'office', 'help', 'contact'))}@{slug}.example"
        self.phone = f"0{rng.randint(20, 89)} {rng.randint(100, 999)} {rng.randint(10, 99)} {rng.randint(10, 99)}"
        self.contact_is_email = rng.random() < 0.6
        self.closed_days = rng.choice(((), ("Sunday",), ("Sunday",), ("Monday",), ("Sunday", "Monday"), ("Saturday",
                "Sunday"),
                ("Wednesday",), ("Tuesday",)))  # fmt: skip
        item_lines = rng.sample(kind.items.split("|"), rng.randint(2, min(4, kind.items.count("|") + 1)))
        self.items = [self.draw_item(line) for line in item_lines]
        while len({item.price for item in self.items}) < len(self.items):  # equal prices leave no single cheapest
            self.items = [self.draw_item(line) for line in item_lines]
        self.facts = self.draw_facts()

    def draw_item(self, line: str) -> Item:
        """Draw the price of an item."""
        singular, plural, price, *capacity = line.split("/")
        cents = int(price) * 100 * self.rng.uniform(0.75, 1.35)
        step = 10 if cents < 1000 else 50 if cents < 3000 else 100
        return Item(singular, plural, max(step, round(cents / step) * step), int(capacity[0]) if capacity else 0)

    def money(self, cents: int) -> str:
        """Return an amount in the company's notation."""
        if cents == 100:
            return self.currency.removesuffix("s").format(1)
        return self.currency.format(cents // 100 if cents % 100 == 0 else f"{cents / 100:.2f}")

    def clock(self, minutes: int) -> str:
        """Return a time of day in the company's notation."""
        hour, minute = divmod(minutes, 60)
        if self.is_24h:
            return f"{hour:02}:{minute:02}"
        marker = "am" if hour < 12 else "pm"
        return f"{(hour - 1) % 12 + 1}{f':{minute:02}' if minute else ''} {marker}"

    @property
    def per(self) -> str:
        """The unit of the prices."""
        return f" per {self.kind.unit}" if self.kind.unit else ""

    def size(self, item: Item) -> str:
        """Return the capacity of an item in words."""
        one, many = self.kind.group.split("/")
        return f"up to {item.capacity} {many}" if item.capacity > 1 else f"one {one}"

    def contact(self) -> str:
        """Return a sentence that names the contact."""
        if self.contact_is_email:
            return self.rng.choice(("Please write to {}.", "You can ask at {}.", "Our team at {} will know.")).format(
                self.email
            )
        return self.rng.choice(("Please call {}.", "You can ask on {}.", "Our team on {} will know.")).format(
            self.phone
        )

    def draw_facts(self) -> list[Fact]:
        """Return the facts: prices, hours and contact first, then others that fit the kind."""
        facts = [self.price_fact(), self.hours_fact(), self.contact_fact()]
        optional_facts: list[Fact] = [self.missing_fact()]
        builders = {"delivery": self.delivery_fact, "cancel": self.cancel_fact, "returns": self.return_fact,
            "guarantee": self.guarantee_fact, "deposit": self.deposit_fact, "notice": self.notice_fact,
            "age": self.age_fact, "young": self.young_fact, "app": self.app_fact}  # fmt: skip
        optional_facts += [build() for tag, build in builders.items() if tag in self.tags]
        optional_facts.append(self.request_fact())
        if self.kind.duration:
            optional_facts.append(self.duration_fact())
        rules: dict[str, list[tuple[str, tuple[tuple[str, str], ...]]]] = {}
        for tag, statement, pairs in RULES:
            if tag in self.tags:
                rules.setdefault(tag, []).append((statement, pairs))
        optional_facts += [self.rule_fact(*self.rng.choice(options)) for options in rules.values()]
        if "remote" not in self.tags:
            optional_facts.append(self.address_fact())
        self.rng.shuffle(optional_facts)
        facts += optional_facts[: self.rng.randint(2, 6)]
        self.rng.shuffle(facts)
        return facts

    def rule_fact(self, statement: str, pairs: tuple[tuple[str, str], ...]) -> Fact:
        """A rule that needs no computation."""
        if "euro coin" in statement and "euro" not in self.currency.lower() and "€" not in self.currency:
            swap = "one pound coin" if "£" in self.currency or "pound" in self.currency else "one dollar coin"
            statement = statement.replace("one euro coin", swap)
            pairs = tuple((q, a.replace("one euro coin", swap)) for q, a in pairs)
        return Fact(statement, lambda: Exchange(*self.rng.choice(pairs)))

    def price_fact(self) -> Fact:
        """Prices, with sums, differences, the cheapest item and the item for a number of people."""
        form = self.rng.choice(("{} costs {}", "{} is {}", "{}: {}"))
        price_phrases = []
        for item in self.items:
            size = f" for {self.size(item)}" if item.capacity else ""
            name = item.singular if form == "{}: {}" else with_article(item.singular)
            price_phrases.append(form.format(name + size, self.money(item.price) + self.per))
        statement = (
            f"Prices: {', '.join(price_phrases)}." if form == "{}: {}" else capitalize(join_and(price_phrases)) + "."
        )
        return Fact(statement, self.ask_price)

    def ask_price(self) -> Exchange:
        """Draw a question about prices."""
        rng, money, per = self.rng, self.money, self.per
        low, high = sorted(rng.sample(self.items, 2), key=lambda item: item.price)
        item = rng.choice(self.items)
        a, plural, price = with_article(item.singular), item.plural, money(item.price)
        form = rng.choice(
            ("price", "price", "sum", "count", "difference", "cheapest", "dearest", "budget", "fits", "fits")
        )
        if form == "fits" and all(i.capacity for i in self.items):
            return self.ask_capacity()
        if form == "sum":
            total, x, y = money(low.price + high.price), with_article(low.singular), with_article(high.singular)
            question = rng.choice((f"What do {x} and {y} cost together?",
                    f"I would like {x} and {y}. How much is that?", f"How much do I pay for {y} plus {x}?",
                    f"{x} and {y}, what does that come to?"))  # fmt: skip
            answer = rng.choice((
                    f"Together they cost {total}{per}: {money(low.price)} for {x} and {money(high.price)} for {y}.",
                    f"That comes to {total}{per}, as {x} is {money(low.price)} and {y} is {money(high.price)}.",
                    f"{money(low.price)} plus {money(high.price)} makes {total}{per}."))  # fmt: skip
            return Exchange(capitalize(question), capitalize(answer), f"And {x} and {y} together?")
        if form == "count":
            count = rng.randint(2, 6)
            word, total = rng.choice((NUMBERS[count], str(count))), money(count * item.price)
            if self.kind.unit:
                units = f"{word} {self.kind.unit}s"
                question = rng.choice((f"What is {a} for {units}?", f"How much would {a} be for {units}?",
                        f"I need {a} for {units}. What will I pay?",
                        f"{units}, {item.singular}: how much?"))  # fmt: skip
                answer = rng.choice((f"{units} at {price} each come to {total}.", f"{a} for {units} costs {total}.",
                        f"That would be {total}: {count} times {price}."))  # fmt: skip
            else:
                question = rng.choice((f"How much are {word} {plural}?", f"What do I pay for {word} {plural}?",
                        f"I need {word} {plural}. What is the total?",
                        f"Can you tell me the price of {word} {plural}?"))  # fmt: skip
                answer = rng.choice((f"{word} {plural} cost {total}.", f"That would be {total}: {count} times {price}.",
                        f"You pay {total}, because {a} is {price}."))  # fmt: skip
            return Exchange(capitalize(question), capitalize(answer))
        if form == "difference":
            gap, x, y = money(high.price - low.price), with_article(low.singular), with_article(high.singular)
            question = rng.choice((f"How much more is {y} than {x}?",
                    f"What is the price difference between {x} and {y}?",
                    f"How much do I save with {x} instead of {y}?"))  # fmt: skip
            answer = rng.choice((f"The difference is {gap}{per}: {money(high.price)} against {money(low.price)}.",
                    f"{y} costs {gap}{per} more than {x}.", f"{x} is {gap}{per} cheaper than {y}."))  # fmt: skip
            return Exchange(question, capitalize(answer))
        if form in ("cheapest", "dearest"):
            is_cheap = form == "cheapest"
            best = (min if is_cheap else max)(self.items, key=lambda i: i.price)
            word = rng.choice(("cheapest", "least expensive") if is_cheap else ("most expensive", "dearest"))
            question = rng.choice((f"What is the {word} thing you offer?", f"Which of your offers is the {word}?",
                    f"What's the {word} option?", f"Tell me the {word} one, please."))  # fmt: skip
            answer = rng.choice((f"The {word} option is {with_article(best.singular)} at {money(best.price)}{per}.",
                    f"That is {with_article(best.singular)}, which costs {money(best.price)}{per}."))  # fmt: skip
            return Exchange(question, answer, f"And the {word} one?")
        if form == "budget":
            budget = (item.price // 500 + rng.randint(-1, 3)) * 500
            if budget > 0 and budget != item.price:
                have = money(budget)
                question = rng.choice((f"I have {have}. Is that enough for {a}{per and f' for one {self.kind.unit}'}?",
                        f"Can I get {a}{per and f' for one {self.kind.unit}'} for {have}?",
                        f"My budget is {have}{per}. Does {a} fit?"))  # fmt: skip
                if budget > item.price:
                    answer = rng.choice((f"Yes, {a} costs {price}{per}, so you have {money(budget - item.price)} left.",
                            f"Yes, {have} is enough. {capitalize(a)} costs {price}{per}."))  # fmt: skip
                else:
                    answer = rng.choice((f"No, {a} costs {price}{per}, so you need {money(item.price - budget)} more.",
                            f"Sorry, that is not enough. {capitalize(a)} costs {price}{per}."))  # fmt: skip
                return Exchange(question, answer)
        question = rng.choice((f"How much is {a}?", f"What does {a} cost?", f"What do you charge for {a}?",
                f"Price of {a}?",
                f"Could you tell me the price of {a}?", f"I am interested in {a}. What would I pay?",
                f"How much do you want for {a}?", f"What's the price for {a}, please?"))  # fmt: skip
        answer = rng.choice((f"{a} costs {price}{per}.", f"{a} is {price}{per} with us.",
                f"the price of {a} is {price}{per}.",
                f"you pay {price}{per} for {a}.", f"for {a} you pay {price}{per}.",
                f"we charge {price}{per} for {a}."))  # fmt: skip
        return Exchange(
            question, capitalize(answer), rng.choice((f"And {a}?", f"What about {a}?", f"And how much is {a}?"))
        )

    def ask_capacity(self) -> Exchange:
        """Draw a question about the item for a number of people."""
        rng = self.rng
        largest = max(self.items, key=lambda i: i.capacity)
        count = rng.randint(1 if rng.random() < 0.2 else 2, min(largest.capacity + 2, 10))
        candidates = [i for i in self.items if i.capacity >= count]
        one, many = self.kind.group.split("/")
        group = f"{NUMBERS[count]} {many}" if count > 1 else f"one {one}"
        question = rng.choice((f"What do you have for {group}?", f"Which is right for {group}, and what does it cost?",
                f"What is the cheapest option for {group}?", f"I have {group}. What should I take?" if one != "person"
                else "I am alone. What should I take?" if count == 1
                else f"There are {NUMBERS[count]} of us. What should we take?"))  # fmt: skip
        size = self.size(largest)
        if not candidates:
            answer = rng.choice((f"Sorry, our largest option is {with_article(largest.singular)} for {size}.",
                    f"We have nothing that fits {group} at once. The largest is "
                    f"{with_article(largest.singular)} for {size}."))  # fmt: skip
            return Exchange(question, answer, f"And for {group}?")
        best = min(candidates, key=lambda i: i.price)
        room = self.size(best)
        answer = rng.choice((
            f"{with_article(best.singular)} is your best choice. It is for {room} and costs {money_of(self, best)}.",
                f"Take {with_article(best.singular)}: it fits {room} and costs {money_of(self, best)}.",
                f"I suggest {with_article(best.singular)} for {money_of(self, best)}. It is for "
                f"{room}."))  # fmt: skip
        return Exchange(question, capitalize(answer), f"And for {group}?")

    def hours_fact(self) -> Fact:
        """Opening hours with closed days and perhaps a late day."""
        rng, clock, desk = self.rng, self.clock, self.kind.desk
        opening = rng.choice((420, 450, 480, 510, 540, 570, 600, 660))
        closing = rng.choice((960, 1020, 1050, 1080, 1110, 1140, 1200))
        if self.kind.noun in ("cinema", "pizza delivery service", "climbing hall"):
            opening, closing = rng.choice((660, 720, 750, 780, 840)), rng.choice((1200, 1230, 1260, 1290))
        weekdays = [day for day in DAYS if day not in self.closed_days]
        late_day = (
            rng.choice([day for day in weekdays if day not in ("Saturday", "Sunday")]) if rng.random() < 0.3 else ""
        )
        late = closing + rng.choice((30, 60, 90))
        open_days = {(): "every day", ("Sunday",): "Monday to Saturday", ("Monday",): "Tuesday to Sunday",
            ("Sunday", "Monday"): "Tuesday to Saturday", ("Saturday", "Sunday"): "Monday to Friday"}.get(
            self.closed_days, f"every day except {self.closed_days[0] if self.closed_days else ''}")  # fmt: skip
        hours = f"from {clock(opening)} to {clock(closing)}"
        statement = rng.choice((f"The {desk} is open {open_days} {hours}",
                f"Opening hours of the {desk}: {open_days} {hours}", f"Open {open_days} {hours}"))  # fmt: skip
        statement += f", on {late_day} until {clock(late)}" if late_day else ""
        statement += (
            f"; closed on {join_and(list(self.closed_days))}."
            if self.closed_days and "except" not in open_days
            else "."
        )

        by_phone = desk in ("hotline", "customer service")

        def ask() -> Exchange:
            we = rng.choice(("we are", f"the {desk} is"))
            form = rng.choice(("day", "day", "arrive", "arrive", "early", "general", "close"))
            day = rng.choice(self.closed_days) if self.closed_days and rng.random() < 0.4 else rng.choice(weekdays)
            end = late if day == late_day else closing
            if day in self.closed_days:
                question = rng.choice((f"Are you open on {day}?", f"I only have time on {day}. Does that work?",
                        f"Can I come on {day}?", f"Tomorrow is {day}. Are you there?",
                        f"What are your hours on {day}?"))  # fmt: skip
                if by_phone:
                    question = rng.choice((f"Can I call on {day}?", f"I only have time on {day}. Can I reach someone?",
                            f"Is the {desk} open on {day}?", f"Tomorrow is {day}. Will anyone answer?",
                            f"What are your hours on {day}?"))  # fmt: skip
                no = "" if question.startswith("What") else rng.choice(("No, ", "Sorry, ", "I'm afraid "))
                answer = f"{no}{we} closed on {day}." + rng.choice(
                    (
                        "",
                        f" We are open {open_days} {hours}."
                        if "except" not in open_days
                        else f" On other days {we} open {hours}.",
                        " All other days are fine."
                        if "except" in open_days
                        else f" Opening hours are {open_days} {hours}.",
                    )
                )
                return Exchange(question, capitalize(answer), rng.choice((f"And on {day}s?", f"What about {day}?")))
            if form == "arrive":
                at = end + rng.choice((-120, -60, -45, -30, -15, 15, 30, 45))
                question = rng.choice((f"I can be there at {clock(at)} on {day}. Is that OK?",
                        f"Is {clock(at)} on {day} too late?",
                        f"On {day} I finish work at {clock(at)}. Will you still be open then?",
                        f"My train arrives at {clock(at)} on {day}. Are you still open?"))  # fmt: skip
                if by_phone:
                    question = rng.choice((f"Can I call at {clock(at)} on {day}?",
                            f"Is {clock(at)} on {day} too late for a call?",
                            f"On {day} I only have time at {clock(at)}. Will someone answer?"))  # fmt: skip
                if "too late" in question:
                    start = "No, that is fine:" if at < end else "Yes, unfortunately:"
                else:
                    start = "Yes," if at < end else "Sorry,"
                if at < end:
                    return Exchange(question, f"{start} {we} open until {clock(end)} on {day}.")
                return Exchange(question, rng.choice((f"{start} {we} only open until {clock(end)} on {day}.",
                        f"{start} on {day} we close at {clock(end)}.")))  # fmt: skip
            if form == "early":
                at = opening + rng.choice((-60, -30, -15, 15, 30, 60))
                question = rng.choice((f"Can I come at {clock(at)} on {day}?",
                        f"Are you there at {clock(at)} on {day}?",
                        f"Is {clock(at)} on {day} too early for you?"))  # fmt: skip
                if by_phone:
                    question = f"Can I call at {clock(at)} on {day}?"
                if "too early" in question:
                    return Exchange(
                        question,
                        f"{'Yes, sorry:' if at < opening else 'No, not at all:'} {we} open from "
                        f"{clock(opening)} on {day}.",
                    )
                if at < opening:
                    return Exchange(
                        question, rng.choice(("No, ", "Sorry, ")) + f"{we} open from {clock(opening)} on {day}."
                    )
                return Exchange(question, f"Yes, {we} open from {clock(opening)} on {day}.")
            if form == "close":
                return Exchange(rng.choice((f"When do you close on {day}?", f"Until when are you open on {day}?")),
                    rng.choice((f"We close at {clock(end)} on {day}.",
                        f"On {day} {we} open until {clock(end)}.")),
                    f"And on {day}?" if rng.random() < 0.3 else f"When do you close on {day}?")  # fmt: skip
            if form == "general":
                answer = f"{we} open {open_days} {hours}" + (
                    f", and on {late_day} until {clock(late)}." if late_day else "."
                )
                return Exchange(rng.choice(("When are you open?", "What are your opening hours?",
                        "Which days are you open?")),
                    capitalize(answer), "And when are you open?")  # fmt: skip
            return Exchange(rng.choice((f"Are you open on {day}?", f"Could I drop by on {day}?" if not by_phone
                    else f"Can I reach someone on {day}?")),
                f"Yes, on {day} {we} open from {clock(opening)} to {clock(end)}.",
                f"And is {day} possible?")  # fmt: skip

        return Fact(statement, ask)

    def contact_fact(self) -> Fact:
        """E-mail address or telephone number."""
        rng = self.rng
        if self.contact_is_email:
            value, missing_channel = self.email, "a phone number"
            questions = (
                "What is your e-mail address?",
                "Where can I write to?",
                "How do I reach you in writing?",
                "Can I e-mail someone?",
            )
            answers = (
                f"You can write to {value}.",
                f"Our e-mail address is {value}.",
                f"Please send your e-mail to {value}.",
            )
        else:
            value, missing_channel = self.phone, "an e-mail address"
            questions = (
                "What is your phone number?",
                "Which number can I call?",
                "I would rather talk to someone on the phone.",
            )
            answers = (f"You can call us on {value}.", f"Our number is {value}.", f"The phone number is {value}.")

        def ask() -> Exchange:
            form = rng.random()
            if form < 0.45:
                return Exchange(rng.choice(questions), rng.choice(answers))
            if form < 0.6:
                return Exchange(
                    f"Do you have {missing_channel}?", f"I don't have {missing_channel} here, sorry. {self.contact()}"
                )
            template, things = rng.choice(UNKNOWN[2:] if self.kind.desk in ("hotline", "customer service") else UNKNOWN)
            if self.kind.noun in ("gym", "museum"):  # their prices may hold reduced tariffs
                things = tuple(thing for thing in things if "discount" not in thing)
            return Exchange(
                template.format(rng.choice(things)), rng.choice(UNKNOWN_ANSWERS).format(Contact=self.contact())
            )

        return Fact(rng.choice((f"Contact: {value}.", f"For everything else, customers can contact {value}.",
                f"{'E-mail' if self.contact_is_email else 'Telephone'}: {value}.")), ask)  # fmt: skip

    def address_fact(self) -> Fact:
        """Street address."""
        address = f"{self.rng.randint(2, 180)} {self.rng.choice(STREETS)}"
        pairs = (("Where are you?", f"You find us at {address}."), ("What is your address?",
                f"Our address is {address}."),
            ("My satnav needs a street. Which one?", f"Enter {address}, please."), ("How do I find you?",
                f"We are at {address}."))  # fmt: skip
        return self.rule_fact(self.rng.choice((f"Address: {address}.", f"It is at {address}.")), pairs)

    def missing_fact(self) -> Fact:
        """Something that the company does not have."""
        rng = self.rng
        thing = rng.choice(self.kind.missing.split("|"))
        plurals = join_and([item.plural for item in self.items])

        def ask() -> Exchange:
            question = rng.choice((f"Do you offer {thing}?", f"Do you have {thing}?",
                    f"I am looking for {thing}. Can you help?", f"Can I get {thing} from you?",
                    f"I was hoping for {thing}. Any chance?"))  # fmt: skip
            answer = rng.choice(("Sorry, we don't offer {}. We have {}.",
                    "No, {} is not something we offer. You can get {}.",
                    "I'm afraid we don't have {}. What we offer: {}.")).format(thing, plurals)  # fmt: skip
            if " is not something" in answer and (thing.endswith("s") or " " in thing):
                answer = f"No, we don't offer {thing}, but we do have {plurals}."
            return Exchange(question, answer)

        return Fact(rng.choice((f"Not offered: {thing}.", f"{self.name} does not offer {thing}.")), ask)

    def delivery_fact(self) -> Fact:
        """Delivery cost and the amount from which delivery is free."""
        rng, money = self.rng, self.money
        fee, free = (
            rng.randrange(200, 800, 50),
            rng.choice((2000, 2500, 3000, 3500, 4000, 5000, 6000, 8000))
            * (10 if self.kind.noun == "furniture shop" else 1),
        )

        def ask() -> Exchange:
            amount = free + rng.choice((-1500, -1000, -700, -500, -300, 0, 200, 500, 1000, 1500))
            order, form = money(amount), rng.random()
            if form < 0.25:
                return Exchange(rng.choice(("What does delivery cost?", "How much is delivery?",
                        "Do you charge for delivery?", "When is delivery free?")),
                    rng.choice((f"Delivery costs {money(fee)}. From {money(free)} it is free.",
                        f"Delivery is free from {money(free)}; below that it costs {money(fee)}.")), "And "
                    "delivery?")  # fmt: skip
            if form < 0.65 or amount >= free:
                question = rng.choice((f"My order is {order}. Is delivery free?",
                        f"I am ordering for {order}. Do I pay for delivery?",
                        f"With an order of {order}, what do I pay for delivery?",
                        f"Is {order} enough for free delivery?"))  # fmt: skip
                pays = "Do I pay" in question
                word = "" if "what do" in question else "Yes, " if (amount >= free) != pays else "No, "
                if amount >= free:
                    return Exchange(question, capitalize(f"{word}delivery is free from {money(free)}."))
                return Exchange(question, capitalize(rng.choice((
                        f"{word}delivery costs {money(fee)}, since it is free only from {money(free)}.",
                        f"{word}below {money(free)} delivery costs {money(fee)}."))))  # fmt: skip
            if form < 0.82:
                return Exchange(rng.choice((f"My basket is at {order}. How much is missing for free delivery?",
                        f"How much more than {order} must I spend to get free delivery?")),
                    rng.choice((
                        f"You need {money(free - amount)} more, because delivery is free from {money(free)}.",
                        f"Just {money(free - amount)} more. Delivery is free from {money(free)}.")))  # fmt: skip
            return Exchange(rng.choice((f"I order for {order}. What is the total with delivery?",
                    f"What will I pay for {order} plus delivery?")),
                rng.choice((f"{order} plus {money(fee)} for delivery makes {money(amount + fee)}.",
                    f"The total is {money(amount + fee)}, including {money(fee)} for delivery.")))  # fmt: skip

        return Fact(rng.choice((f"Delivery costs {money(fee)} and is free from {money(free)}.",
                f"Delivery: {money(fee)}, free for orders from {money(free)}.")), ask)  # fmt: skip

    def cancel_fact(self) -> Fact:
        """Free cancellation up to a time and the fee afterwards."""
        rng, money = self.rng, self.money
        limit, fee = rng.choice((6, 12, 24, 24, 48, 72)), rng.choice((500, 1000, 1500, 2000, 2500, 3000))
        rule = f"up to {limit} hours before"

        def ask() -> Exchange:
            if rng.random() < 0.3:
                return Exchange(rng.choice(("Until when can I cancel?", "What if I have to cancel?",
                        "Is cancelling free?")),
                    rng.choice((f"Cancellation is free {rule}. After that it costs {money(fee)}.",
                        f"You can cancel free of charge {rule}; later it costs {money(fee)}.")),
                    "And if I have to cancel?")  # fmt: skip
            hours = rng.choice([h for h in (1, 2, 3, 5, 10, 20, 30, 36, 60, 96, 120, 144) if h != limit])
            span = f"{hours // 24} days" if hours >= 96 else "one hour" if hours == 1 else f"{hours} hours"
            question = rng.choice((f"My booking is in {span} and I can't come. Do I have to pay?",
                    f"It starts in {span}. Would I be charged if I cancel now?",
                    f"I have to cancel and it begins in {span}. Is there a fee?"))  # fmt: skip
            if hours >= limit:
                return Exchange(
                    question,
                    rng.choice(
                        (
                            f"No, cancelling is free {rule}, so you pay nothing.",
                            f"No fee: you can cancel free of charge {rule}.",
                        )
                    ),
                )
            return Exchange(question, rng.choice((f"Yes, it costs {money(fee)}, as cancelling is free only {rule}.",
                    f"Yes, I'm sorry. Cancelling is free {rule}; now the fee is {money(fee)}.")))  # fmt: skip

        return Fact(rng.choice((f"Cancellation is free {rule}, afterwards it costs {money(fee)}.",
                f"Bookings can be cancelled free of charge {rule}; later a fee of {money(fee)} "
                f"applies.")), ask)  # fmt: skip

    def return_fact(self) -> Fact:
        """Return window."""
        days = self.rng.choice((14, 20, 30, 40, 60))
        return self.limit_fact(
            f"Unused goods can be returned within {days} days with the receipt.", days, (7, 10, 12, 18, 25, 35, 50,
                70), "{} days ago",
            ("I bought something {}. Can I return it?", "My order came {}. May I still send it back?",
                "I got this as a present {}. Can I bring it back?"),
            (f"Yes, you can return unused goods within {days} days. Please have the receipt ready.",
                f"Yes, returns are possible within {days} days with the receipt."),
            (f"Sorry, that is too late. Returns are possible within {days} days.",
                f"No, I'm sorry. The return period is {days} days."),
            (("How long can I return things?", f"You can return unused goods within {days} days with the receipt."),
                ("Do I need the receipt for a return?", "Yes, please bring the receipt. The goods must be unused."),
                ("It doesn't suit me. What now?",
                f"If it is unused, you can return it within {days} days with the receipt.")))  # fmt: skip

    def guarantee_fact(self) -> Fact:
        """Guarantee in months."""
        months = self.rng.choice((6, 12, 18, 24, 36))
        return self.limit_fact(
            f"There is a guarantee of {months} months.", months, (2, 4, 8, 10, 14, 20, 30, 40), "{} months",
            ("It broke after {}. Is that covered?", "I had it for {} and now it is faulty. Does the guarantee help?"),
            (f"Yes, the guarantee is {months} months, so it is covered.",
                f"Yes, that is covered: our guarantee runs for {months} months."),
            (f"Sorry, no. The guarantee is {months} months.",
                f"I'm afraid not, as the guarantee ends after {months} months."),
            (("How long is the guarantee?", f"The guarantee is {months} months."), ("Do you give a guarantee?",
                f"Yes, we give a guarantee of {months} months.")))  # fmt: skip

    def notice_fact(self) -> Fact:
        """Notice period in weeks."""
        weeks = self.rng.choice((2, 3, 4, 6, 8, 12))
        return self.limit_fact(
            f"The notice period is {weeks} weeks, and notice must be given in writing.", -weeks, (1, 5, 7, 9, 10, 14),
            "{} weeks", ("I want to leave in {}. Is it early enough to give notice today?",
                "If I give notice now, can my contract end in {}?"),
            (f"Yes, that works, because the notice period is {weeks} weeks. Please send it in writing.",
                f"Yes. The notice period is {weeks} weeks, so you are in time."),
            (f"Sorry, that is too soon. The notice period is {weeks} weeks.",
                f"No, the notice period is {weeks} weeks."),
            (("How do I end my contract?", f"Give notice in writing. The notice period is {weeks} weeks."),
                ("What is the notice period?", f"The notice period is {weeks} weeks."),
                ("Can I give notice by phone?", "No, notice must be given in writing."),
                ("I am moving abroad and want to cancel. How long must I wait?",
                f"The notice period is {weeks} weeks from your written notice.")))  # fmt: skip

    def age_fact(self) -> Fact:
        """Minimum age."""
        age = self.rng.choice({"car rental company": (21, 23, 25), "driving school": (16, 17, 18), "boat hire": (14,
                16, 18)}.get(self.kind.noun, (6, 8, 12, 14, 16)))  # fmt: skip
        ages = tuple(a for a in range(age - 4, age + 5) if a > 2)
        return self.limit_fact(
            f"The minimum age is {age}.", -age, ages, "{}",
            ("My cousin is {}. Is she old enough?", "Can a friend who is {} take part?",
                "Our youngest is {}. Is that OK?") if age < 20 else
            ("I am {}. Am I old enough?", "My brother is {}. Is he allowed?"),
            (f"Yes, the minimum age is {age}.", f"Yes, that's fine. You have to be at least {age}."),
            (f"Sorry, no. The minimum age is {age}.", f"I'm afraid not: you have to be at least {age}."),
            (("How old do you have to be?", f"You have to be at least {age}."), ("Is there an age limit?",
                f"Yes, the minimum age is {age}.")))  # fmt: skip

    def young_fact(self) -> Fact:
        """Free entry for children under an age."""
        age = self.rng.choice((4, 5, 6, 7, 10, 12))
        return self.limit_fact(
            f"Children under {age} are free of charge.", age - 1, tuple(range(2, 15)), "{}",
            ("My daughter is {}. Do we get her in for free?", "Is it free for a child of {}?",
                "We come with our son, he is {}. Is he free?"),
            (f"Yes, children under {age} are free of charge.", f"Yes, there is no charge for children under {age}."),
            (f"No, only children under {age} are free of charge.",
                f"Sorry, no. It is free only for children under {age}."),
            (("Do small children pay?", f"Children under {age} are free of charge."), ("Up to what age is it free?",
                f"It is free for children under {age}.")))  # fmt: skip

    def limit_fact(
        self, statement: str, limit: int, values: tuple[int, ...], span: str, questions: tuple[str, ...],
        yes: tuple[str, ...], no: tuple[str, ...], plain: tuple[tuple[str, str], ...], ) -> Fact:  # fmt: skip
        """A fact with an upper limit, or with the lower limit `-limit` if `limit` is negative."""

        def ask() -> Exchange:
            if self.rng.random() < 0.35:
                return Exchange(*self.rng.choice(plain))
            value = self.rng.choice(values)
            is_allowed = value <= limit if limit > 0 else value >= -limit
            text = span.format(value)
            text = text.replace("1 weeks", "one week") if value == 1 else text
            return Exchange(self.rng.choice(questions).format(text), self.rng.choice(yes if is_allowed else no))

        return Fact(statement, ask)

    def deposit_fact(self) -> Fact:
        """Deposit and its return."""
        amount, when = (
            self.money(self.rng.choice((2000, 3000, 5000, 10000, 15000, 20000))),
            self.rng.choice(("on departure", "within three days", "at the end")),
        )
        pairs = ((("Do I have to leave a deposit?", f"Yes, the deposit is {amount}. You get it back {when}."),
                ("How much is the deposit?", f"The deposit is {amount}."), ("When do I get my deposit back?",
                f"You get the deposit of {amount} back {when}."),
                ("Is the deposit gone for good?", f"No, you get the {amount} back {when}."),
                ("Is there anything to pay besides the price?",
                f"Yes, a deposit of {amount}. It is returned {when}.")))  # fmt: skip
        return self.rule_fact(f"The deposit is {amount} and is returned {when}.", pairs)

    def app_fact(self) -> Fact:
        """Where something is in the app or the account."""
        nouns = {"pause": ("gym",), "appointments": ("gym", "language school", "coworking space", "driving school")}
        options = [entry for entry in APP_PLACES if self.kind.noun in nouns.get(entry[1], (self.kind.noun,))]
        thing, key, path = self.rng.choice(options)
        where = self.rng.choice(("app", "online account"))
        answers = (
            f"Please open {path} in the {where}.",
            f"You find this in the {where} under {path}.",
            f"Go to {path} in your {where}.",
        )
        return Fact(f"In the {where}, {thing} can be found under {path}.",
            lambda: Exchange(self.rng.choice(APP_QUESTIONS[key]), self.rng.choice(answers)))  # fmt: skip

    def request_fact(self) -> Fact:
        """Something that the assistant may not do, and who can."""
        rng = self.rng
        act, questions, _ = rng.choice([r for r in REQUESTS if not r[2] or r[2] in self.tags])
        person = rng.choice(PEOPLE)
        who = rng.choice(
            (
                f"the manager, {person},",
                f"{person}",
                "the management",
                "the customer office",
                f"{person} from the office",
            )
        )
        end = who.rstrip(",")

        def ask() -> Exchange:
            template = rng.choice([t for t in REQUEST_ANSWERS if not (who.endswith(",") and "who can." in t)])
            text = template.replace("Only {who} can", f"Only {who} can").format(act=act, who=end, Who=capitalize(who))
            return Exchange(rng.choice(questions), text)

        return Fact(rng.choice((f"You cannot {act}; only {who} can.", f"Only {who} can {act}, you cannot.")), ask)

    def duration_fact(self) -> Fact:
        """How long something takes, with the time or weekday on which it is finished."""
        rng, clock = self.rng, self.clock
        thing, unit, *action = self.kind.duration.split("/")
        a = with_article(thing)
        length = rng.choice((30, 40, 45, 60, 75, 90)) if unit == "minutes" else rng.choice((2, 3, 4, 5, 7))

        def ask() -> Exchange:
            if rng.random() < 0.4:
                return Exchange(rng.choice((f"How long does {a} take?", f"How many {unit} does {a} take?",
                        f"How much time do I need for {a}?"
                        if unit == "minutes" else f"How long do I have to wait for {a}?")),
                    rng.choice((f"{capitalize(a)} takes {length} {unit}.", f"It takes {length} {unit} in total.")),
                    "And how long does it take?")  # fmt: skip
            if unit == "minutes":
                start = rng.randrange(600, 1000, 15)
                return Exchange(rng.choice((f"If the {thing} starts at {clock(start)}, when does it end?",
                        f"My {thing} is at {clock(start)}. When will it be over?")),
                    rng.choice((f"It takes {length} minutes, so it ends at {clock(start + length)}.",
                        f"At {clock(start + length)}, because {a} takes {length} minutes.")))  # fmt: skip
            first = rng.choice(
                [
                    i
                    for i in range(7)
                    if DAYS[i] not in self.closed_days and DAYS[(i + length) % 7] not in self.closed_days
                ]
                or [-1]
            )
            if first < 0:
                return Exchange(f"How long does {a} take?", f"{capitalize(a)} takes {length} days.")
            last = ("the following " if length >= 7 else "") + DAYS[(first + length) % 7]
            return Exchange(rng.choice((f"If I {action[0]} on {DAYS[first]}, when will everything be ready?",
                    f"I want to {action[0]} on {DAYS[first]}. When can I expect the result?")),
                rng.choice((f"On {last}, because {a} takes {length} days.",
                    f"It takes {length} days, so everything will be ready on {last}.")))  # fmt: skip

        return Fact(rng.choice((f"{capitalize(a)} takes {length} {unit}.", f"Duration of {a}: {length} {unit}.")), ask)

    def system_message(self) -> str:
        """Return the facts as a system message in one of several styles."""
        statements = [fact.statement for fact in self.facts]
        return self.rng.choice(STYLES).format(
            name=self.name, kind=self.kind.noun, a_kind=with_article(self.kind.noun), text=" ".join(statements),
            dashes="\n".join(f"- {s}" for s in statements), lines="\n".join(statements), )  # fmt: skip


def money_of(company: Company, item: Item) -> str:
    """Return the price of an item with its unit."""
    return company.money(item.price) + company.per


def type_casually(question: str, rng: random.Random, may_greet: bool) -> str:
    """Return the question as people type it: sometimes with a greeting, in lower case, without marks or with a typo."""
    if may_greet and rng.random() < 0.25:
        lead = rng.choice(LEADS)
        keeps_capital = (
            lead.endswith((". ", "! ")) or question.startswith(("I ", "I'", *DAYS)) or question[1:2].isupper()
        )
        question = lead + (question if keeps_capital else question[:1].lower() + question[1:])
    if rng.random() < 0.1 and not any(words in question for words in ("tell me", "please", "Please", "money")):
        question += rng.choice((" Thanks!", " Thank you.", " Thanks in advance.", " Please let me know."))
    if rng.random() < 0.28:
        question = question.lower()
    if rng.random() < 0.2:
        question = question.rstrip("?.!")
    return add_typos(question, rng, 0.05) if rng.random() < 0.1 else question


def vary_answer(answer: str, rng: random.Random, is_last: bool) -> str:
    """Return the answer, sometimes with a friendly opening or closing sentence."""
    words = answer.lower()
    negative = ("no,", "no ", "not", "n't", "nothing", "sorry", "afraid", "closed", "careful", "unfortunately", "only")
    if any(word in words for word in negative):
        return answer
    if not words.startswith("yes") and rng.random() < 0.12:
        return rng.choice(OPENINGS) + answer
    # A goodbye belongs to the end of a dialogue.
    return answer + rng.choice(CLOSINGS if is_last else CLOSINGS[1:]) if rng.random() < 0.12 else answer


def can_follow(short: str, questions: str, company: Company) -> bool:
    """Return whether a short question asks for something that earlier questions did not name."""
    if not short or short in NEW_TOPICS:
        return False
    subjects = (*DAYS, *NUMBERS, *(item.singular for item in company.items))
    if any(subject in short and subject in questions for subject in subjects):
        return False
    pairs = (("cheapest", "least"), ("dearest", "most expensive"))
    return not any(any(w in short for w in pair) and any(w in questions for w in pair) for pair in pairs)


def draw_follow_up(fact: Fact, questions: str, company: Company) -> Exchange | None:
    """Draw an exchange with a short question about the same fact, if one fits after the earlier questions."""
    for _ in range(8):
        exchange = fact.ask()
        if can_follow(exchange.short, questions, company):
            return Exchange(exchange.short, exchange.answer)
    return None


def link_question(exchange: Exchange, rng: random.Random) -> str:
    """Return the question as people ask it after another one."""
    if exchange.short in NEW_TOPICS and rng.random() < 0.5:
        return exchange.short
    if rng.random() < 0.3 and exchange.question.startswith(QUESTION_WORDS):
        return rng.choice(LINKS) + exchange.question[:1].lower() + exchange.question[1:]
    return exchange.question


def draw_dialogue(rng: random.Random) -> tuple[Message, ...]:
    """Draw a company and one to three exchanges about its facts, sometimes after a greeting."""
    company = Company(rng)
    messages = [Message("system", company.system_message())]
    if rng.random() < 0.15:
        greeting = rng.choice(GREETINGS)
        answers = GREETING_ANSWERS[-1:] if "Can you" in greeting or "minute" in greeting else GREETING_ANSWERS[:-1]
        messages += [Message("user", greeting), Message("assistant", rng.choice(answers).format(name=company.name))]
    may_greet = len(messages) == 1
    count = rng.choices((1, 2, 3), (45, 35, 20))[0]
    facts = rng.sample(company.facts, count)
    questions = ""
    for index in range(count):
        exchange = None
        if index and rng.random() < 0.35:
            exchange = draw_follow_up(facts[index - 1], questions, company)
        if exchange:
            facts[index] = facts[index - 1]
            question = exchange.question
        else:
            exchange = facts[index].ask()
            question = link_question(exchange, rng) if index else exchange.question
        questions += f" {question}"
        user_text = type_casually(question, rng, may_greet=may_greet and index == 0)
        answer = vary_answer(exchange.answer, rng, is_last=index == count - 1)
        messages += [Message("user", user_text), Message("assistant", answer)]
    return tuple(messages)


def business_dialogues(count: int, seed: int) -> Iterator[Conversation]:
    """Yield `count` dialogues with a company's assistant; the same seed gives the same dialogues."""
    rng = random.Random(seed)
    for _ in range(count):
        yield Conversation(draw_dialogue(rng), {"source": "business_dialogues"})
