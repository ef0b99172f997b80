"""Pages of reports in tests."""

from html.parser import HTMLParser

HOSTILE = "a | b <script>alert(1)</script> `c` [d](javascript:e)\n# f\n![g](http://evil.example/h.png) \x1b\u202e"


class ParsedPage(HTMLParser):
    """The tags of a page with their attributes, its text, and the text of its first heading."""

    def __init__(self, source):
        super().__init__()
        self.source, self.tags, self.texts, self.heading, self.open_tags = source, [], [], "", []
        self.feed(source)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "link"):
            self.open_tags.append(tag)

    def handle_endtag(self, tag):
        assert self.open_tags.pop() == tag

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        if "style" not in self.open_tags:
            self.texts.append(data)
        if "h1" in self.open_tags:
            self.heading += data

    @property
    def text(self):
        return " ".join(" ".join(self.texts).split())
