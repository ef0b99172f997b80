"""A whole run: recipe in, model folder out.

While it works everything is in `OUT.partial`; `OUT` appears only when it is complete. A run that was killed goes on
from `OUT.partial` when the same recipe is run again.
"""

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from turnwise.core.errors import InvalidParameter, SaveFailed, UserError
from turnwise.core.files import write_file
from turnwise.models import checkpoint
from turnwise.models.checkpoint import LoadedModel
from turnwise.models.config import DecoderConfig
from turnwise.models.families import family
from turnwise.text.render import Renderer
from turnwise.text.tokenizer import Tokenizer
from turnwise.training import watch
from turnwise.training.artefact import save_artefact
from turnwise.training.card import model_card
from turnwise.training.dataset import Datasets, load_datasets
from turnwise.training.loop import Trainer
from turnwise.training.objectives import objective
from turnwise.training.recipe import NewModel, Recipe
from turnwise.training.report import Hook, Result, perplexity
from turnwise.training.samples import answers, before_and_after, keep_before
from turnwise.training.state import BEST, checkpoint_recipe


@dataclass(frozen=True)
class Base:
    """What a run starts from."""

    model: LoadedModel
    tokenizer: Tokenizer
    generation: dict[str, Any] | None


def work_folder(out: Path) -> Path:
    """Where a run keeps its things until it is complete."""
    return out.with_name(out.name + ".partial")


def load_base(recipe: Recipe) -> Base:
    """The model and tokenizer a recipe starts from.

    Raises:
        ModelNotFound: a folder that is not there or holds no model.
        InvalidParameter: a row longer than the model's context.
    """
    section = recipe.model
    if section.source is not None:
        folder = Path(section.source).expanduser()
        model = checkpoint.load(folder, dtype=torch.float32)
        tokenizer = Tokenizer.load(Path(section.tokenizer).expanduser() if section.tokenizer else folder)
        path = folder / "generation_config.json"
        generation = json.loads(path.read_text()) if path.is_file() else None
    else:
        assert section.new is not None
        assert section.tokenizer is not None
        tokenizer = Tokenizer.load(Path(section.tokenizer).expanduser())
        model = checkpoint.create(_new_config(section.new, tokenizer.vocab_size), seed=recipe.training.seed)
        generation = None
    context = model.decoder.config.context_length
    if recipe.training.row_length > context:
        raise InvalidParameter(
            "training.row_length",
            f"'row_length' is {recipe.training.row_length}, but the model's context holds {context} tokens.",
        )
    if tokenizer.vocab_size > model.decoder.config.vocab_size:
        raise UserError(
            f"The tokenizer has {tokenizer.vocab_size} tokens, the model only {model.decoder.config.vocab_size}: "
            "they do not belong together."
        )
    return Base(model, tokenizer, generation)


def _new_config(new: NewModel, vocab_size: int) -> DecoderConfig:
    """The family's own reading of these sizes, so that its switches (biases, norms) are what it publishes."""
    return family(new.family).read(
        {
            "vocab_size": vocab_size,
            "hidden_size": new.hidden_size,
            "intermediate_size": new.intermediate_size,
            "num_hidden_layers": new.num_layers,
            "num_attention_heads": new.num_heads,
            "num_key_value_heads": new.num_kv_heads,
            "head_dim": new.hidden_size // new.num_heads,
            "max_position_embeddings": new.context_length,
            "rope_theta": new.rope_theta,
            "rms_norm_eps": 1e-5,
            "tie_word_embeddings": True,
            "sliding_window": None,
        }
    )


def out_folder(recipe: Recipe) -> Path:
    """Where the finished model goes.

    Raises:
        InvalidParameter: that is no folder's name.
    """
    out = Path(recipe.out).expanduser()
    if out.name in ("", ".."):
        raise InvalidParameter("out", f"'out' must name a new folder, not '{recipe.out}'.")
    return out


def check_out(recipe: Recipe, *, overwrite: bool, restart: bool) -> Path:
    """The work folder; refuses to lose what is there unless told to.

    Raises:
        InvalidParameter: `out` exists, or the work folder holds an unfinished run of another recipe.
    """
    out = out_folder(recipe)
    work = work_folder(out)
    if out.exists() and not overwrite:
        raise InvalidParameter("out", f"{out} exists already. Choose another --out, or pass --overwrite to replace it.")
    if out.exists() and not (out / "config.json").is_file():
        raise InvalidParameter("out", f"{out} is not a model folder, so it is not replaced. Choose another --out.")
    begun = checkpoint_recipe(work)
    if begun not in (None, recipe.dump()) and not restart:
        raise InvalidParameter(
            "out",
            f"{work} holds an unfinished run of another recipe. Run that recipe again to go on with it, choose another "
            "--out, or pass --restart to throw it away.",
        )
    return work


def run_recipe(
    recipe: Recipe,
    *,
    overwrite: bool = False,
    restart: bool = False,
    hooks: Sequence[Hook] = (),
    on_data: Callable[[Datasets], None] = lambda _: None,
    on_item: Callable[[], None] = lambda: None,
    device: torch.device | None = None,
) -> Result:
    """Train as the recipe says and write the model folder.

    Args:
        recipe: what to do.
        overwrite: replace `out` where it exists, once the new model is complete.
        restart: throw an unfinished run away instead of going on with it.
        hooks: watchers beside the metrics file and TensorBoard.
        on_data: called once the data is loaded.
        on_item: called for every conversation read.
        device: where to train; None is the GPU where there is one.

    Raises:
        UserError: a recipe, model or data file that cannot work.
        SaveFailed: the disk refused.
        TurnwiseError: the loss is no longer a number.
    """
    work = check_out(recipe, overwrite=overwrite, restart=restart)
    how = objective(recipe.objective)
    base = load_base(recipe)
    renderer = Renderer.of(base.tokenizer)
    data = load_datasets(recipe, renderer, how, on_item)
    on_data(data)
    try:
        if restart:
            shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True, exist_ok=True)
        if checkpoint_recipe(work) is None:  # what a run left before its first checkpoint is of no use
            for name in (BEST, watch.TENSORBOARD):
                shutil.rmtree(work / name, ignore_errors=True)
        trainer = Trainer(
            recipe,
            base.model.decoder,
            data,
            how,
            work=work,
            hooks=[watch.MetricsFile(work), watch.TensorBoard(work), *hooks],
            device=device or torch.device("cuda" if torch.cuda.is_available() else "cpu"),
        )
        if trainer.state.step == 0:
            keep_before(work, answers(trainer.model, renderer, data.samples))
        result = trainer.run()
        after = answers(trainer.model, renderer, data.samples)
        result = replace(result, samples=before_and_after(work, data.samples, after))
        watch.draw_loss(work / watch.METRICS, work / "loss.png", title=out_folder(recipe).name)
        _save(recipe, base, result, data, work)
    except OSError as error:
        raise SaveFailed(
            f"Could not write in {work}: {error.strerror or error}. Mend that and run the same command again: it goes "
            "on from the last checkpoint."
        ) from error
    shutil.rmtree(work, ignore_errors=True)
    return result


def _save(recipe: Recipe, base: Base, result: Result, data: Datasets, work: Path) -> None:
    model = replace(base.model, decoder=base.model.decoder.cpu())
    summary = json.dumps(result_summary(result, data), indent=2, ensure_ascii=False)
    write_file(work / "result.json", summary + "\n")
    parameters = sum(parameter.numel() for parameter in model.decoder.parameters())
    card = model_card(recipe, result, parameters=parameters, train_tokens=data.train.tokens)
    names = (watch.METRICS, "loss.png", "result.json", watch.TENSORBOARD)
    save_artefact(
        out_folder(recipe),
        model,
        base.tokenizer,
        generation=base.generation,
        files={"recipe.yaml": recipe.dump(), "README.md": card, **{name: work / name for name in names}},
    )


def result_summary(result: Result, data: Datasets) -> dict[str, Any]:
    """What a run came to, as plain values."""
    losses = {
        f"{split}_{when}": getattr(result, f"{split}_{when}")
        for split in ("valid", "test")
        for when in ("before", "after")
    }
    return {
        "steps": result.steps,
        "best_step": result.best_step,
        "stopped_early": result.stopped_early,
        "seconds": round(result.seconds, 2),
        "useful_tokens": result.useful_tokens,
        "train_tokens": data.train.tokens,
        "skipped_rows": data.skipped,
        "loss": {name: loss for name, loss in losses.items() if loss is not None},
        "perplexity": {name: round(perplexity(loss), 3) for name, loss in losses.items() if loss is not None},
        "samples": [asdict(sample) for sample in result.samples],
    }
