"""Small RoFormers with random weights, written as the two files that people share."""

import warnings
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor, nn

KINDS: dict[str, dict[str, Any]] = {
    "bs": {"freqs_per_bands": (2, 2, 4, 8, 16, 32, 64, 128, 256, 513)},
    "mel": {"num_bands": 16, "sample_rate": 44100},
}
"""What tells the networks apart; people's have 60 bands or so."""
HOP, CHUNK = 441, 50 * 441
FOUR = ["drums", "bass", "other", "vocals"]


def description(kind: str, sources: list[str] = FOUR, **changes: Any) -> dict[str, Any]:
    """A YAML of msst, at small sizes; `changes` go into its section model."""
    model = {
        "dim": 16, "depth": 1, "stereo": True, "num_stems": len(sources),
        "time_transformer_depth": 1, "freq_transformer_depth": 1, **KINDS[kind], "dim_head": 8, "heads": 2,
        "attn_dropout": 0.1, "ff_dropout": 0.1, "flash_attn": True, "dim_freqs_in": 1025,
        "stft_n_fft": 2048, "stft_hop_length": HOP, "stft_win_length": 2048, "stft_normalized": False,
        "mask_estimator_depth": 2, "multi_stft_resolution_loss_weight": 1.0,
        "multi_stft_resolutions_window_sizes": (4096, 2048, 1024, 512, 256), "multi_stft_hop_size": 147,
        "multi_stft_normalized": False, "mlp_expansion_factor": 4, "use_torch_checkpoint": False,
        "skip_connection": False,
    }  # fmt: skip
    return {
        "audio": {"chunk_size": CHUNK, "sample_rate": 44100, "num_channels": 2, "min_mean_abs": 0.0},
        "model": {**model, **changes},
        "training": {"batch_size": 1, "instruments": list(sources), "target_instrument": None, "use_amp": True},
        "inference": {"batch_size": 1, "num_overlap": 2},
    }


def package_network(described: dict[str, Any], seed: int = 0) -> nn.Module:
    """The network of the packages themselves, with masks that are far from 0 and depend on the input."""
    mel = "num_bands" in described["model"]
    module, name = ("mel_band_roformer", "MelBandRoformer") if mel else ("bs_roformer", "BSRoformer")
    packages = import_module(f"{module}.utils")
    from ml_collections import ConfigDict

    described = {**described, "model": {"zero_dc": True, **described["model"], "flash_attn": False}}
    torch.manual_seed(seed)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "A window was not provided", UserWarning)
        network: nn.Module = packages.get_model_from_config(module, ConfigDict(described))
    assert type(network).__name__ == name
    with torch.no_grad():
        for parameter_name, parameter in network.mask_estimators.named_parameters():  # type: ignore[union-attr]
            if parameter_name.endswith("weight"):
                parameter.mul_(4)
    return network.eval()


def write(folder: Path, described: dict[str, Any], state: dict[str, Tensor] | None = None) -> dict[str, Any]:
    """Write both files; gives the arguments of the separator."""
    folder.mkdir(parents=True, exist_ok=True)
    config, weights = folder / "config.yaml", folder / "model.ckpt"
    # As msst's own files: with tags for the tuples.
    config.write_text(yaml.dump(described))
    torch.save(package_network(described).state_dict() if state is None else state, weights)
    return {"config": config, "weights": weights}
