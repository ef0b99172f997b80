"""Helpers for tests of methods."""

from pathlib import Path

import torch

from turnwise.models import checkpoint
from turnwise.text.tokenization.tokenizer import Tokenizer
from turnwise.training.launch.run_recipe import run_recipe

CPU = torch.device("cpu")
SIZES = {"hidden_size": 32, "intermediate_size": 48, "num_layers": 2, "num_heads": 4, "context_length": 128}
LORA = {"name": "lora", "rank": 4}


def parameters(folder):
    return dict(checkpoint.load(folder, dtype=torch.float32).decoder.named_parameters())


def changed(recipe):
    """Run a recipe; return the names of the decoder's weights that changed."""
    run_recipe(recipe, device=CPU)
    before, after = parameters(Path(recipe.model.source)), parameters(Path(recipe.out))
    return {name for name in before if not torch.equal(before[name], after[name])}


def logits(folder, ids):
    model = checkpoint.load(folder, dtype=torch.float32).decoder
    with torch.inference_mode():
        return model.logits(model(torch.tensor([ids])))


def served(folder, talk, **more):
    """The generation request of a chat service over this folder for the dialogue without its last message."""
    from turnwise.app.chat_services import open_chat_service
    from turnwise.core.chat_request import ChatRequest

    with open_chat_service(str(folder), **more) as service:
        return service._request_builder.build_request(ChatRequest(talk.messages[:-1], sampling={"temperature": 0}))


def written_by_peft(base, folder):
    """Save an adapter made by peft, with separate factors for query and value; return peft's model."""
    import peft
    import transformers

    theirs = transformers.AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    config = peft.LoraConfig(r=3, lora_alpha=7, target_modules=["q_proj", "v_proj", "up_proj"], use_rslora=True)
    theirs = peft.get_peft_model(theirs, config)
    torch.manual_seed(0)
    with torch.no_grad():
        for name, parameter in theirs.named_parameters():
            if "lora_B" in name:
                parameter.normal_(0, 0.3)
    theirs.save_pretrained(folder)
    Tokenizer.load(base).save(folder)
    return theirs
