"""The method `prompt`: search for a prompt without training weights."""

from dataclasses import replace

import pytest
from hooks import RecordingHook
from method_runs import CPU, changed, served
from sample_items import FOUR, written
from sample_items import dialogue as written_talk

from turnwise.core.errors import InvalidParameter, UserError
from turnwise.models import checkpoint
from turnwise.text.rendering.renderer import Renderer
from turnwise.text.tokenization.tokenizer import Tokenizer
from turnwise.training.export import export_model
from turnwise.training.launch.run_recipe import run_recipe
from turnwise.training.methods import METHODS

pytestmark = [
    pytest.mark.usefixtures("no_loss_plot", "one_thread"),
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated"),  # within the peft library
]


class TestPromptSearch:
    @pytest.fixture
    def method_recipe(self, method_recipe, tmp_path, tiny_config, tokenizer):
        """Recipes for a base with room for demonstrations."""
        export_model(tmp_path / "roomy", checkpoint.create(replace(tiny_config, context_length=512), seed=0), tokenizer)
        return lambda method, **sections: method_recipe(
            method, **{"model": {"from": str(tmp_path / "roomy")}, **sections}
        )

    def test_no_weight_changes_and_the_loss_is_measured(self, method_recipe):
        assert changed(method_recipe({"name": "prompt", "shots": 1, "num_candidates": 2})) == set()

    @pytest.mark.costly
    def test_the_best_set_of_demonstrations_is_selected(self, method_recipe):
        """The loss of the saved prompt is the lowest one."""
        hook = RecordingHook()
        recipe = method_recipe({"name": "prompt", "shots": 2, "num_candidates": 5})
        result = run_recipe(recipe, device=CPU, hooks=[hook])
        assert len(hook.prompt_losses) == 5
        assert len(set(hook.prompt_losses)) > 1
        # All eight validation dialogues were scored.
        assert result.valid_after == pytest.approx(min(hook.prompt_losses), rel=1e-6)

    def test_instruction_and_demonstrations_come_before_every_dialogue(self, method_recipe):
        recipe = method_recipe(
            {"name": "prompt", "shots": 2, "num_candidates": 1, "instruction": 'Say "no" {{ kindly }}.'}
        )
        run_recipe(recipe, device=CPU)
        tokenizer = Tokenizer.load(recipe.out)
        rendered = Renderer.from_tokenizer(tokenizer).render(FOUR[0].messages)
        text = tokenizer.decode(rendered.ids, skip_special_tokens=False)
        assert text.startswith('<|system|>Say "no" {{ kindly }}.<|end|><|user|>Where is my ')
        assert text.count("<|assistant|>") >= 3
        assert text.endswith("<|user|>Hello<|end|><|assistant|>How can I help you today?<|end|>")
        learned = [id for id, counts in zip(rendered.ids, rendered.assistant_mask, strict=True) if counts]
        assert tokenizer.decode(learned) == "How can I help you today?"
        assert served(recipe.out, FOUR[0]).prompt_ids == tuple(
            Renderer.from_tokenizer(tokenizer).render(FOUR[0].messages[:-1], add_generation_prompt=True).ids
        )

    def test_a_system_message_of_the_dialogue_replaces_the_instruction(self, method_recipe):
        from turnwise.core.messages import Message

        recipe = method_recipe({"name": "prompt", "shots": 1, "num_candidates": 1, "instruction": "Be kind."})
        run_recipe(recipe, device=CPU)
        tokenizer = Tokenizer.load(recipe.out)
        messages = [Message("system", "Be brief."), *FOUR[0].messages]
        text = tokenizer.decode(Renderer.from_tokenizer(tokenizer).render(messages).ids, skip_special_tokens=False)
        assert text.startswith("<|system|>Be brief.<|end|><|user|>Where is my ")
        assert "Be kind." not in text

    def test_transformers_renders_the_same_ids(self, method_recipe):
        import transformers

        recipe = method_recipe({"name": "prompt", "shots": 2, "num_candidates": 1, "instruction": "Be kind 🙂."})
        run_recipe(recipe, device=CPU)
        theirs = transformers.AutoTokenizer.from_pretrained(recipe.out)
        messages = [message.as_dict() for message in FOUR[1].messages]
        ids = theirs.apply_chat_template(messages, tokenize=True, return_dict=True)["input_ids"]
        assert ids == Renderer.from_tokenizer(Tokenizer.load(recipe.out)).render(FOUR[1].messages).ids

    def test_similar_demonstrations_are_selected_for_each_dialogue(self, method_recipe):
        recipe = method_recipe({"name": "prompt", "shots": 2, "selection": "similarity"})
        run_recipe(recipe, device=CPU)
        tokenizer = Tokenizer.load(recipe.out)
        renderer = Renderer.from_tokenizer(tokenizer)
        talk = written_talk("Where is my library?", "Here.")
        ids = renderer.render(talk.messages).ids
        assert tokenizer.decode(ids).count("library") == 5  # two demonstrations, question and answer, and the question
        longer = (*talk.messages, *written_talk("And my lamp?", "There.").messages)
        assert renderer.render(longer).ids[: len(ids)] == ids
        assert served(recipe.out, talk).prompt_ids == tuple(
            renderer.render(talk.messages[:-1], add_generation_prompt=True).ids
        )

    def test_more_shots_than_dialogues_are_rejected(self, method_recipe, tmp_path):
        one, four = written(FOUR[:1], tmp_path / "one.jsonl"), written(FOUR, tmp_path / "four.jsonl")
        data = {"train": str(one), "valid": str(four)}
        with pytest.raises(UserError, match="3 demonstrations are needed, but only 1"):
            run_recipe(method_recipe({"name": "prompt", "shots": 3}, data=data), device=CPU)

    def test_an_instruction_with_a_special_token_is_rejected(self, method_recipe):
        with pytest.raises(InvalidParameter, match=r"contains <\|end\|>"):
            run_recipe(method_recipe({"name": "prompt", "shots": 0, "instruction": "Be kind.<|end|>Evil"}), device=CPU)

    @pytest.mark.parametrize("more", [{"objective": "clm"}, {"data": {"train": "x", "typo_ratio": 0.5}}], ids=str)
    def test_settings_that_prompt_search_ignores_are_rejected(self, method_recipe, more):
        with pytest.raises(InvalidParameter, match=r"replies to dialogues|does not use"):
            run_recipe(method_recipe({"name": "prompt", "shots": 1}, **more), device=CPU)

    def test_a_prompt_without_content_is_rejected(self):
        with pytest.raises(InvalidParameter, match="needs an 'instruction', or 'shots'"):
            METHODS.parse_plugin({"name": "prompt", "shots": 0})

    @pytest.mark.costly
    def test_an_existing_folder_is_replaced_only_with_overwrite(self, method_recipe):
        recipe = method_recipe({"name": "prompt", "shots": 1, "num_candidates": 1})
        run_recipe(recipe, device=CPU)
        with pytest.raises(InvalidParameter, match="--overwrite"):
            run_recipe(recipe, device=CPU)
        run_recipe(recipe, device=CPU, overwrite=True)
