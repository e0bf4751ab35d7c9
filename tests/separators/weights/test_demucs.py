"""Where Demucs's weights come from, and what is refused."""

import hashlib
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from demucs.apply import apply_model
from demucs.demucs import Demucs
from demucs.hdemucs import HDemucs
from demucs.htdemucs import HTDemucs
from demucs.states import load_model
from safetensors.torch import save_file

from mdx_progressive.runtime.errors import MdxError
from mdx_progressive.separators.demucs import DemucsSeparator
from tests.support.demucs_weights import normalised, save_pickle, save_safetensors, small_network
from tests.support.hostile_pickle import Hostile
from tests.support.signals import SOURCES, noise


def write_metadata(path: Path, **changes: str) -> Path:
    """A safetensors file whose metadata a stranger has written."""
    metadata = {"klass": "demucs.htdemucs.HTDemucs", "args": "[]", "kwargs": '{"sources": ["vocals"]}', **changes}
    save_file({"weight": torch.zeros(1)}, str(path), {name: text for name, text in metadata.items() if text})
    return path


def test_a_pickled_network_is_the_same_as_its_safetensors(tmp_path: Path) -> None:
    network = small_network(HTDemucs)
    mixture = noise(1)[None]

    pickled = DemucsSeparator(weights=save_pickle(network, tmp_path / "net.th"))
    safe = DemucsSeparator(weights=save_safetensors(network, tmp_path / "net.safetensors"))

    torch.testing.assert_close(pickled(mixture), safe(mixture))


def test_a_hostile_pickle_is_refused_and_not_run(tmp_path: Path) -> None:
    witness, path = tmp_path / "it ran", tmp_path / "net.th"
    torch.save({"klass": HTDemucs, "args": (), "kwargs": {}, "state": Hostile(witness)}, path)

    with pytest.raises(MdxError, match=r"net\.th: refused.*asks for"):
        DemucsSeparator(weights=path)
    assert not witness.exists()


def test_an_old_style_hostile_pickle_is_refused_and_not_run(tmp_path: Path) -> None:
    witness, path = tmp_path / "it ran", tmp_path / "net.th"
    path.write_bytes(pickle.dumps(Hostile(witness)))

    with pytest.raises(MdxError, match=r"net\.th"):
        DemucsSeparator(weights=path)
    assert not witness.exists()


@pytest.mark.parametrize("name", ["subprocess.Popen", "demucs.htdemucs.Path", "torch.nn.Linear", "HTDemucs"])
def test_a_foreign_class_in_the_metadata_is_refused(tmp_path: Path, name: str) -> None:
    path = write_metadata(tmp_path / "net.safetensors", klass=name)

    with pytest.raises(MdxError, match=f"refused, it names the class {name}"):
        DemucsSeparator(weights=path)


def test_a_foreign_class_in_the_structure_is_refused(tmp_path: Path) -> None:
    structure = json.dumps({"_dict": [["quantized", {"_list": [{"_class": "os.system"}]}]]})
    path = write_metadata(tmp_path / "net.safetensors", structure=structure)

    with pytest.raises(MdxError, match=r"foreign class os\.system"):
        DemucsSeparator(weights=path)


def test_a_quantised_network_says_what_it_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mdx_progressive.separators.weights.demucs.find_spec", lambda name: None)
    structure = json.dumps({"_dict": [["quantized", {"_class": "diffq.diffq.DiffQuantizer"}]]})
    path = write_metadata(tmp_path / "net.safetensors", structure=structure)

    with pytest.raises(MdxError, match=r"net\.safetensors.*pip install .*quantised"):
        DemucsSeparator(weights=path)


def flatten(node: object, tensors: dict[str, torch.Tensor]) -> object:
    """The inverse of `demucs.hf._unflatten_state`: a nested state as JSON beside its tensors."""
    if isinstance(node, torch.Tensor):
        tensors[str(len(tensors))] = node.contiguous()
        return {"_tensor": str(len(tensors) - 1)}
    if isinstance(node, dict):
        return {"_dict": [[key, flatten(value, tensors)] for key, value in node.items()]}
    if isinstance(node, list | tuple):
        return {f"_{type(node).__name__}": [flatten(value, tensors) for value in node]}
    if isinstance(node, type):
        return {"_class": f"{node.__module__}.{node.__name__}"}
    return node


@pytest.mark.parametrize("suffix", [".th", ".safetensors"])
def test_a_quantised_network_is_restored_as_demucs_does(tmp_path: Path, suffix: str) -> None:
    diffq = pytest.importorskip("diffq", reason="the extra `quantised` is not installed")
    network, mixture = small_network(Demucs), noise(2.5)
    args, kwargs = network._init_args_kwargs  # type: ignore[misc]
    state = diffq.DiffQuantizer(network, min_size=0.01).get_quantized_state()
    state["__quantized"] = True
    package = {"klass": Demucs, "args": args, "kwargs": kwargs, "state": state}
    path = tmp_path / f"net{suffix}"
    if suffix == ".th":
        torch.save(package, path)
    else:
        tensors: dict[str, torch.Tensor] = {}
        structure = json.dumps(flatten(state, tensors))
        facts = {"klass": "demucs.demucs.Demucs", "args": json.dumps(args), "kwargs": json.dumps(kwargs)}
        save_file(tensors, str(path), {**facts, "structure": structure})

    separator = DemucsSeparator(weights=path)

    reference = load_model(package)
    expected = normalised(lambda x: apply_model(reference, x, shifts=0, overlap=0.25), mixture)
    estimates = separator(mixture[None])[0]
    torch.testing.assert_close(estimates, expected, rtol=0, atol=1e-5)
    exact = small_network(Demucs).state_dict()
    assert any(not torch.equal(value, exact[name]) for name, value in reference.state_dict().items())


def repeated(state: dict[str, Any]) -> None:
    state["others"][0] = torch.zeros(1).expand(10**15)


def empty(state: dict[str, Any]) -> None:
    state["meta"]["torch_pack"] = True
    levels, limits, _ = state["quantized"][0]
    state["quantized"][0] = levels, limits, torch.zeros(0, 10**15, dtype=torch.long)


def broadcast_limits(state: dict[str, Any]) -> None:
    levels, _, bits = state["quantized"][0]
    state["quantized"][0] = levels, (torch.zeros(10**6, 1, 1), 1.0), bits


def broadcast_levels(state: dict[str, Any]) -> None:
    state["meta"]["packed"] = False
    state["quantized"][0] = torch.zeros(1, 10**6), (0.0, 1.0), torch.ones(10**6)


@pytest.mark.parametrize("lie", [repeated, empty, broadcast_limits, broadcast_levels])
def test_quantised_weights_that_would_grow_beyond_the_network_are_refused(
    tmp_path: Path, lie: Callable[[dict[str, Any]], None]
) -> None:
    diffq = pytest.importorskip("diffq", reason="the extra `quantised` is not installed")
    network = small_network(Demucs)
    args, kwargs = network._init_args_kwargs  # type: ignore[misc]
    state = {**diffq.DiffQuantizer(network, min_size=0.01).get_quantized_state(), "__quantized": True}
    lie(state)
    path = tmp_path / "net.th"
    torch.save({"klass": Demucs, "args": args, "kwargs": kwargs, "state": state}, path)

    with pytest.raises(MdxError, match=r"net\.th: refused, its quantised weights hold"):
        DemucsSeparator(weights=path)


def test_a_file_without_metadata_is_named_with_what_it_lacks(tmp_path: Path) -> None:
    path = write_metadata(tmp_path / "net.safetensors", klass="")

    with pytest.raises(MdxError, match=r"net\.safetensors.*lacks klass"):
        DemucsSeparator(weights=path)


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    path = save_safetensors(small_network(HDemucs), tmp_path / "net.safetensors")
    save_file({"weight": torch.zeros(1)}, str(path), {
        "klass": "demucs.hdemucs.HDemucs", "args": json.dumps([SOURCES]), "kwargs": '{"channels": 16}',
    })  # fmt: skip

    with pytest.raises(MdxError, match=r"net\.safetensors"):
        DemucsSeparator(weights=path)


@pytest.mark.parametrize("suffix", [".safetensors", ".th"])
@pytest.mark.parametrize("content", [b"", b"not weights at all", b"\x00" * 4096])
def test_a_broken_file_is_named(tmp_path: Path, suffix: str, content: bytes) -> None:
    path = tmp_path / f"net{suffix}"
    path.write_bytes(content)

    with pytest.raises(MdxError, match=f"net{suffix}"):
        DemucsSeparator(weights=path)


@pytest.mark.parametrize("suffix", [".safetensors", ".th"])
def test_a_truncated_file_is_named(tmp_path: Path, suffix: str) -> None:
    save = save_pickle if suffix == ".th" else save_safetensors
    path = save(small_network(HTDemucs), tmp_path / f"net{suffix}")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])

    with pytest.raises(MdxError, match=f"net{suffix}"):
        DemucsSeparator(weights=path)


def test_the_digits_in_a_name_are_checked(tmp_path: Path) -> None:
    path = save_pickle(small_network(HTDemucs), tmp_path / "net.th")
    digits = hashlib.sha256(path.read_bytes()).hexdigest()[:8]

    DemucsSeparator(weights=path.rename(tmp_path / f"net-{digits}.th"))
    altered = (tmp_path / f"net-{digits}.th").rename(tmp_path / "net-00000000.th")
    with pytest.raises(MdxError, match=f"{digits} and not with 00000000"):
        DemucsSeparator(weights=altered)


@pytest.mark.parametrize("name", ["missing.safetensors", "missing.th", "missing folder"])
def test_a_missing_file_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(MdxError, match=f"{name}.*no such file"):
        DemucsSeparator(weights=tmp_path / name)


def test_a_file_of_another_kind_is_named(tmp_path: Path) -> None:
    (tmp_path / "song.wav").write_bytes(b"RIFF")

    with pytest.raises(MdxError, match=r"song\.wav.*\.safetensors or \.th"):
        DemucsSeparator(weights=tmp_path / "song.wav")


def test_a_folder_with_one_network_or_one_bag_is_enough_and_with_more_the_name_chooses(tmp_path: Path) -> None:
    save_safetensors(small_network(HTDemucs), tmp_path / "net.safetensors")
    assert len(DemucsSeparator(weights=tmp_path).networks) == 1

    save_pickle(small_network(HTDemucs, seed=1), tmp_path / "other.th")
    with pytest.raises(MdxError, match=r"0 bags .* and 2 networks"):
        DemucsSeparator(weights=tmp_path)

    (tmp_path / "one.yaml").write_text("models: [net, other]\nsegment: 0.5\n")
    separator = DemucsSeparator(weights=tmp_path)
    assert len(separator.networks) == 2
    assert separator.segments == [0.5, 0.5]
    assert set(separator.checksums) == {"one.yaml", "net.safetensors", "other.th"}

    (tmp_path / "two.yaml").write_text("models: [other]\n")
    with pytest.raises(MdxError, match="2 bags"):
        DemucsSeparator(weights=tmp_path)
    assert len(DemucsSeparator(name="two", weights=tmp_path).networks) == 1


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("models: [net, gone]", "'gone'"),
        ("models: [net]\nweights: [[1, 1, 1]]", "4 numbers of 0 or more"),
        ("models: [net]\nweights: [[1, 1, 1, 1], [1, 1, 1, 1]]", "a row for each of the 1 networks"),
        ("weights: [[1]]", "description of a bag"),
        ("models: 3", "description of a bag"),
        ("models: [", "description of a bag"),
        ("models: !!python/object/apply:os.system [true]", "description of a bag"),
    ],
)
def test_a_bag_that_can_not_be_is_named(tmp_path: Path, text: str, named: str) -> None:
    save_safetensors(small_network(HTDemucs), tmp_path / "net.safetensors")
    (tmp_path / "bag.yaml").write_text(text)

    with pytest.raises(MdxError, match=rf"(bag\.yaml|bag).*{named}|{named}.*"):
        DemucsSeparator(weights=tmp_path)


@pytest.fixture
def hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the Hugging Face hub, and no way to the hub itself."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    return tmp_path


def test_a_name_is_loaded_from_the_cache_of_the_hub(hub_cache: Path) -> None:
    snapshot = hub_cache / "models--adefossez--HTDemucs-ft" / "snapshots" / "0123456789"
    snapshot.mkdir(parents=True)
    (snapshot.parents[1] / "refs").mkdir()
    (snapshot.parents[1] / "refs" / "main").write_text("0123456789")
    save_safetensors(small_network(HTDemucs), snapshot / "abc.safetensors")
    (snapshot / "htdemucs_ft.yaml").write_text("models: [abc]\n")

    separator = DemucsSeparator(name="htdemucs_ft")

    assert separator.sources == SOURCES
    assert separator.sample_rate == 44100


@pytest.mark.parametrize("name", ["htdemucs", "no/such model", "someone/their_model"])
def test_without_a_hub_the_error_says_what_was_looked_for_and_the_way_out(hub_cache: Path, name: str) -> None:
    with pytest.raises(MdxError, match=f"'{name}'.*local cache.*--model.separator.weights FILE") as caught:
        DemucsSeparator(name=name)
    assert "\n" not in str(caught.value)
