"""Exported programs: equal to calling the program, and what is refused."""

import sys
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from demucs.htdemucs import HTDemucs
from onnx import TensorProto
from torch import Tensor, nn

from mdx_progressive.dsp.overlap_add import padded_slice
from mdx_progressive.runtime.errors import MdxError
from mdx_progressive.separators.demucs import DemucsSeparator
from mdx_progressive.separators.exported import ExportedSeparator
from tests.support.demucs_weights import save_safetensors, small_network
from tests.support.exported_programs import FIXED, OPEN, SEGMENT, Waves, example, exported, onnx_file, scripted
from tests.support.signals import RATE, SOURCES, noise

each_format = pytest.mark.parametrize("kind", FIXED)


def separator(program: Path, **settings: Any) -> ExportedSeparator:
    return ExportedSeparator(**{"sources": SOURCES, "sample_rate": RATE, "program": program, **settings})


def in_pieces(network: Callable[[Tensor], Tensor], mixture: Tensor) -> Tensor:
    """The network on one piece (channel, time) after the other; a short last one in the middle of its input."""
    pieces = []
    for start in range(0, mixture.shape[-1], SEGMENT):
        samples = min(SEGMENT, mixture.shape[-1] - start)
        margin = (SEGMENT - samples) // 2
        estimate = network(padded_slice(mixture, start - margin, SEGMENT)[None])[0]
        pieces.append(estimate[..., margin : margin + samples])
    return torch.cat(pieces, dim=-1)


def changed(model: onnx.ModelProto, location: str) -> onnx.ModelProto:
    """The program with its first weights in a file."""
    weights = model.graph.initializer[0]
    weights.ClearField("raw_data")
    weights.data_location = onnx.TensorProto.EXTERNAL
    weights.external_data.add(key="location", value=location)
    return model


class TestExported:
    def test_weights_beside_an_onnx_program_are_among_its_files(self, tmp_path: Path) -> None:
        inside = onnx_file(tmp_path / "inside.onnx", Waves())
        beside = partial(onnx.save, save_as_external_data=True, location="beside.onnx.data", size_threshold=0)
        beside(onnx.load(inside), tmp_path / "beside.onnx")

        found = separator(tmp_path / "beside.onnx")

        assert set(found.checksums) == {"beside.onnx", "beside.onnx.data"}
        torch.testing.assert_close(found(noise(0.25)[None]), separator(inside)(noise(0.25)[None]))

    @pytest.mark.parametrize("where", ["../other/secret.bin", "{folder}/other/secret.bin", "link.bin"])
    def test_weights_of_an_onnx_program_outside_its_folder_are_refused(self, tmp_path: Path, where: str) -> None:
        """It could show the bytes of any file as sound."""
        path = onnx_file(tmp_path / "net.onnx", Waves())
        (tmp_path / "other").mkdir()
        (tmp_path / "own").mkdir()
        (tmp_path / "other" / "secret.bin").write_bytes(bytes(4 * 8 * 2 * 9))
        (tmp_path / "own" / "link.bin").symlink_to("../other/secret.bin")
        onnx.save(changed(onnx.load(path), where.format(folder=tmp_path)), tmp_path / "own" / "net.onnx")

        with pytest.raises(MdxError, match=r"own/net\.onnx: no program could be loaded from it"):
            separator(tmp_path / "own" / "net.onnx")

    @pytest.mark.parametrize("dims", [[8, 2, 2**28], [8, 2, 10]])
    def test_weights_of_an_onnx_program_that_are_more_than_their_file_are_refused(
        self, tmp_path: Path, dims: list[int]
    ) -> None:
        model = onnx.load(onnx_file(tmp_path / "net.onnx", Waves()))
        (tmp_path / "net.bin").write_bytes(bytes(4 * 8 * 2 * 9))
        beside = changed(model, "net.bin")
        beside.graph.initializer[0].dims[:] = dims
        onnx.save(beside, tmp_path / "net.onnx")

        with pytest.raises(MdxError, match=r"net\.onnx: no program could be loaded from it"):
            separator(tmp_path / "net.onnx")

    @each_format
    @pytest.mark.parametrize("samples", [300, SEGMENT, 3 * SEGMENT, 3 * SEGMENT + 777])
    def test_equals_the_program_on_each_segment(self, tmp_path: Path, kind: str, samples: int) -> None:
        mixture = noise(1)[:, :samples]
        expected = in_pieces(Waves(), mixture)

        estimates = separator(FIXED[kind](tmp_path), overlap=0.0, segment=0.25)(mixture[None])[0]

        torch.testing.assert_close(estimates, expected, rtol=0, atol=1e-6)
        assert expected.std() > 0.1 * mixture.std()

    @each_format
    def test_a_program_for_any_shape_hears_the_whole_mixture(self, tmp_path: Path, kind: str) -> None:
        mixtures = torch.stack([noise(1.1, seed=seed) for seed in range(2)])

        whole = separator(OPEN[kind](tmp_path), batch_size=2)
        assert whole.segment is None
        torch.testing.assert_close(whole(mixtures), Waves()(mixtures), rtol=0, atol=1e-6)

        chosen = whole(mixtures, ["vocals", "drums"])
        torch.testing.assert_close(chosen, Waves()(mixtures)[:, [3, 0]], rtol=0, atol=1e-6)

    @each_format
    def test_a_program_for_any_shape_takes_the_segment_that_is_asked_for(self, tmp_path: Path, kind: str) -> None:
        mixture = noise(1.1)
        expected = in_pieces(Waves(), mixture)

        cut_up = separator(OPEN[kind](tmp_path), overlap=0.0, segment=0.25, batch_size=3)

        assert cut_up.segment == 0.25
        torch.testing.assert_close(cut_up(mixture[None])[0], expected, rtol=0, atol=1e-6)

    @pytest.mark.parametrize("kind", ["torch-export", "onnx"])
    def test_a_program_that_tells_its_length_needs_no_segment(self, tmp_path: Path, kind: str) -> None:
        program = FIXED[kind](tmp_path)
        mixture = noise(0.8)[None]

        told = separator(program)

        assert told.segment == SEGMENT / RATE
        torch.testing.assert_close(told(mixture), separator(program, segment=0.25)(mixture))

    @pytest.mark.parametrize("samples", range(30800, 30900, 7))
    def test_no_length_is_lost_to_rounding(self, tmp_path: Path, samples: int) -> None:
        program = onnx_file(tmp_path / "net.onnx", Waves(), time=samples)

        assert separator(program)(noise(1)[None]).isfinite().all()

    def test_a_program_for_a_fixed_batch_gets_it_whatever_the_number_of_segments(self, tmp_path: Path) -> None:
        mixture = noise(1.1)
        expected = in_pieces(Waves(), mixture)
        pair = exported(tmp_path / "pair.pt2", Waves(), example(Waves(), 2))

        for program in (pair, onnx_file(tmp_path / "pair.onnx", Waves(), batch=2), FIXED["onnx"](tmp_path)):
            estimates = separator(program, overlap=0.0, batch_size=3)(mixture[None])[0]
            torch.testing.assert_close(estimates, expected, rtol=0, atol=1e-6)

    def test_a_standardised_mixture_can_be_louder_without_a_change(self, tmp_path: Path) -> None:
        steady = separator(FIXED["onnx"](tmp_path), standardise=True)
        mixture = noise(0.6)[None]

        torch.testing.assert_close(steady(8 * mixture), 8 * steady(mixture), rtol=1e-4, atol=1e-5)

    def test_a_traced_htdemucs_is_that_htdemucs(self, tmp_path: Path) -> None:
        network = small_network(HTDemucs)
        mixture = noise(2.3)[None]
        expected = DemucsSeparator(weights=save_safetensors(network, tmp_path / "net.safetensors"), segment=1.0)
        program = tmp_path / "net.pt"
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # Tracing fixes the lengths, and is deprecated: both are known.
            torch.jit.save(torch.jit.trace(network, torch.zeros(1, 2, RATE), check_trace=False), program)

        traced = separator(program, segment=1.0, standardise=True)

        torch.testing.assert_close(traced(mixture), expected(mixture), rtol=0, atol=1e-6)

    def test_a_mono_program_hears_one_channel(self, tmp_path: Path) -> None:
        mono, mixture = Waves(sources=2, channels=1), noise(0.25, channels=1)[None]
        program = onnx_file(tmp_path / "net.onnx", mono)

        estimates = separator(program, sources=["speech", "noise"], channels=1, overlap=0.0)(mixture)

        torch.testing.assert_close(estimates, mono(mixture), rtol=0, atol=1e-6)

    def test_a_program_moves_with_the_tensors_that_it_makes_itself(self, tmp_path: Path) -> None:
        class Ramp(nn.Module):
            def forward(self, mixture: Tensor) -> Tensor:
                return (mixture * torch.linspace(0, 1, SEGMENT)).unsqueeze(1)

        ramp = separator(exported(tmp_path / "net.pt2", Ramp(), example(Waves())), sources=["all"])

        ramp.to("meta")

        assert ramp.networks[0]._run(torch.zeros(1, 2, SEGMENT, device="meta")).device.type == "meta"  # type: ignore[operator]

    def test_only_a_program_of_torch_export_is_compiled(self, tmp_path: Path) -> None:
        mixture = noise(0.6)[None]
        for program in (make(tmp_path) for make in FIXED.values()):
            compiled = separator(program, segment=0.25)
            expected = compiled(mixture)

            compiled.compile(backend="eager")

            torch.testing.assert_close(compiled(mixture), expected, rtol=0, atol=1e-6)


class Mix(nn.Module):
    def forward(self, mixture: Tensor) -> Tensor:
        return mixture


class Two(nn.Module):
    def forward(self, mixture: Tensor) -> tuple[Tensor, Tensor]:
        return mixture, mixture


class Quarter(nn.Module):
    def forward(self, mixture: Tensor) -> Tensor:
        return mixture.reshape(1, 1, 2, 11025)


class Sum(nn.Module):
    def forward(self, mixture: Tensor, other: Tensor) -> Tensor:
        return mixture + other


class TestRefusals:
    def test_an_output_of_another_shape_is_named_beside_the_expected_one(self, tmp_path: Path) -> None:
        programs = [scripted(tmp_path / "mix.pt", Mix()), exported(tmp_path / "mix.pt2", Mix(), example(Waves()))]
        for program in programs:
            with pytest.raises(
                MdxError, match=rf"{program.name}: expected .*\(1, 4, 2, 11025\).*found \(1, 2, 11025\)"
            ):
                separator(program, segment=0.25)(noise(0.25)[None])

    def test_another_number_of_sources_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(MdxError, match=r"expected .*\(1, 2, 2, 11025\).*found \(1, 4, 2, 11025\)"):
            separator(FIXED["onnx"](tmp_path), sources=["vocals", "rest"])(noise(0.25)[None])

    def test_a_program_with_two_outputs_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(MdxError, match=r"two\.pt: expected .*found tuple"):
            separator(scripted(tmp_path / "two.pt", Two()), segment=0.25)(noise(0.25)[None])

    def test_a_program_with_two_inputs_is_named(self, tmp_path: Path) -> None:
        program = tmp_path / "sum.pt2"
        waves = example(Waves())
        torch.export.save(torch.export.export(Sum(), (waves, waves)), program)

        with pytest.raises(MdxError, match=r"sum\.pt2: expected one input .*found .* and "):
            separator(program)

    @pytest.mark.parametrize("kind", ["torch-export", "onnx"])
    def test_another_number_of_channels_is_named(self, tmp_path: Path, kind: str) -> None:
        with pytest.raises(MdxError, match=r"expected .*\(batch, 1, time\), found \(1, 2, 11025\)"):
            separator(FIXED[kind](tmp_path), channels=1)

    @pytest.mark.parametrize("kind", ["torch-export", "onnx"])
    def test_a_segment_that_the_program_does_not_take_is_named(self, tmp_path: Path, kind: str) -> None:
        with pytest.raises(MdxError, match=r"net.*takes segments of 11025 samples \(0\.25 s .*not of 44100"):
            separator(FIXED[kind](tmp_path), segment=1.0)

    def test_a_program_that_fails_is_named_with_its_input(self, tmp_path: Path) -> None:
        with pytest.raises(MdxError, match=r"net\.pt: the program fails on .*\(1, 2, 22050\)") as caught:
            separator(scripted(tmp_path / "net.pt", Quarter()), segment=0.5)(noise(1)[None])
        assert "\n" not in str(caught.value)

    def test_an_onnx_file_of_another_type_is_named(self, tmp_path: Path) -> None:
        program = onnx_file(tmp_path / "net.onnx", Waves(), kind=TensorProto.DOUBLE)

        with pytest.raises(MdxError, match=r"net\.onnx.*(tensor\(float\)|type)"):
            separator(program)

    @pytest.mark.parametrize("suffix", [".pt", ".pt2", ".onnx"])
    @pytest.mark.parametrize("content", [b"", b"no program at all", b"\x00" * 4096])
    def test_a_broken_file_is_named(self, tmp_path: Path, suffix: str, content: bytes) -> None:
        program = tmp_path / f"net{suffix}"
        program.write_bytes(content)

        with pytest.raises(MdxError, match=rf"net\{suffix}: no program") as caught:
            separator(program)
        assert "\n" not in str(caught.value)

    def test_a_state_dict_is_no_program(self, tmp_path: Path) -> None:
        torch.save(Waves().state_dict(), tmp_path / "net.pt")

        with pytest.raises(MdxError, match=r"net\.pt: no program"):
            separator(tmp_path / "net.pt")

    @pytest.mark.parametrize(
        ("settings", "named"),
        [
            ({"program": None}, r"--model\.separator\.program"),
            ({"program": Path("gone.onnx")}, r"gone\.onnx: no such file"),
            ({"program": Path(__file__)}, r"test_exported\.py.*\.pt2"),
            ({"sources": []}, "sources"),
            ({"sources": ["vocals", "vocals"]}, "sources"),
            ({"sample_rate": 0}, "sample_rate"),
            ({"channels": 0}, "channels"),
            ({"segment": 0.0}, "segment"),
            ({"overlap": 1.0}, "overlap"),
            ({"batch_size": 0}, "batch_size"),
        ],
    )
    def test_a_setting_that_can_not_be_is_named(self, tmp_path: Path, settings: dict[str, Any], named: str) -> None:
        with pytest.raises(MdxError, match=named):
            separator(**{"program": OPEN["onnx"](tmp_path), **settings})

    def test_a_missing_onnxruntime_is_named(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "onnxruntime", None)

        with pytest.raises(MdxError, match=r'pip install "mdx_progressive\[onnx\]"'):
            separator(FIXED["onnx"](tmp_path))
