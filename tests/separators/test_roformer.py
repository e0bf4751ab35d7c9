"""RoFormers: equal to the packages' own `demix_track`, only the sources that are needed, and what is refused."""

import pickle
from importlib import import_module
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ml_collections import ConfigDict
from safetensors.torch import save_file
from torch import Tensor, nn

from mdx_progressive.data.batch import ChunkBatch
from mdx_progressive.dsp.blocks import join_blocks, plan_blocks
from mdx_progressive.runtime.errors import MdxError
from mdx_progressive.separators.roformer import RoFormerSeparator
from tests.support.hostile_pickle import Hostile
from tests.support.roformer_weights import CHUNK, FOUR, HOP, KINDS, description, package_network, write
from tests.support.signals import RATE, noise

each_kind = pytest.mark.parametrize("kind", KINDS)


def reference(described: dict[str, Any], mixture: Tensor) -> Tensor:
    """What the package itself makes of a mixture (channel, time)."""
    module = "mel_band_roformer" if "num_bands" in described["model"] else "bs_roformer"
    demix_track = import_module(f"{module}.utils").demix_track
    network = package_network(described)
    estimates, _ = demix_track(ConfigDict(described), network, mixture, torch.device("cpu"), first_chunk_time=0.0)
    return torch.stack([torch.from_numpy(estimate) for estimate in estimates.values()])


def normalized_reference(described: dict[str, Any], mixture: Tensor) -> Tensor:
    """What msst makes of a mixture (channel, time) with `inference.normalize: true`: the level is that of the song."""
    mono = mixture.numpy().mean(axis=0)
    mean, deviation = float(mono.mean()), float(mono.std())
    return reference(described, (mixture - mean) / deviation) * deviation + mean


def estimators(separator: RoFormerSeparator) -> nn.ModuleList:
    return separator.networks[0].mask_estimators.heads  # type: ignore[return-value, union-attr]


def pass_everything(described: dict[str, Any]) -> dict[str, Tensor]:
    """Weights by which every mask is 1."""
    network = package_network(described)
    with torch.no_grad():
        for head in network.mask_estimators:  # type: ignore[union-attr]
            for band in head.to_freqs:
                last = band[0][-1]
                last.weight.zero_()
                # Real and imaginary parts take turns, and the gates of the GLU follow them.
                last.bias.copy_(
                    torch.cat(
                        [torch.tensor([1.0, 0.0]).repeat(len(last.bias) // 4), torch.full((len(last.bias) // 2,), 50.0)]
                    )
                )
    return network.state_dict()


class TestRoFormer:
    @pytest.mark.filterwarnings("ignore:.*torch.cuda.amp.autocast:FutureWarning", "ignore:.*CUDA is not available")
    @each_kind
    @pytest.mark.parametrize(
        ("num_overlap", "lengths"),
        [
            (1, [777, CHUNK // 2 + 5, CHUNK, 2 * CHUNK + 99, 3 * CHUNK]),
            (2, [1, 777, CHUNK // 2 - 9, CHUNK - 1, CHUNK, CHUNK + 3000, 5 * CHUNK // 2]),
            (4, [777, CHUNK - 40, 2 * CHUNK, 3 * CHUNK + 17]),
        ],
    )
    def test_equals_demix_track(self, tmp_path: Path, kind: str, num_overlap: int, lengths: list[int]) -> None:
        # The package of Mel-Band networks has no zero_dc (see the tests of it).
        described = description(kind, zero_dc=kind == "bs")
        described["inference"]["num_overlap"] = num_overlap
        separator = RoFormerSeparator(**write(tmp_path, described), batch_size=3)

        for length in lengths:
            mixture = noise(2)[:, :length]
            expected = reference(described, mixture)
            torch.testing.assert_close(separator(mixture[None])[0], expected, rtol=0, atol=1e-6)
            assert length < HOP or expected.std() > 0.1 * mixture.std()

    @pytest.mark.filterwarnings("ignore:.*torch.cuda.amp.autocast:FutureWarning", "ignore:.*CUDA is not available")
    @each_kind
    def test_normalize_is_that_of_msst(self, tmp_path: Path, kind: str) -> None:
        described = description(kind, zero_dc=kind == "bs")
        described["inference"]["normalize"] = True
        separator = RoFormerSeparator(**write(tmp_path, described))

        for length in (777, CHUNK, 5 * CHUNK // 2):
            mixture = 0.1 + noise(2)[:, :length]
            expected = normalized_reference(described, mixture)
            torch.testing.assert_close(separator(mixture[None])[0], expected, rtol=0, atol=1e-5)
            # What it is without: 0 Hz is not the network's, so that an offset is lost.
            assert (reference(described, mixture) - expected).abs().max() > 0.02

    @pytest.mark.filterwarnings("ignore:.*torch.cuda.amp.autocast:FutureWarning", "ignore:.*CUDA is not available")
    def test_normalize_is_that_of_the_whole_song_in_blocks_too(self, tmp_path: Path) -> None:
        described = description("bs")
        described["inference"]["normalize"] = True
        separator = RoFormerSeparator(**write(tmp_path, described))
        reach = separator.receptive_field
        song = noise(5)
        song[:, RATE:] += 0.1  # It begins quietly, and is off balance later.
        song[:, :RATE] *= 0.02
        batch = ChunkBatch.of_waveforms(song[None], RATE, "song")
        batch.blocks = plan_blocks(song.shape[-1], RATE, reach)
        assert len(batch.blocks) > 2

        parts = [block.kept(separator(part.mixture, levels=part.levels)) for block, part in batch.split()]

        together = torch.cat(list(join_blocks(parts, reach.crossfade)), dim=-1)
        torch.testing.assert_close(together[0], normalized_reference(described, song), rtol=0, atol=1e-4)

    @each_kind
    def test_a_mask_of_one_gives_the_mixture_without_0_hz_unless_that_is_kept(self, tmp_path: Path, kind: str) -> None:
        mixture = 0.2 + noise(0.3)
        window = torch.hann_window(2048)
        for zero_dc, settings in ((True, {}), (True, {"zero_dc": True}), (False, {"zero_dc": False})):
            described = description(kind, ["all"], **settings)
            described["inference"]["num_overlap"] = 1
            separator = RoFormerSeparator(**write(tmp_path, described, pass_everything(described)))
            chunk = torch.nn.functional.pad(mixture, (0, CHUNK - mixture.shape[-1]), mode="reflect")
            spectrum = torch.stft(chunk, 2048, HOP, window=window, return_complex=True)
            spectrum[:, 0] *= not zero_dc
            expected = torch.istft(spectrum, 2048, HOP, window=window)[:, : mixture.shape[-1]]

            torch.testing.assert_close(separator(mixture[None])[0, 0], expected, rtol=0, atol=1e-5)

    @each_kind
    def test_only_the_sources_that_are_needed_are_computed(self, tmp_path: Path, kind: str) -> None:
        separator = RoFormerSeparator(**write(tmp_path, description(kind)))
        mixture = noise(CHUNK / RATE)[None]
        full = separator(mixture)
        ran: list[str] = []
        for name, head in zip(FOUR, estimators(separator), strict=True):
            head.register_forward_pre_hook(lambda *_, name=name: ran.append(name))

        torch.testing.assert_close(separator(mixture, ["other"])[0, 0], full[0, 2])
        assert set(ran) == {"other"}
        ran.clear()
        separator(torch.stack([mixture, mixture], dim=1)[:, :, 0], ["drums", "vocals"])
        assert set(ran) == {"drums", "vocals"}
        # Two chunks, each through both.
        assert len(ran) == 4

    @each_kind
    def test_a_target_instrument_is_the_only_source(self, tmp_path: Path, kind: str) -> None:
        alone, among = description(kind, ["vocals"]), description(kind)
        alone["training"].update(instruments=["vocals", "other"], target_instrument="vocals")
        among["training"]["target_instrument"] = "vocals"
        mixture = noise(0.7)[None]

        one = RoFormerSeparator(**write(tmp_path / "one", alone))
        assert one.sources == ["vocals"]
        assert one(mixture).shape == (1, 1, 2, mixture.shape[-1])

        four = RoFormerSeparator(**write(tmp_path / "four", description(kind)))
        chosen = RoFormerSeparator(**write(tmp_path / "four", among))
        assert chosen.sources == ["vocals"]
        assert len(estimators(chosen)) == 1
        torch.testing.assert_close(chosen(mixture), four(mixture)[:, 3:])

    def test_the_facts_are_those_of_the_yaml(self, tmp_path: Path) -> None:
        described = description("mel", stereo=False)
        described["audio"]["sample_rate"] = 48000
        described["inference"]["chunk_size"] = 60 * HOP

        separator = RoFormerSeparator(**write(tmp_path, described))

        assert "!!python/tuple" in (tmp_path / "config.yaml").read_text()
        assert separator.sources == FOUR
        assert (separator.sample_rate, separator.channels) == (48000, 1)
        assert separator.segment == 60 * HOP / 48000
        assert separator(noise(0.1, channels=1)[None]).shape == (1, 4, 1, 4410)

    def test_segment_and_num_overlap_take_the_place_of_those_of_the_yaml(self, tmp_path: Path) -> None:
        described = description("bs")
        files = write(tmp_path / "one", described)
        described["audio"]["chunk_size"], described["inference"]["num_overlap"] = 60 * HOP, 3
        expected = RoFormerSeparator(**write(tmp_path / "two", described))
        mixture = noise(1.5)[None]

        # The 60 frames are 0.6 s.
        changed = RoFormerSeparator(**files, segment=0.6, num_overlap=3)

        torch.testing.assert_close(changed(mixture), expected(mixture))

    def test_a_yaml_without_bands_is_that_of_a_bs_roformer(self, tmp_path: Path) -> None:
        described = description("bs")
        del described["model"]["freqs_per_bands"]
        state = package_network(described).state_dict()

        separator = RoFormerSeparator(**write(tmp_path, described, state))

        assert type(separator.networks[0]).__name__ == "BSRoformer"

    @each_kind
    def test_what_ran_before_does_not_matter(self, tmp_path: Path, kind: str) -> None:
        # Positions above 256 have no bfloat16 of their own, and the packages keep those of the first pass.
        described = description(kind, ["all"])
        described["audio"]["chunk_size"] = 700 * HOP
        files, mixture = write(tmp_path, described), noise(7)[None]
        expected = RoFormerSeparator(**files)(mixture)

        separator = RoFormerSeparator(**files)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            separator(mixture)

        torch.testing.assert_close(separator(mixture), expected)

    def test_making_one_leaves_the_random_numbers_alone(self, tmp_path: Path) -> None:
        files = write(tmp_path, description("bs"))
        torch.manual_seed(1)
        expected = torch.rand(3)

        torch.manual_seed(1)
        RoFormerSeparator(**files)

        assert torch.equal(torch.rand(3), expected)

    @each_kind
    def test_a_compiled_network_gives_the_same_for_any_sources(self, tmp_path: Path, kind: str) -> None:
        separator = RoFormerSeparator(**write(tmp_path, description(kind)))
        mixture = noise(0.5)[None]
        expected = separator(mixture)

        separator.compile(backend="eager")

        torch.testing.assert_close(separator(mixture), expected, rtol=0, atol=1e-6)
        torch.testing.assert_close(separator(mixture, ["bass"]), expected[:, 1:2], rtol=0, atol=1e-6)


class TestCheckpoints:
    @pytest.mark.parametrize(
        ("key", "prefix"),
        [(None, "module."), ("state", ""), ("state_dict", "model."), ("model_state_dict", "module.")],
    )
    def test_a_state_dict_is_found_where_people_put_it(self, tmp_path: Path, key: str | None, prefix: str) -> None:
        described, mixture = description("bs"), noise(0.3)[None]
        files = write(tmp_path, described)
        expected = RoFormerSeparator(**files)(mixture)
        state = {prefix + name: value for name, value in package_network(described).state_dict().items()}
        training = {"epoch": 3, "best_metric": np.float64(9.5), "all_metrics": {"sdr": {"vocals": np.float32(9.5)}}}

        torch.save(state if key is None else {key: state, **training}, files["weights"])

        torch.testing.assert_close(RoFormerSeparator(**files)(mixture), expected)

    def test_a_safetensors_file_is_the_same(self, tmp_path: Path) -> None:
        described, mixture = description("mel"), noise(0.3)[None]
        files = write(tmp_path, described)
        state = {name: value.clone() for name, value in package_network(described).state_dict().items()}
        save_file(state, str(tmp_path / "model.safetensors"))

        safe = RoFormerSeparator(config=files["config"], weights=tmp_path / "model.safetensors")

        torch.testing.assert_close(safe(mixture), RoFormerSeparator(**files)(mixture))

    def test_a_hostile_pickle_is_refused_and_not_run(self, tmp_path: Path) -> None:
        files, witness = write(tmp_path, description("bs")), tmp_path / "it ran"
        for content in (Hostile(witness), {"state_dict": Hostile(witness)}):
            torch.save(content, files["weights"])
            with pytest.raises(MdxError, match=r"model\.ckpt: refused.*asks for"):
                RoFormerSeparator(**files)
        files["weights"].write_bytes(pickle.dumps(Hostile(witness)))
        with pytest.raises(MdxError, match=r"model\.ckpt"):
            RoFormerSeparator(**files)
        assert not witness.exists()

    @pytest.mark.parametrize("suffix", [".ckpt", ".safetensors"])
    @pytest.mark.parametrize("content", [b"", b"not weights at all", b"\x00" * 4096])
    def test_a_broken_file_is_named(self, tmp_path: Path, suffix: str, content: bytes) -> None:
        files = write(tmp_path, description("bs"))
        files["weights"] = tmp_path / f"broken{suffix}"
        files["weights"].write_bytes(content)

        with pytest.raises(MdxError, match=rf"broken\{suffix}"):
            RoFormerSeparator(**files)

    def test_a_truncated_file_is_named(self, tmp_path: Path) -> None:
        files = write(tmp_path, description("bs"))
        content = files["weights"].read_bytes()
        files["weights"].write_bytes(content[: len(content) // 2])

        with pytest.raises(MdxError, match=r"model\.ckpt: no weights"):
            RoFormerSeparator(**files)

    @pytest.mark.parametrize("content", [[1, 2], {}, {"state": {"epoch": 3}}])
    def test_a_file_without_a_state_dict_is_named(self, tmp_path: Path, content: Any) -> None:
        files = write(tmp_path, description("bs"))
        torch.save(content, files["weights"])

        with pytest.raises(MdxError, match=r"model\.ckpt: not a state dict"):
            RoFormerSeparator(**files)

    @pytest.mark.parametrize(
        ("other", "named"),
        [
            (description("mel"), r"lacks \d+ tensors? \(\S+\); has beyond it \d+ tensors"),
            (description("bs", depth=2), r"has beyond it \d+ tensors \(layers\.1"),
            (description("bs", dim=32), r"has in another shape \d+ tensors \(\S+ \[.*\] instead of"),
            (description("bs", ["vocals"]), r"lacks \d+ tensors \(mask_estimators\.1"),
        ],
    )
    def test_weights_of_another_network_are_refused(self, tmp_path: Path, other: dict[str, Any], named: str) -> None:
        files = write(tmp_path, description("bs"), package_network(other).state_dict())

        with pytest.raises(MdxError, match=rf"model\.ckpt: not the weights of .*config\.yaml.*{named}"):
            RoFormerSeparator(**files)


class TestYaml:
    def changed(self, tmp_path: Path, kind: str, **changes: Any) -> dict[str, Any]:
        """Both files, with changes in sections of the YAML."""
        described = description(kind)
        state = package_network(described).state_dict()
        for section, keys in changes.items():
            described.setdefault(section, {}).update(keys)
        return write(tmp_path, described, state)

    @pytest.mark.parametrize(
        ("changes", "named"),
        [
            ({"model": {"mlp_expansion_factor": 2}}, "mlp_expansion_factor 2 is refused"),
            ({"model": {"skip_connection": True}}, "skip_connection True is refused"),
            ({"model": {"linear_transformer_depth": 1}}, "linear_transformer_depth 1 is refused"),
            ({"model": {"use_pope": True}}, "use_pope True is refused"),
            ({"model": {"num_residual_streams": 4}}, "no BSRoformer of msst has: num_residual_streams"),
            ({"model": {"freqs_per_bands": (2, 3)}}, "no BSRoformer can be made of it"),
            ({"model": {"freqs_per_bands": "many"}}, "no BSRoformer can be made of it"),
            ({"model": {"stft_hop_length": "441"}}, "stft_hop_length must be a whole number"),
            ({"model": {"num_stems": 2}}, "num_stems is 2, which does not fit"),
            ({"training": {"target_instrument": "piano"}}, "target_instrument piano"),
            ({"training": {"instruments": "vocals"}}, "instruments must be a list"),
            ({"audio": {"chunk_size": None}}, "has no chunk_size"),
            ({"audio": {"chunk_size": 22000}}, r"no multiple of stft_hop_length 441.*e\.g\. to 0\.490"),
            ({"audio": {"chunk_size": 2 * HOP}}, "at least 0.03 s"),
            ({"audio": {"sample_rate": -1}}, "sample_rate must be"),
            ({"inference": {"num_overlap": None}}, "has no num_overlap"),
            ({"inference": {"num_overlap": 2.5}}, "num_overlap must be a whole number"),
            ({"inference": {"normalize": "always"}}, "normalize must be true or false, not 'always'"),
        ],
    )
    def test_what_can_not_be_is_named(self, tmp_path: Path, changes: dict[str, dict[str, Any]], named: str) -> None:
        with pytest.raises(MdxError, match=named) as caught:
            RoFormerSeparator(**self.changed(tmp_path, "bs", **changes))
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize(
        "keys",
        [
            {"mlp_expansion_factor": 4, "skip_connection": False, "linear_transformer_depth": 0, "use_pope": False},
            {"flash_attn": False, "sage_attention": True, "use_torch_checkpoint": True},
            {"attn_dropout": 0.5, "ff_dropout": 0.5, "multi_stft_hop_size": 1, "match_input_audio_length": True},
        ],
    )
    @each_kind
    def test_keys_without_effect_change_nothing(self, tmp_path: Path, kind: str, keys: dict[str, Any]) -> None:
        mixture = noise(0.3)[None]
        expected = RoFormerSeparator(**self.changed(tmp_path / "plain", kind))(mixture)

        changed = RoFormerSeparator(**self.changed(tmp_path / "changed", kind, model=keys))(mixture)

        assert torch.equal(changed, expected)

    @pytest.mark.parametrize(
        "changes",
        [
            {"audio": {"dim_f": 1024, "dim_t": 801, "hop_length": 441, "n_fft": 2048, "min_mean_abs": 0.001}},
            {"inference": {"batch_size": 4, "dim_t": 1101, "normalize": False}},
            {"inference": {"normalize": None}},
            {"training": {"lr": 1e-4, "optimizer": "adam", "use_amp": False, "other_fix": True, "whatever": 1}},
            {"augmentations": {"enable": True}, "loss_multistft": {"w_sc": 0.0}, "optimizer": {"lr": 1.0}},
            {"lora": {"r": 8}},
        ],
    )
    def test_keys_of_training_and_those_that_msst_does_not_read_change_nothing_and_are_silent(
        self, tmp_path: Path, changes: dict[str, dict[str, Any]], caplog: pytest.LogCaptureFixture
    ) -> None:
        mixture = noise(0.3)[None]
        expected = RoFormerSeparator(**self.changed(tmp_path / "plain", "bs"))(mixture)

        changed = RoFormerSeparator(**self.changed(tmp_path / "changed", "bs", **changes))(mixture)

        assert torch.equal(changed, expected)
        assert not caplog.records

    @pytest.mark.parametrize(
        ("changes", "named"),
        [
            ({"inference": {"fade": 3}}, "inference.fade"),
            (
                {"audio": {"hop": 1, "mono": True}, "inference": {"use_tta": True, 3: 4}, "postprocess": {"gain": 2}},
                "audio.hop, audio.mono, inference.use_tta, inference.3, postprocess",
            ),
            ({"audio": {"num_channels": 1}}, "audio.num_channels (1, where model.stereo makes it 2)"),
        ],
    )
    def test_what_is_not_obeyed_is_said_in_one_line(
        self, tmp_path: Path, changes: dict[str, dict[str, Any]], named: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        files = self.changed(tmp_path, "bs", **changes)

        RoFormerSeparator(**files)

        assert [record.getMessage() for record in caplog.records] == [
            f"{files['config']}: not obeyed: {named}; if msst obeys it, its estimates are others"
        ]

    @pytest.mark.parametrize(
        "text",
        [
            "", "- a list", "model: [1]", "model: {dim: 16}", "training: {instruments: [vocals]}", "model: [",
            "model: !!python/object/apply:os.system [true]", "model: !!python/name:os.system",
        ],
    )  # fmt: skip
    def test_a_file_that_is_no_such_yaml_is_named(self, tmp_path: Path, text: str) -> None:
        files = write(tmp_path, description("bs"))
        files["config"].write_text(text)

        with pytest.raises(MdxError, match=r"config\.yaml: (not the|no) YAML of a RoFormer") as caught:
            RoFormerSeparator(**files)
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize(
        "settings", [{"num_overlap": 0}, {"num_overlap": CHUNK + 1}, {"segment": 0.0}, {"batch_size": 0}]
    )
    def test_a_setting_out_of_its_range_is_named(self, tmp_path: Path, settings: dict[str, Any]) -> None:
        with pytest.raises(MdxError, match=next(iter(settings))):
            RoFormerSeparator(**write(tmp_path, description("bs")), **settings)

    @pytest.mark.parametrize("missing", ["config", "weights"])
    def test_a_missing_file_is_named(self, tmp_path: Path, missing: str) -> None:
        files = write(tmp_path, description("bs"))

        with pytest.raises(MdxError, match="gone: no such file"):
            RoFormerSeparator(**{**files, missing: tmp_path / "gone"})
        with pytest.raises(MdxError, match=r"--model\.separator\.config FILE --model\.separator\.weights FILE"):
            RoFormerSeparator(**{**files, missing: None})

    @each_kind
    def test_a_missing_package_is_named(self, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
        def missing(package: str) -> str:
            raise PackageNotFoundError(package)

        files = write(tmp_path, description(kind))
        monkeypatch.setattr("mdx_progressive.separators.roformer_network.version", missing)

        with pytest.raises(MdxError, match=r'roformer-infer.*pip install "mdx_progressive\[roformer\]"'):
            RoFormerSeparator(**files)
