"""A package of another author with one plug-in of every kind, as it would be installed beside Turnwise."""

PARAMETERS = """
from turnwise.core.parameter_spec import ParameterSpec

PARAMETER = ParameterSpec("{name}", int, 0, "A parameter of another package.", minimum=0, neutral=0{more})
"""

MODULES = {
    "parameters.only_token": PARAMETERS.format(name="only_token", more=", sampling_only=True"),
    "parameters.never_token": PARAMETERS.format(name="never_token", more=""),
    "parameters.pick_rank": PARAMETERS.format(name="pick_rank", more=""),
    "warpers.only_token": """
import torch

ORDER = 99


def apply(logits_BV, value_B):
    for row, token_id in enumerate(value_B.tolist()):
        if token_id:
            kept = logits_BV[row, token_id].clone()
            logits_BV[row] = -torch.inf
            logits_BV[row, token_id] = kept
    return logits_BV
""",
    "processors.never_token": """
import torch

ORDER = 99


class NeverTokenProcessor:
    def __init__(self, token_id):
        self.token_id = token_id

    def apply(self, logits_V):
        logits_V[self.token_id] = -torch.inf

    def accept(self, token_id):
        pass

    def fork(self):
        return self


def start(request):
    token_id = request.params.value("never_token")
    return NeverTokenProcessor(token_id) if token_id else None
""",
    "searches.pick_rank": '''
from dataclasses import dataclass

from turnwise.core.inference import TokenEvent
from turnwise.engine.sampling.sampler import SequenceLogitsState


@dataclass
class Hypothesis:
    ids: tuple
    logits_state: SequenceLogitsState
    parent: int = 0


class RankSearch:
    """Takes the n-th most likely token at every step."""

    max_sequences = 1
    needs_hidden_states = False
    needs_prompt_outputs = False

    def __init__(self, request, rank):
        self.request, self.rank = request, rank
        self.hypotheses, self.is_done = [], False

    def restart(self):
        pass

    def observe_prompt(self, out_RX):
        pass

    def advance(self, out_LX, logits_of):
        token_id = int(out_LX[0].topk(self.rank).indices[-1])
        ids = self.hypotheses[0].ids if self.hypotheses else ()
        self.hypotheses = [Hypothesis((*ids, token_id), SequenceLogitsState(self.request))]
        self.is_done = len(ids) + 1 == self.request.max_tokens
        return [TokenEvent(token_id, "length" if self.is_done else None)]


def start(request):
    rank = request.params.value("pick_rank")
    return RankSearch(request, rank) if rank else None
''',
    "families.otter": """
from dataclasses import replace

from turnwise.models.families import llama

ARCHITECTURE = "OtterForCausalLM"
to_hf_config, weight_mappings = llama.to_hf_config, llama.weight_mappings


def from_hf_config(hf_config):
    return replace(llama.from_hf_config({**hf_config, "model_type": "llama"}), family="otter")
""",
    "tool_call_formats.arrow": """
from turnwise.text.tool_call_formats import ToolCallFormat

FORMAT = ToolCallFormat(marker="->", openings=("",), separator=" ", closing="")


def detect(template):
    return "->" in template
""",
    "context_policies.last_only": """
from turnwise.chat.context_policies import Truncated
from turnwise.core.chat_response import ContextReport


async def truncate(messages, budget):
    return Truncated(messages[-1:], ContextReport("last_only", dropped_messages=len(messages) - 1))
""",
    "scenario_checks.owls": """
from turnwise.scenarios.finding import warning


def check(scenario):
    yield warning("scenario.yaml", "title", "There is no owl.")
""",
    "erasers.diary": """
ORDER = 50


def export(subject, store):
    return {"diary_of": subject.id}


def erase(subject, store):
    return {"pages": 7}
""",
    "personal_data_detectors.owl_rings": """
import re

from turnwise.core.personal_data import PersonalSpan


def detect(text):
    for match in re.finditer(r"ring OWL-[0-9]+", text):
        yield PersonalSpan(match.start() + 5, match.end(), "account")
""",
    "interaction_formats.shouting": """
from turnwise.chat.interaction_format import InteractionFormat


class ShoutingFormat(InteractionFormat):
    def chat_template(self, tokenizer):
        body = "{% for m in messages %}{{ m.content | upper }}!{{ eos_token }}{% endfor %}"
        return self.turn_format().statement + body
""",
    "demonstration_selections.first": """
def select(pool, query, shots):
    return list(range(pool.size))[:shots]
""",
    "containers.dots": """
UNIT = "dot"


def sniff(sample):
    return 1.0 if sample.head.startswith(b"DOTS") else 0.0


def values(file, sample, rename_columns):
    for number, line in enumerate(file.read().decode().split("."), 1):
        if number > 1 and "=" in line:
            question, _, answer = line.partition("=")
            yield number, {"owl_asks": question.strip(), "owl_hears": answer.strip()}
""",
    "document_parsers.owl_notes": """
from turnwise.retrieval.parsed_document import Block


def detect(source):
    return 1.0 if source.head.startswith(b"HOOT") else 0.0


def parse(source, notes):
    for line in source.text_head.splitlines()[1:]:
        yield Block("paragraph", line)
""",
    "data_formats.owl": """
from turnwise.core.messages import Message
from turnwise.data.rows import make_conversation

EXPECTED = "owl_asks and owl_hears"
EXAMPLE = '{"owl_asks": "Who?", "owl_hears": "You."}'


def matches(value):
    return 1.0 if isinstance(value, dict) and "owl_asks" in value else 0.0


def parse(value, context):
    return make_conversation([Message("user", value["owl_asks"]), Message("assistant", value["owl_hears"])], {})
""",
    "objectives.first_half": '''
from turnwise.training.examples.batches import Example
from turnwise.training.objective import Objective
from turnwise.training.objectives.clm import text_ids


class FirstHalfObjective(Objective):
    """Cross-entropy on the first half of every text."""

    def examples(self, item, context):
        ids = text_ids(item, context)
        learned = [position < len(ids) // 2 for position in range(len(ids))]
        yield from Example.causal(ids, learned).split_windows(context.length)
''',
    "methods.norms_only": '''
from turnwise.training.method import Method


class NormsOnlyMethod(Method):
    """Trains normalization weights only."""

    SUMMARY = "train norms only"

    def prepare(self, base, seed):
        for name, parameter in base.model.module.named_parameters():
            parameter.requires_grad_("norm" in name)
        return base
''',
    "metrics.question_marks": """
from turnwise.evaluation.last_replies import last_reply_samples
from turnwise.evaluation.metric import Metric, statistics_array


class QuestionMarksMetric(Metric):
    SORT_ORDER = 900
    LABEL = "question marks"
    DESCRIPTION = "Question marks per reply."

    def samples(self, dialogues, seed):
        return last_reply_samples(dialogues)

    def statistics(self, samples, results):
        return statistics_array([(float(result.outputs[0].text.count("?")), 1.0) for result in results])
""",
    "gate_rules.never": """
from turnwise.evaluation.gate.rule import GateRule, RuleResult


class NeverRule(GateRule):
    def check(self, name, evidence):
        return RuleResult(name, False, None, None, "nothing passes")
""",
    "baselines.parrot": """
from turnwise.evaluation.samples import GenerationOutput


class ParrotBaseline:
    name = "parrot"

    def generate(self, queries, on_done):
        on_done(len(queries))
        return [GenerationOutput(query.history[-1].content, 1, "stop") for query, _ in queries]


def build(dialogues, model):
    return ParrotBaseline()
""",
    "store_backends.attic": """
from turnwise.store import sqlite


def open_conversations(url):
    return sqlite.open_conversations(url.replace("attic:", "sqlite:"))


def open_keys(url):
    return sqlite.open_keys(url.replace("attic:", "sqlite:"))


def open_response_cache(url):
    return sqlite.open_response_cache(url.replace("attic:", "sqlite:"))
""",
}


def install_extra_package(folder):
    """Write the package and its entry points to a folder that is on the import path."""
    groups = {}
    for path, source in MODULES.items():
        group, _, name = path.partition(".")
        file = folder / "extra" / group / f"{name}.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        (folder / "extra" / "__init__.py").touch()
        (file.parent / "__init__.py").touch()
        file.write_text(source)
        groups.setdefault(group, []).append(f"{name} = extra.{group}.{name}")
    info = folder / "extra_plugins-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: extra-plugins\nVersion: 1.0\n")
    sections = [f"[turnwise.{group}]\n" + "\n".join(points) for group, points in groups.items()]
    (info / "entry_points.txt").write_text("\n\n".join(sections) + "\n")
