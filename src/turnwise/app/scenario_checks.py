"""Checks a scenario with all of its documents, also those that need a parser."""

from collections.abc import Iterator
from dataclasses import replace

from turnwise.chat.service_path.document_reader import DocumentReader
from turnwise.scenarios.checks import run_checks
from turnwise.scenarios.definition import ScenarioDefinition
from turnwise.scenarios.finding import Finding

DOCUMENT_CHECK = "unreadable_documents"


def check_scenario(scenario: ScenarioDefinition) -> list[Finding]:
    """Findings of all checks, errors first. A document that cannot be read is an error, and the others are checked.

    Raises:
        Unavailable: the parser of documents cannot be started.
    """
    read = DocumentReader().read(scenario.documents)
    texts = {document.path: result.text or None for document, result in read}
    documents = tuple(replace(entry, text=texts.get(entry.path, entry.text)) for entry in scenario.documents)
    findings = [
        *_document_findings((document.path, result.problem, result.warnings) for document, result in read),
        *run_checks(replace(scenario, documents=documents)),
    ]
    return sorted(findings, key=lambda finding: (finding.severity != "error", finding.file, finding.key))


def _document_findings(results: Iterator[tuple[str, str | None, tuple[str, ...]]]) -> Iterator[Finding]:
    for path, problem, warnings in results:
        if problem is not None:
            yield Finding("error", path, "", problem, DOCUMENT_CHECK)
        for sentence in warnings:
            yield Finding("warning", path, "", sentence, DOCUMENT_CHECK)
