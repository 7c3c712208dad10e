"""List encoders and convert weights: ``encoders``, ``weights convert-laion``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from eno.cli.commands import EMBEDDINGS, EnoGroup, command
from eno.cli.options import JsonOption, LibraryOptions, print_json, shown
from eno.console import console
from eno.library import Library

if TYPE_CHECKING:
    from eno.encoders.cards import Card

app = typer.Typer()
weights = typer.Typer(help="Convert pretrained weights.", no_args_is_help=True, cls=EnoGroup)
app.add_typer(weights, name="weights", rich_help_panel=EMBEDDINGS)

_ABSENT = {"simple_cnn": "[dim]not trained[/]"}
_FROM_SETTINGS = "from your settings"
_ANY_MODEL = "AST, wav2vec 2.0, HuBERT, WavLM, Whisper, EnCodec; see their model cards for licences"


@weights.callback()
def _weights() -> None:
    """Convert pretrained weights."""


@command(app, panel=EMBEDDINGS)
def encoders(where: LibraryOptions, as_json: JsonOption = False) -> None:
    """List the encoders, their sizes and licences, and whether their weights are downloaded."""
    from eno.encoders.cards import CARDS, is_present

    cards = {(card.encoder, card.model): card for card in CARDS}
    for encoder, model in [*cards, *_configured(where.open(), set(cards)), ("hf", "")]:
        card, present = cards.get((encoder, model)), is_present(encoder, model)
        if as_json:
            print_json({"encoder": encoder, "model": model, "present": present, **(asdict(card) if card else {})})
            continue
        here = "[green]available[/]" if present else _ABSENT.get(encoder, "[dim]not downloaded[/]")
        shown_model = shown(model) or "[dim]hf:<id or folder>[/]" * (encoder == "hf")
        console.print(f"[bold]{encoder:<8}[/] {shown_model}  {here if model or card else ''}", soft_wrap=True)
        for line in _describe(card) if card else [_FROM_SETTINGS if model else _ANY_MODEL]:
            console.print(f"         {line}", soft_wrap=True)


def _describe(card: Card) -> list[str]:
    values = f"{card.layers} × {card.dim}" if card.layers > 1 else str(card.dim)
    parts = [
        f"{card.sample_rate / 1000:g} kHz",
        f"windows of {card.window_s:g} s",
        f"{values} values" if card.dim else "one value per label",
    ]
    parts += [f"{card.megabytes} MB"] * bool(card.megabytes)
    weights = card.weights + " (non-commercial)" * (card.commercial is False)
    weights = weights if card.commercial else f"[yellow]{weights}[/]"
    lines = [", ".join(parts), f"code {card.code}, weights {weights}"]
    return [*lines, shown(card.note)] if card.note else lines


@command(weights, "convert-laion")
def convert_laion(
    source: Annotated[Path, typer.Argument(help="Checkpoint of laion_clap, a .pt file")],
    target: Annotated[Path, typer.Argument(help="Folder for the converted checkpoint")],
    tokenizer: Annotated[
        str,
        typer.Option(help="RoBERTa's tokenizer (not in the checkpoint): a folder, or an id on the Hugging Face hub"),
    ] = "roberta-base",
    no_text: Annotated[bool, typer.Option("--no-text", help="Convert without a tokenizer, for audio only")] = False,
) -> None:
    """Convert a laion_clap checkpoint to the format of transformers, without running code from it."""
    from eno.encoders import load_encoder
    from eno.encoders.clap.laion_checkpoint import convert_laion as convert

    convert(source, target, tokenizer=None if no_text else tokenizer)
    spec = load_encoder("clap", model=str(target), device="cpu").spec
    console.print(f"encoder {spec.label}: {spec.dim} values per window of {spec.window_s:g} s")
    console.print(f"use it  eno embed --encoder clap --set clap.model={shown(target)}", soft_wrap=True)


def _configured(library: Library, known: set[tuple[str, str]]) -> list[tuple[str, str]]:
    """List the checkpoints in the settings that are not in the table."""
    names = ("clap", "laion", "mert", "hf", "simple_cnn")
    configured = [(name, library.settings.options_of(name).get("model")) for name in names]
    return [(name, model) for name, model in configured if model is not None and (name, model) not in known]
