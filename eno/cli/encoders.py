"""What encoders there are, and their weights: ``encoders``, ``weights convert-laion``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from eno.cli.options import ConfigOption, SetOption, settings, shown
from eno.config import Settings
from eno.console import console

if TYPE_CHECKING:
    from eno.encoders.cards import Card

app = typer.Typer()
weights = typer.Typer(help="Bring weights into the form that eno loads.", no_args_is_help=True)
app.add_typer(weights, name="weights")


@app.command()
def encoders(config: ConfigOption = None, overrides: SetOption = None) -> None:
    """List the encoders: what they take and give, their licences, and whether their weights are here."""
    from eno.encoders.cards import CARDS, is_present

    cards = {(card.encoder, card.model): card for card in CARDS}
    for encoder, model in [*cards, *_configured(settings(config, overrides), set(cards)), ("hf", "")]:
        card = cards.get((encoder, model))
        here = "[green]here[/]" if is_present(encoder, model) else "[dim]not here[/]"
        shown_model = shown(model) or "[dim]hf:<id or folder>[/]" * (encoder == "hf")
        console.print(f"[bold]{encoder:<8}[/] {shown_model}  {here if model or card else ''}", soft_wrap=True)
        for line in _describe(card) if card else [_FROM_SETTINGS if model else _ANY_MODEL]:
            console.print(f"         {line}", soft_wrap=True)


_FROM_SETTINGS = "from your settings"
_ANY_MODEL = "AST, wav2vec 2.0, HuBERT, WavLM, Whisper, EnCodec; sizes and licence as its card says"


def _describe(card: Card) -> list[str]:
    values = f"{card.layers} × {card.dim}" if card.layers > 1 else str(card.dim)
    parts = [
        f"{card.sample_rate / 1000:g} kHz",
        f"windows of {card.window_s:g} s",
        f"{values} values" if card.dim else "one value a label",
    ]
    parts += [f"{card.megabytes} MB"] * bool(card.megabytes)
    weights = card.weights + " (non-commercial)" * (card.commercial is False)
    weights = weights if card.commercial else f"[yellow]{weights}[/]"
    lines = [", ".join(parts), f"code {card.code}, weights {weights}"]
    return [*lines, shown(card.note)] if card.note else lines


@weights.command("convert-laion")
def convert_laion(
    source: Annotated[Path, typer.Argument(help="Checkpoint of laion_clap, FILE.pt")],
    target: Annotated[Path, typer.Argument(help="Folder that receives the converted checkpoint")],
    tokenizer: Annotated[
        str, typer.Option(help="RoBERTa's tokenizer, which is not in the file: a folder, or an id on the hub")
    ] = "roberta-base",
    no_text: Annotated[bool, typer.Option("--no-text", help="Leave the tokenizer out: audio alone")] = False,
) -> None:
    """Convert a checkpoint of laion_clap to transformers' format and safetensors, without running code in it."""
    from eno.encoders import load_encoder
    from eno.encoders.clap.laion_checkpoint import convert_laion as convert

    convert(source, target, tokenizer=None if no_text else tokenizer)
    spec = load_encoder("clap", model=str(target), device="cpu").spec
    console.print(f"encoder {spec.label}: {spec.dim} values a window of {spec.window_s:g} s")
    console.print(f"use it  eno embed AUDIO --encoder clap --set clap.model={shown(target)}", soft_wrap=True)


def _configured(chosen: Settings, known: set[tuple[str, str]]) -> list[tuple[str, str]]:
    """Name the checkpoints that the settings ask for beside the known ones."""
    set_by_user = [
        (name, chosen.options_of(name).get("model")) for name in ("clap", "laion", "mert", "hf", "simple_cnn")
    ]
    return [(name, model) for name, model in set_by_user if model is not None and (name, model) not in known]
