"""Weights and YAML that are broken, of something else, or hostile: one line that names them, and nothing is run."""

import json
import pickle
import random
import re
import resource
import shutil
import struct
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
import yaml
from demucs.demucs import Demucs
from demucs.htdemucs import HTDemucs
from safetensors.torch import load_file, save_file
from torch import Tensor

from mdx_progressive.runtime.errors import MdxError
from mdx_progressive.separators.base import Separator
from mdx_progressive.separators.demucs import DemucsSeparator
from mdx_progressive.separators.exported import ExportedSeparator
from mdx_progressive.separators.open_unmix import OpenUnmixSeparator
from mdx_progressive.separators.roformer import RoFormerSeparator
from mdx_progressive.separators.spleeter import SpleeterSeparator
from mdx_progressive.separators.torchaudio import TorchaudioSeparator
from mdx_progressive.separators.weights.spleeter import convert
from tests.support import open_unmix_weights, roformer_weights
from tests.support.command import run
from tests.support.demucs_weights import save_pickle, save_safetensors
from tests.support.exported_programs import FIXED, SEGMENT
from tests.support.hostile_pickle import Hostile
from tests.support.paths import CONFIGS, STUDY
from tests.support.privileges import without_privileges
from tests.support.signals import RATE, SOURCES
from tests.support.spleeter_reference import DATA
from tests.support.torchaudio_weights import tiny_hdemucs

pytestmark = pytest.mark.usefixtures("tiny_torchaudio")
SPEECH = {"sample_rate": 16000, "nfft": 64, "nhop": 32, "nb_channels": 1}


class Case(NamedTuple):
    """A file that is spoilt, and what reads it.

    Args:
        write: Writes it, and what belongs to it, into a folder.
        load: Makes a separator of it.
        options: What the command makes a separator of it with, given its path.
    """

    write: Callable[[Path], Path]
    load: Callable[[Path], Separator]
    options: Callable[[Path], list[object]]


def demucs_network() -> Demucs:
    torch.manual_seed(0)
    return Demucs(SOURCES, channels=16, depth=1, lstm_layers=0, segment=2, samplerate=RATE)


def htdemucs_network() -> HTDemucs:
    torch.manual_seed(0)
    return HTDemucs(
        SOURCES, channels=8, growth=1, depth=2, nfft=512, bottom_channels=0, t_layers=1, t_heads=1,
        segment=Fraction(1), dconv_mode=0,
    )  # fmt: skip


def bag(folder: Path) -> Path:
    save_pickle(demucs_network(), folder / "net.th")
    (folder / "bag.yaml").write_text("models: [net, net]\nweights: [[1, 1, 0, 0], [0, 0, 1, 1]]\nsegment: 1.5\n")
    return folder / "bag.yaml"


def checkpoint(folder: Path, name: str) -> Path:
    shutil.copytree(DATA / "2stems", folder, dirs_exist_ok=True)
    return folder / name


def spleeter_safetensors(folder: Path) -> Path:
    path = folder / "spleeter.safetensors"
    convert("spleeter:2stems", ["vocals", "accompaniment"], DATA / "2stems", path)
    return path


def open_unmix(folder: Path, name: str) -> Path:
    network = open_unmix_weights.small_network(0, SPEECH["nfft"], SPEECH["nb_channels"], hidden_size=4)
    return open_unmix_weights.write(folder, {"speech": network.state_dict()}, SPEECH) / name


def roformer(folder: Path, name: str) -> Path:
    described = roformer_weights.description(
        "bs", ["vocals"], dim=4, dim_head=4, heads=1, freqs_per_bands=(2, 3, 60), stft_n_fft=128, stft_hop_length=32,
        stft_win_length=128, mask_estimator_depth=1,
    )  # fmt: skip
    described["audio"]["chunk_size"] = 3200
    files = roformer_weights.write(folder, described)
    save_file(torch.load(files["weights"], weights_only=True), str(folder / "model.safetensors"))
    return folder / name


def torchaudio(folder: Path) -> Path:
    torch.save(tiny_hdemucs().state_dict(), folder / "net.pt")
    return folder / "net.pt"


def separator_options(kind: type[Separator], **settings: object) -> list[object]:
    given = [(f"--model.separator.{name}", value) for name, value in settings.items()]
    return ["--model.separator", kind.__name__, *(part for option in given for part in option)]


def plain(write: Callable[[Path], Path], kind: type[Any], of: Callable[[Path], Path] = lambda path: path,
          **settings: object) -> Case:  # fmt: skip
    """A separator whose weights are this file, or its folder."""
    return Case(
        write,
        lambda path: kind(weights=of(path), **settings),
        lambda path: separator_options(kind, weights=of(path), **settings),
    )


def two_files(name: str, weights: str) -> Case:
    def settings(path: Path) -> dict[str, Any]:
        return {"config": path.with_name("config.yaml"), "weights": path.with_name(weights)}

    return Case(
        lambda folder: roformer(folder, name),
        lambda path: RoFormerSeparator(**settings(path)),
        lambda path: separator_options(RoFormerSeparator, **settings(path)),
    )


def program(kind: str) -> Case:
    return Case(
        FIXED[kind],
        lambda path: ExportedSeparator(SOURCES, RATE, path, SEGMENT / RATE),
        lambda path: [
            "--model.separator",
            CONFIGS / "separator" / "exported.yaml",
            "--model.separator.program",
            path,
            "--model.separator.segment",
            SEGMENT / RATE,
        ],
    )


CASES = {
    "demucs pickle": plain(lambda folder: save_pickle(demucs_network(), folder / "net.th"), DemucsSeparator),
    "demucs safetensors": plain(
        lambda folder: save_safetensors(htdemucs_network(), folder / "net.safetensors"), DemucsSeparator
    ),
    "demucs bag": plain(bag, DemucsSeparator, lambda path: path.parent),
    "torchaudio": plain(torchaudio, TorchaudioSeparator),
    "spleeter index": plain(
        lambda folder: checkpoint(folder, "model.index"), SpleeterSeparator, lambda path: path.parent
    ),
    "spleeter data": plain(
        lambda folder: checkpoint(folder, "model.data-00000-of-00001"), SpleeterSeparator, lambda path: path.parent
    ),
    "spleeter safetensors": plain(spleeter_safetensors, SpleeterSeparator),
    "open-unmix": plain(lambda folder: open_unmix(folder, "speech.pth"), OpenUnmixSeparator, iterations=0),
    "open-unmix description": plain(
        lambda folder: open_unmix(folder, "separator.json"), OpenUnmixSeparator, lambda path: path.parent, iterations=0
    ),
    "roformer yaml": two_files("config.yaml", "model.ckpt"),
    "roformer pickle": two_files("model.ckpt", "model.ckpt"),
    "roformer safetensors": two_files("model.safetensors", "model.safetensors"),
    "torchscript": program("torchscript"),
    "torch-export": program("torch-export"),
    "onnx": program("onnx"),
}
PICKLES = ["demucs pickle", "torchaudio", "open-unmix", "roformer pickle"]
SAFETENSORS = ["demucs safetensors", "spleeter safetensors", "roformer safetensors"]
BOMB = "\n".join(
    [
        "a0: &a0 [x, x, x]",
        *(f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 9)}]" for level in range(1, 10)),
        *("models: *a9", "training: *a9", "class_path: Progressive", "init_args: *a9"),
    ]
)
YAMLS = ["demucs bag", "roformer yaml"]


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> Case:
    return CASES[request.param]


def refusal(case: Case, path: Path) -> str:
    """The one line in which a file is refused."""
    with pytest.raises(MdxError) as caught:
        case.load(path)
    said = str(caught.value)
    assert "\n" not in said
    assert str(path) in said or str(path.parent) in said
    assert len(said) < 700
    return said


class TestBrokenFiles:
    def test_the_whole_ones_are_loaded(self, case: Case, tmp_path: Path) -> None:
        assert case.load(case.write(tmp_path)).sources

    @pytest.mark.parametrize(
        "keep",
        [lambda content: b"", lambda content: content[: len(content) // 2], lambda content: content[:-10]],
        ids=["nothing", "half", "all but the last bytes"],
    )
    def test_one_cut_short_is_named(self, case: Case, tmp_path: Path, keep: Callable[[bytes], bytes]) -> None:
        path = case.write(tmp_path)
        path.write_bytes(keep(path.read_bytes()))

        if case in [CASES[name] for name in YAMLS] and path.stat().st_size:
            path.write_bytes(path.read_bytes() + b"\n[")  # A YAML cut short may be another YAML.
        refusal(case, path)

    @pytest.mark.parametrize(
        "content",
        [b"not weights at all\n" * 9, (CONFIGS.parent / ".github" / "report.png").read_bytes(), bytes(5000)],
        ids=["text", "picture", "zeros"],
    )
    def test_something_else_is_named(self, case: Case, tmp_path: Path, content: bytes) -> None:
        path = case.write(tmp_path)
        path.write_bytes(content)

        refusal(case, path)

    def test_a_folder_in_its_place_is_named(self, case: Case, tmp_path: Path) -> None:
        path = case.write(tmp_path)
        path.unlink()
        path.mkdir()

        refusal(case, path)

    def test_one_that_may_not_be_read_is_named(
        self, case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = case.write(tmp_path)
        path.chmod(0)
        monkeypatch.chdir(tmp_path)

        with without_privileges():
            said = refusal(case, Path(path.name))

        assert "denied" in said.lower()
        assert path.name in said

    def test_the_command_says_so_in_one_line(
        self, case: Case, own_folder: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        path = case.write(own_folder)
        path.write_bytes(b"\xff" + path.read_bytes()[:40])

        assert run("test", "-c", STUDY, *case.options(path)) == 1

        *_, line = lines = capfd.readouterr().err.splitlines()
        assert len(lines) <= 2  # The first says what runs.
        assert line.startswith("mdx-progressive: error: ")
        assert path.name in line or str(path.parent) in line


def pickled_state(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """What a file of one of the PICKLES holds, and the state dict in it."""
    with torch.serialization.safe_globals([Demucs]):
        content = torch.load(path, weights_only=True)
    return content, content["state"] if path.suffix == ".th" else content


class TestOtherNetworks:
    @pytest.mark.parametrize("name", PICKLES)
    def test_the_weights_of_another_family_are_named_with_what_they_lack(self, tmp_path: Path, name: str) -> None:
        path = CASES[name].write(tmp_path)
        content, state = pickled_state(path)
        count = len(state)
        state.clear()
        state["layer.weight"] = torch.zeros(2)
        torch.save(content, path)

        said = refusal(CASES[name], path)

        assert "not the weights of" in said
        assert "lacks" in said
        assert name == "open-unmix" or f"lacks {count} tensors" in said

    @pytest.mark.parametrize("name", PICKLES)
    def test_missing_foreign_and_other_tensors_are_counted_and_named(self, tmp_path: Path, name: str) -> None:
        path = CASES[name].write(tmp_path)
        content, state = pickled_state(path)
        weights = [key for key, value in state.items() if value.is_floating_point()]
        other, *gone = weights[-1], weights[-2], weights[-3]
        for key in gone:
            del state[key]
        state[other], state["someone.else"] = torch.zeros(7, 7, 7), torch.zeros(1)
        torch.save(content, path)

        said = refusal(CASES[name], path)

        assert "lacks 2 tensors" in said
        assert all(key in said for key in gone)
        assert f"has in another shape 1 tensor ({other} [7, 7, 7] instead of [" in said
        assert ("has beyond it 1 tensor (someone.else)" in said) == (name != "open-unmix")

    @pytest.mark.parametrize("name", PICKLES)
    def test_a_tensor_without_a_name_is_refused(self, tmp_path: Path, name: str) -> None:
        path = CASES[name].write(tmp_path)
        content, state = pickled_state(path)
        state[3] = torch.zeros(1)  # type: ignore[index]
        torch.save(content, path)

        refusal(CASES[name], path)

    @pytest.mark.parametrize("name", SAFETENSORS)
    def test_so_are_those_in_safetensors(self, tmp_path: Path, name: str) -> None:
        path = CASES[name].write(tmp_path)
        change_tensors(path, lambda tensors: {key: value for key, value in tensors.items() if "weight" not in key})

        assert "lacks" in refusal(CASES[name], path)

    @pytest.mark.parametrize("value", [float("nan"), float("inf")])
    @pytest.mark.parametrize("name", [*PICKLES, *SAFETENSORS])
    def test_weights_that_are_not_finite_are_named(self, tmp_path: Path, name: str, value: float) -> None:
        path = CASES[name].write(tmp_path)
        if name in PICKLES:
            content, state = pickled_state(path)
            spoil(state, value)
            torch.save(content, path)
        else:
            change_tensors(path, lambda tensors: spoil(tensors, value))

        assert "not finite, in 1 tensor (" in refusal(CASES[name], path)

    def test_a_network_of_other_sizes_than_its_description_is_named(self, tmp_path: Path) -> None:
        case = CASES["roformer pickle"]
        path = case.write(tmp_path)
        config = tmp_path / "config.yaml"
        config.write_text(config.read_text().replace("dim: 4", "dim: 8"))

        said = refusal(case, path)

        assert str(config) in said
        assert "in another shape" in said


def change_tensors(path: Path, change: Callable[[dict[str, Tensor]], dict[str, Tensor]]) -> None:
    """Another content under the same metadata."""
    content = path.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    save_file(change(load_file(path)), str(path), json.loads(content[8 : 8 + length]).get("__metadata__"))


def spoil(state: dict[str, Tensor], value: float) -> dict[str, Tensor]:
    next(tensor for tensor in state.values() if tensor.is_floating_point()).view(-1)[0] = value
    return state


class TestHostileFiles:
    @pytest.mark.parametrize("old", [False, True], ids=["zip", "plain pickle"])
    @pytest.mark.parametrize("name", PICKLES)
    def test_a_pickle_that_would_act_is_refused_and_does_nothing(self, tmp_path: Path, name: str, old: bool) -> None:
        witness, path = tmp_path / "it ran", CASES[name].write(tmp_path)
        content, state = pickled_state(path)
        state["weight"] = Hostile(witness)  # type: ignore[assignment]
        path.write_bytes(pickle.dumps(Hostile(witness))) if old else torch.save(content, path)

        said = refusal(CASES[name], path)

        assert "refused" in said
        assert old or "asks for" in said
        assert not witness.exists()
        if not old:
            torch.load(path, weights_only=False)
            assert witness.exists(), "the file would not have acted anyway"

    @pytest.mark.parametrize("name", SAFETENSORS)
    @pytest.mark.parametrize(
        "header",
        [
            struct.pack("<Q", 2**63) + b"{}",
            struct.pack("<Q", 2**40) + b"{}",
            struct.pack("<Q", 9) + b"no header",
            *(
                struct.pack("<Q", len(text)) + text + bytes(8)
                for text in (
                    b'{"x": {"dtype": "F32", "shape": [1000000000000], "data_offsets": [0, 4000000000000]}}',
                    b'{"x": {"dtype": "F32", "shape": [1000000000000], "data_offsets": [0, 8]}}',
                    b'{"x": {"dtype": "F99", "shape": [2], "data_offsets": [0, 8]}}',
                    b'{"x": {"dtype": "F32", "shape": [-2], "data_offsets": [8, 0]}}',
                    b"[" * 10_000,
                )
            ),
        ],
        ids=["2^63 bytes", "1 TB", "no JSON", "terabytes", "another size", "another type", "negative", "deep"],
    )
    def test_a_header_that_lies_is_refused(self, tmp_path: Path, name: str, header: bytes) -> None:
        path = CASES[name].write(tmp_path)
        path.write_bytes(header)

        refusal(CASES[name], path)

    @pytest.mark.parametrize("name", SAFETENSORS)
    def test_a_header_of_empty_tensors_is_refused(self, tmp_path: Path, name: str) -> None:
        path = CASES[name].write(tmp_path)
        tensors = {str(number): {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for number in range(100_000)}
        header = json.dumps(tensors).encode()
        path.write_bytes(struct.pack("<Q", len(header)) + header)

        assert f"refused, its header tells of {len(header)} bytes" in refusal(CASES[name], path)

    @pytest.mark.parametrize("name", PICKLES + SAFETENSORS)
    def test_thousands_of_foreign_tensors_are_counted(self, tmp_path: Path, name: str) -> None:
        path = CASES[name].write(tmp_path)
        more = {f"more.{number}": torch.zeros(1) for number in range(5000)}
        if name in PICKLES:
            content, state = pickled_state(path)
            state.update(more)
            torch.save(content, path)
        else:
            change_tensors(path, lambda tensors: tensors | more)

        if name == "open-unmix":  # As openunmix does.
            assert CASES[name].load(path).sources
        else:
            assert re.search(r"beyond it 5000 tensors \(more|has weights for", refusal(CASES[name], path))

    @pytest.mark.parametrize(
        ("facts", "named"),
        [
            ({"klass": "os.system", "args": '["touch witness"]'}, "refused, it names the class os.system"),
            ({"klass": "demucs.htdemucs.HTDemucs.__init__"}, "refused, it names the class"),
            ({"structure": '{"_class": "os.system"}'}, "foreign class os.system"),
            ({"structure": '{"_class": "diffq.base.dataclass"}'}, "foreign class diffq.base.dataclass"),
            ({"structure": "[" * 100_000}, "no Demucs network"),
            ({"kwargs": '{"sources": ["x"], "channels": 10000000}'}, "refused, it asks for a network of more than"),
            ({"kwargs": '{"sources": ["x"], "depth": 1000000000, "growth": 1}'}, "net.safetensors"),
            ({"kwargs": '{"sources": ["x"], "t_layers": 1000000000}'}, "net.safetensors"),
            ({"kwargs": json.dumps({"sources": ["x"], "multi_freqs": [i / 1e5 for i in range(1, 10**5)]})},
             "refused, it asks for a network of more than"),
            ({"args": "3"}, "no Demucs network"),
            ({"kwargs": "[]"}, "no Demucs network"),
            ({"kwargs": '{"sources": "drums"}'}, "sources must be a list of names"),
            ({"kwargs": '{"sources": ["a", "a"]}'}, "sources must be different names"),
            ({"kwargs": '{"sources": ["../../a"]}'}, r"its source '../../a' can't be the name of a file"),
            ({"kwargs": '{"sources": ["x"], "samplerate": 0}'}, "sample rate must be"),
            ({"kwargs": '{"sources": ["x"], "samplerate": 10000000000}'}, "sample rate must be"),
            ({"kwargs": '{"sources": ["x"], "segment": Infinity}'}, "segment must be"),
            ({"kwargs": '{"sources": ["x"], "segment": {"_type": "fraction", "numerator": 1, "denominator": 0}}'},
             "no Demucs network"),
        ],
    )  # fmt: skip
    def test_metadata_that_lies_is_refused(self, tmp_path: Path, facts: dict[str, str], named: str) -> None:
        kind = "demucs.htdemucs.HTDemucs"
        path = tmp_path / "net.safetensors"
        small = {"sources": ["x"], "channels": 16, "depth": 1, "t_layers": 0}
        said = {"klass": kind, "args": "[]", "kwargs": json.dumps(small), **facts}
        if "kwargs" in facts and facts["kwargs"].startswith("{"):
            said["kwargs"] = json.dumps({**small, **json.loads(facts["kwargs"])})
        save_file({"x": torch.zeros(1)}, str(path), said)

        assert named in refusal(CASES["demucs safetensors"], path)
        assert not Path("witness").exists()

    @pytest.mark.parametrize("name", PICKLES)
    def test_a_tensor_larger_than_its_file_takes_no_memory(self, tmp_path: Path, name: str) -> None:
        path = CASES[name].write(tmp_path)
        content, state = pickled_state(path)
        for key, value in state.items():
            if value.ndim:  # A single number that is shown as terabytes, in the same number of dimensions.
                state[key] = torch.zeros(1).expand(10**12, *[1] * (value.ndim - 1))
        torch.save(content, path)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

        refusal(CASES[name], path)

        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2**20, "1 GiB"

    @pytest.mark.parametrize(
        ("text", "named"),
        [
            ("models: [../net]", "'../net'"),
            ("models: [/etc/passwd]", "'/etc/passwd'"),
            ("models: [net]\nmodules: [os]", "not modules"),
            ("models: [net]\nweights: [[1, 1, 1, x]]", "4 numbers of 0 or more"),
            ("models: [net]\nweights: [[1, 1, 1, .nan]]", "4 numbers of 0 or more"),
            (f"models: [net]\nweights: [[1, 1, 1, {10**400}]]", "4 numbers of 0 or more"),
            ("models: [net]\nweights: [[1, 1, 1, 0]]", "leave each source to one"),
            ("models: [net]\nweights: 3", "a row for each"),
            ("models: [net]\nsegment: long", "segment must be"),
            ("models: [net]\nsegment: 1.0e+20", "segment must be"),
            ("models: []", "no list of their names"),
            ("models: [[net]]", "no list of their names"),
            ("a: 2001-99-99", "month must be"),
            ("models: " + "[" * 5000, "not the description"),
        ],
    )
    def test_a_bag_that_lies_is_refused(self, tmp_path: Path, text: str, named: str) -> None:
        path = bag(tmp_path)
        path.write_text(text)

        assert named in refusal(CASES["demucs bag"], path)

    @pytest.mark.parametrize("name", YAMLS)
    @pytest.mark.parametrize(
        "tag",
        [
            "!!python/object/apply:os.system [touch witness]",
            "!!python/object/new:os.system [touch witness]",
            "!!python/name:os.system",
            "!!python/module:os",
            "!include /etc/passwd",
        ],
    )
    def test_tags_are_refused_and_do_nothing(
        self, own_folder: Path, name: str, tag: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = CASES[name].write(own_folder)
        path.write_text(f"{path.read_text()}\nmore: {tag}\n")

        assert "could not determine a constructor for the tag" in refusal(CASES[name], path)
        assert not Path("witness").exists()

    @pytest.mark.parametrize("name", YAMLS)
    def test_aliases_that_grow_into_billions_are_refused(self, tmp_path: Path, name: str) -> None:
        path = CASES[name].write(tmp_path)
        path.write_text(BOMB)

        assert "aliases" in refusal(CASES[name], path)

    def test_windows_of_a_roformer_that_would_take_gigabytes_are_refused(self, tmp_path: Path) -> None:
        path = roformer(tmp_path, "config.yaml")
        described = yaml.unsafe_load(path.read_text())
        described["model"].update(stft_n_fft=2**25, stft_win_length=128)
        described["audio"]["chunk_size"] = 2**26
        path.write_text(yaml.dump(described))

        assert "refused, stft_n_fft 33554432 is more than" in refusal(CASES["roformer yaml"], path)

    @pytest.mark.parametrize(
        ("section", "key", "value", "named"),
        [
            ("model", "dim", 10**6, "refused, dim 1000000 is more than the checkpoint has"),
            ("model", "dim", 10**9, "refused, dim 1000000000 is more than the checkpoint has"),
            ("model", "dim_head", 10**9, "refused, dim_head 1000000000 is more than"),
            ("model", "heads", 10**9, "refused, heads 1000000000 is more than"),
            ("model", "num_bands", 10**6, "refused, num_bands 1000000 is more than"),
            ("model", "mask_estimator_depth", 10**6, "refused, mask_estimator_depth 1000000 is more than"),
            ("model", "time_transformer_depth", 10**9, "refused, time_transformer_depth 1000000000 is more than"),
            ("model", "stft_n_fft", 2**40, "stft_n_fft must be"),
            ("model", "depth", 10**9, "refused, depth 1000000000 is more than the checkpoint has"),
            ("model", "freqs_per_bands", [2] * 10**4, "no BSRoformer can be made of it"),
            ("audio", "sample_rate", 10**12, "sample_rate must be"),
            ("audio", "chunk_size", -5, "chunk_size must be"),
            ("training", "instruments", ["../../vocals"], r"'../../vocals' can't be the name of a file"),
        ],
    )
    @pytest.mark.usefixtures("few_megabytes")
    def test_the_yaml_of_a_roformer_that_lies_is_refused(
        self, tmp_path: Path, section: str, key: str, value: object, named: str
    ) -> None:
        path = roformer(tmp_path, "config.yaml")
        described = yaml.unsafe_load(path.read_text())
        described[section][key] = value
        if key == "num_bands":
            del described["model"]["freqs_per_bands"]
        path.write_text(yaml.dump(described))

        assert named in refusal(CASES["roformer yaml"], path)

    @pytest.mark.parametrize(
        ("key", "value"), [("nfft", "1e999"), ("sample_rate", "1000000000000"), ("nhop", "0"), ("nfft", "[" * 100_000)]
    )
    def test_the_description_of_an_open_unmix_that_lies_is_refused(self, tmp_path: Path, key: str, value: str) -> None:
        path = open_unmix(tmp_path, "separator.json")
        facts = {name: str(number) for name, number in SPEECH.items()}
        path.write_text("{" + ", ".join(f'"{name}": {text}' for name, text in {**facts, key: value}.items()) + "}")

        refusal(CASES["open-unmix description"], path)


class TestYamlOfTheCommand:
    TAG = "!!python/object/apply:os.system [touch witness]"

    @pytest.mark.parametrize(
        "options",
        [
            ["-c", "given.yaml"],
            ["--data.dataset", "given.yaml"],
            ["--model.method", "given.yaml"],
            ["--model.method.schedule", "given.yaml"],
            ["--model.separator", "given.yaml"],
            ["--model.compare", "[given.yaml]"],
        ],
        ids=lambda options: options[0],
    )
    @pytest.mark.parametrize(
        "content",
        [
            TAG.encode(),
            b"class_path: Progressive\ninit_args:\n  steps: " + TAG.encode(),
            b"a: [",
            b"\x89PNG\r\n\x1a\n\0",
            BOMB.encode(),
            b"class_path: Progressive\ninit_args:\n  steps: " + b"1" * 5000,
            b"class_path: Progressive\ninit_args:\n  steps: [" + b"1, " * 30_000 + b"1]",
        ],
        ids=["tag", "tag within", "broken", "picture", "bomb", "digits", "list"],
    )
    def test_what_is_no_plain_yaml_is_named_in_one_line_and_does_nothing(
        self, own_folder: Path, capfd: pytest.CaptureFixture[str], options: list[str], content: bytes
    ) -> None:
        (own_folder / "given.yaml").write_bytes(content)

        assert run("test", "-c", STUDY, *options) == 2

        *_, line = lines = capfd.readouterr().err.splitlines()
        assert len(lines) <= 2  # The first says what runs.
        assert line.startswith("mdx-progressive: error: ")
        assert "given.yaml" in line or options[0].lstrip("-").split(".")[-1] in line
        assert not Path("witness").exists()

    @pytest.mark.parametrize("option", ["--data.dataset", "--model.method", "--model.separator"])
    def test_a_class_of_another_kind_is_refused(
        self, own_folder: Path, capfd: pytest.CaptureFixture[str], option: str
    ) -> None:
        Path("given.yaml").write_text("class_path: subprocess.Popen\ninit_args:\n  args: [touch, witness]\n")

        assert run("test", "-c", STUDY, option, "given.yaml") == 2

        assert len(capfd.readouterr().err.splitlines()) == 2  # The first says what runs.
        assert not Path("witness").exists()


def spoilt(content: bytes, chance: random.Random) -> bytes:
    """Bytes that are changed, cut out or put in between: more at the ends, where the headers stand."""
    data = bytearray(content)
    for _ in range(chance.choice((1, 1, 3, 10))):
        near = min(len(data), int(chance.expovariate(1 / 200)))
        place = chance.choice((near, len(data) - near, chance.randrange(len(data) + 1)))
        length = chance.choice((1, 2, 8, 100))
        block = chance.choice((chance.randbytes(length), b"9" * length, bytes(length)))
        end = chance.choice((place, place + length, place + 1000))
        data[place:end] = b"" if end == place + 1000 else block
    return bytes(data)


@pytest.mark.parametrize("count", [50, pytest.param(300, marks=pytest.mark.exhaustive)])
@pytest.mark.usefixtures("few_megabytes")
def test_any_random_corruption_is_refused_in_one_line_or_loaded(case: Case, count: int, tmp_path: Path) -> None:
    path = case.write(tmp_path)
    content, chance = path.read_bytes(), random.Random(0)  # noqa: S311 - to be repeated
    refused: list[str] = []

    for _ in range(count):
        path.write_bytes(spoilt(content, chance))
        try:
            case.load(path)
        except MdxError as error:
            refused.append(str(error))

    assert len(refused) > count / 3
    assert not any("\n" in line for line in refused)
