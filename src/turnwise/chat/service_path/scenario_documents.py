"""The texts of a scenario that can answer a message, as passages, and the retriever that finds them by words.

A paragraph of a text or Markdown file is a passage; other formats are divided as in knowledge bases. Lines before a
paragraph that begin with `Q:` or `问：` are questions that it answers: they help to find it, and are no part of it,
unless it begins with `A:` or `答：`. A template's questions are the example messages of its intent.
"""

import hashlib
import logging
import re
from collections.abc import Iterator, Sequence

from turnwise.chat.service_path.document_reader import DocumentReader
from turnwise.chat.service_path.intent_labels import intent_label
from turnwise.core.retrieval import Passage, PassageLocation, RetrievedPassage
from turnwise.scenarios.definition import KnowledgeDocument, ScenarioDefinition
from turnwise.scenarios.field_types import localize
from turnwise.text.lexical_search import LexicalIndex

INTENT_KEY = "intent"  # in the metadata of a passage that is an answer template
QUESTIONS_KEY = "questions"  # in the metadata: messages that the passage answers, one per line

log = logging.getLogger("turnwise.chat")

_PARAGRAPH = re.compile(r"[^\n]+(?:\n[^\n]+)*")
_QUESTION = re.compile(r"(?:Q|问)[:：][ \t]*(\S.*)")
_ANSWER = re.compile(r"(?:A|答)[:：]")
_HEADING = re.compile(r"(#{1,6})\s+(\S.*)")


def document_passages(document: KnowledgeDocument) -> Iterator[Passage]:
    """The paragraphs of a text or Markdown file, with the headings above them; none for other formats."""
    text = document.text or ""
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    headings: list[tuple[int, str]] = []
    questions: list[str] = []
    for block in _PARAGRAPH.finditer(text):
        start, end = block.span()
        while start < end and (heading := _HEADING.match(text, start, end)) is not None:
            level = len(heading.group(1))
            headings = [entry for entry in headings if entry[0] < level]
            headings.append((level, heading.group(2).rstrip("# ")))
            start = min(end, heading.end() + 1)
            questions = []
        first_question = start
        while start < end and (question := _QUESTION.match(text, start, end)) is not None:
            questions.append(question.group(1))
            start = min(end, question.end() + 1)
        if _ANSWER.match(text, start, end):
            start = first_question
        if text[start:end].strip():
            path = tuple(title for _, title in headings)
            location = PassageLocation(digest, start, end, path)
            metadata = {"path": document.path, QUESTIONS_KEY: "\n".join(questions)}
            yield Passage(text[start:end], path[0] if path else document.path, metadata, location)
            questions = []


def passage_questions(passage: Passage) -> list[str]:
    """Messages that a passage answers."""
    return [line for line in passage.metadata.get(QUESTIONS_KEY, "").split("\n") if line]


def scenario_passages(
    definition: ScenarioDefinition, language: str, reader: DocumentReader | None = None
) -> list[Passage]:
    """The passages of a scenario's documents in a language.

    A document that cannot be read is left out, with a line in the log.
    """
    documents = [document for document in definition.documents if document.language in (None, language)]
    passages = [passage for document in documents for passage in document_passages(document)]
    for _, read in (reader or DocumentReader()).read(documents):
        passages += read.passages
        if read.problem is not None:
            log.warning("A document of the scenario %s is left out: %s", definition.name, read.problem)
    return passages


def template_passages(definition: ScenarioDefinition, language: str) -> Iterator[Passage]:
    """The answer templates that need no value of the customer, as passages.

    So they are found even if the intent of a message is uncertain. Their source is the title of the intent. Small talk
    is left out.
    """
    facts, default = definition.fact_values(language), definition.settings.default_language
    for name, by_language in definition.templates.items():
        if name not in definition.intents or not definition.intents[name].can_be_offered:
            continue
        examples = definition.intents[name].examples
        for template in localize(by_language, language, default):
            if set(template.slots) <= facts.keys():
                source = intent_label(definition, name, language)
                questions = "\n".join(" ".join(text.split()) for text in examples.get(language, ()))
                yield Passage(template.render(facts), source, {INTENT_KEY: name, QUESTIONS_KEY: questions})
                break


class ScenarioRetriever:
    """Finds passages of a scenario by their words and headings (implements `core.retrieval.Retriever`)."""

    def __init__(self, passages: Sequence[Passage]) -> None:
        self._passages = tuple(passages)
        self._index = LexicalIndex(_searched_text(passage) for passage in self._passages)

    def search(self, query: str, k: int) -> list[RetrievedPassage]:
        """At most `k` passages, best first."""
        return [RetrievedPassage(self._passages[m.index], m.score) for m in self._index.search(query, k)]


def _searched_text(passage: Passage) -> str:
    headings = () if passage.location is None else passage.location.headings
    return "\n".join([*headings, *passage_questions(passage), passage.text])
