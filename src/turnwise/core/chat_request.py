"""The chat request: a conversation or a text, and how to answer it, in one part for each concern."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from turnwise.core.access import UNRESTRICTED, Principal
from turnwise.core.collected_answers import Consent
from turnwise.core.inference import PromptOutput
from turnwise.core.messages import Message
from turnwise.core.sampling_presets import SamplingPreset
from turnwise.core.scheduling_options import SchedulingOptions
from turnwise.core.token_distributions import DistributionQuery
from turnwise.core.tools import AUTO_TOOL_CHOICE, Tool, ToolChoice

ResponseFormatKind = Literal["json_object", "json_schema", "regex", "choice", "lark"]


@dataclass(frozen=True, slots=True)
class ResponseFormat:
    """The format that a response must have.

    Attributes:
        kind: notation of `source`.
        source: JSON schema, regular expression, list of choices or Lark grammar; None for any JSON object.
        param: request field that sets the format. Error messages name it.
    """

    kind: ResponseFormatKind
    source: Any = None
    param: str = "response_format"


@dataclass(frozen=True, slots=True)
class OutputOptions:
    """What a request returns.

    Attributes:
        n: number of choices to return.
        best_of: number of choices to generate; the best `n` are returned.
        is_ranked: the choices are the candidates of `best_of`: the last delta of a stream has their scores, if the
            service has a `ChoiceRanker`.
        format: response format.
        echo: start the continuation of a message with the message itself.
        prediction: expected response text. A correct prediction makes generation faster.
        prompt_output: what to return for the prompt itself. With "embedding" and "distribution" nothing is
            generated.
        prompt_only: process the prompt and generate nothing.
        distribution: which tokens to return of the distribution, with the prompt output "distribution".
        trace_search: return the tree of a beam search.
    """

    n: int = 1
    best_of: int = 1
    is_ranked: bool = False
    format: ResponseFormat | None = None
    echo: bool = False
    prediction: str | None = None
    prompt_output: PromptOutput = "nothing"
    prompt_only: bool = False
    distribution: DistributionQuery = field(default_factory=DistributionQuery)
    trace_search: bool = False

    @property
    def generates(self) -> bool:
        """False if only the prompt is processed."""
        return not self.prompt_only and self.prompt_output not in ("embedding", "distribution")


@dataclass(frozen=True, slots=True)
class ToolOptions:
    """Tools of a request.

    Attributes:
        definitions: tools that the prompt describes.
        choice: whether the model may or must call a tool, and which ones.
        parallel_calls: allow several tool calls in one choice.
    """

    definitions: tuple[Tool, ...] = ()
    choice: ToolChoice = AUTO_TOOL_CHOICE
    parallel_calls: bool = True

    @property
    def visible(self) -> tuple[Tool, ...]:
        """Tools that the prompt describes, including those that may not be called; none for mode "none"."""
        return () if self.choice.mode == "none" else self.definitions

    @property
    def callable(self) -> tuple[Tool, ...]:
        """Tools that the response may call."""
        names = self.choice.tool_names
        return tuple(tool for tool in self.visible if names is None or tool.name in names)


@dataclass(frozen=True, slots=True)
class ContextOptions:
    """How the messages become a prompt that fits into the context.

    Attributes:
        policy: policy for conversations longer than the context (`chat.context_policies`). None: the service's
            default.
        window: (first, last): use only the first and the last so many tokens of the rendered messages.
        chat_template_kwargs: extra variables for the chat template.
        continue_final_message: continue the last message instead of starting a new one.
        answer_ids: token ids that the answer starts with.
        answer_text: text of `answer_ids`, set by the service.
    """

    policy: str | None = None
    window: tuple[int, int] | None = None
    chat_template_kwargs: Mapping[str, Any] = field(default_factory=dict)
    continue_final_message: bool = False
    answer_ids: tuple[int, ...] = ()
    answer_text: str = ""


@dataclass(frozen=True, slots=True)
class ServiceOptions:
    """How the service path answers.

    Attributes:
        scenario: name of the scenario. None: the default of the server, if it has one.
        knowledge: names of knowledge bases to answer from, besides the documents of the scenario.
    """

    scenario: str | None = None
    knowledge: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """A request for the next message of a conversation, or for the continuation of a text.

    Attributes:
        messages: the conversation; empty if `prompt` is set.
        sampling: generation parameters that the request sets, by their names in `core.parameters.PARAMETER_SPECS`.
        conversation_id: stored conversation that receives the messages and the response. None: store nothing.
        prompt: text or token ids to continue without a chat template.
        preset: defaults for parameters that neither the request nor the model sets (`core.sampling_presets`).
        output: what to return.
        tools: tools that the model may call.
        context: how the messages become a prompt.
        scheduling: order and prefix-cache sharing.
        service: scenario and documents to answer from.
        principal: who asks, and so which conversations the request can reach.
        user: the person within the API key, as the client names them; stored with the messages.
        consent: what may be collected of the request and its answer; stored with the messages.
        is_routed: False if the request names the version of the model that answers; stored with the answer.
        generation_id: stored in the metadata of the answer, so that whoever asked finds it; None: nothing is stored.
        is_internal: the server asks for itself. The answer counts for no version and is not copied to a shadow version.
    """

    messages: tuple[Message, ...] = ()
    sampling: Mapping[str, Any] = field(default_factory=dict)
    conversation_id: str | None = None
    prompt: str | tuple[int, ...] | None = None
    preset: SamplingPreset = "api"
    output: OutputOptions = OutputOptions()
    tools: ToolOptions = ToolOptions()
    context: ContextOptions = ContextOptions()
    scheduling: SchedulingOptions = field(default_factory=SchedulingOptions)
    service: ServiceOptions = ServiceOptions()
    principal: Principal = UNRESTRICTED
    user: str | None = None
    consent: Consent = "full"
    is_routed: bool = True
    generation_id: str | None = None
    is_internal: bool = False

    @property
    def is_continuation(self) -> bool:
        """True if generation continues an existing text."""
        return self.context.continue_final_message or bool(self.context.answer_ids) or self.prompt is not None

    @property
    def continued_text(self) -> str:
        """Text that the response continues; empty if it starts a new message."""
        return self.messages[-1].content if self.context.continue_final_message else self.context.answer_text

    @property
    def prompt_field(self) -> str:
        """Name of the API field that holds the prompt. Error messages name it."""
        if self.output.prompt_output == "embedding":
            return "input"
        return "messages" if self.prompt is None else "prompt"
