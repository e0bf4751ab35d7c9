"""The contract that every family of separators keeps."""

import copy
import hashlib

import pytest
import torch
from torch import Tensor
from torchmetrics.functional.audio import signal_noise_ratio

from mdx_progressive.data.batch import ChunkBatch
from mdx_progressive.dsp.blocks import join_blocks, plan_blocks
from mdx_progressive.runtime.errors import MdxError
from mdx_progressive.separators.base import Separator
from mdx_progressive.separators.batch_size import BatchSizeFinder
from mdx_progressive.separators.committee import Cascade, Committee
from mdx_progressive.separators.spleeter import SpleeterSeparator
from tests.support.families import FAMILIES
from tests.support.signals import RATE, noise


@pytest.fixture(scope="module", params=FAMILIES)
def separator(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Separator:
    """One separator of every family."""
    return FAMILIES[request.param](tmp_path_factory.mktemp("weights"))


@pytest.mark.parametrize("samples", [1, 2, 777, 5000, RATE, 5 * RATE // 2])
def test_any_length(separator: Separator, samples: int) -> None:
    estimates = separator(noise(3)[None, :, :samples])

    assert estimates.shape == (1, len(separator.sources), 2, samples)
    assert estimates.isfinite().all()


def test_a_mono_mixture_is_a_stereo_one_with_equal_channels(separator: Separator) -> None:
    mono = noise(1, channels=1)[None]

    estimates = separator(mono)

    assert estimates.shape[2] == 1
    expected = separator(mono.expand(-1, 2, -1)).mean(dim=2, keepdim=True)
    torch.testing.assert_close(estimates, expected)


def test_silence_in_silence_out(separator: Separator) -> None:
    assert separator(torch.zeros(1, 2, RATE)).abs().max() < 1e-6


def test_a_batch_gives_what_its_items_give_alone(separator: Separator) -> None:
    batch = torch.stack([noise(1.5, seed=seed, level=0.05 * (seed + 1)) for seed in range(3)])

    together = separator(batch)

    for item, mixture in enumerate(batch):
        torch.testing.assert_close(together[item], separator(mixture[None])[0], rtol=0, atol=1e-5)


def test_what_the_memory_does_not_hold_at_once_is_halved(
    separator: Separator, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    if isinstance(separator, Committee | Cascade):
        pytest.skip("its members have a batch size of their own")
    batch = torch.stack([noise(0.4, seed=seed) for seed in range(2)])
    expected = separator(batch)
    monkeypatch.setattr(separator, "batch_size", 2)

    def refuse(network: object, inputs: tuple[Tensor, ...]) -> None:
        if len(inputs[0]) > 1:
            raise torch.OutOfMemoryError("more than one")

    hooks = [network.register_forward_pre_hook(refuse) for network in separator.networks]
    found = separator(batch)
    for hook in hooks:
        hook.remove()
    separator._batch_size_finder = BatchSizeFinder()

    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    assert [record.getMessage() for record in caplog.records] == [
        "2 segments at once do not fit into the memory of cpu: continuing with 1"
    ]


def test_targets_give_the_same_as_the_full_output(separator: Separator) -> None:
    mixture = noise(1.2)[None]
    full = separator(mixture)

    chosen = separator(mixture, [separator.sources[-1], separator.sources[0]])

    torch.testing.assert_close(chosen, full[:, [-1, 0]], rtol=0, atol=1e-6)


def test_shifts_are_spread_over_the_stride_of_its_segments(separator: Separator) -> None:
    if isinstance(separator, Committee | Cascade):
        assert separator.shift_span == max(member.shift_span for member in separator._each())
        return
    whole_songs = separator.segment is None and not isinstance(separator, SpleeterSeparator)
    stride = separator.receptive_field.grid / separator.sample_rate

    assert separator.shift_span == (separator.context if whole_songs else stride)
    assert separator.segment is None or 0 < separator.shift_span <= separator.segment


def test_a_target_in_another_case_is_the_same(separator: Separator) -> None:
    for number, source in enumerate(separator.sources):
        assert separator.target_indices([source]) == separator.target_indices([source.upper()]) == [number]


def test_each_target_can_have_a_mixture_of_its_own(separator: Separator) -> None:
    targets = separator.sources[:2]
    mixtures = torch.stack([torch.stack([noise(1, seed=2 * n), noise(1, seed=2 * n + 1)]) for n in range(2)])

    estimates = separator(mixtures, targets)

    for item in range(2):
        for number, target in enumerate(targets):
            alone = separator(mixtures[item, number][None], [target])[0, 0]
            torch.testing.assert_close(estimates[item, number], alone, rtol=0, atol=1e-5)


def test_some_targets_can_have_a_mixture_in_common(separator: Separator) -> None:
    mixtures = torch.stack([torch.stack([noise(1, seed=2 * n), noise(1, seed=2 * n + 1)]) for n in range(2)])
    input_index = [1, *[0] * (len(separator.sources) - 1)]

    estimates = separator(mixtures, input_index=input_index)

    for number in (0, 1):
        alone = separator(mixtures[:, number])
        for place in (place for place, heard in enumerate(input_index) if heard == number):
            torch.testing.assert_close(estimates[:, place], alone[:, place], rtol=0, atol=1e-5)


@pytest.mark.parametrize("input_index", [[0], [0, 0], [0, 2], [0, -1]])
def test_inputs_that_are_not_there_or_that_nothing_is_heard_in_are_refused(
    separator: Separator, input_index: list[int]
) -> None:
    targets = separator.sources[:2]

    with pytest.raises(MdxError, match=r"each of 2 targets one of 2 inputs .*, not \[.*\]"):
        separator(torch.stack([noise(0.1), noise(0.1)])[None], targets, input_index)


def test_the_checksums_of_its_files_tell_which_weights_it_has(separator: Separator) -> None:
    assert separator.files
    members = [*separator._each()] if isinstance(separator, Committee | Cascade) else []
    named = [(f"{number} {file.name}", file) for number, each in enumerate(members, 1) for file in each.files]
    named = named or [(file.name, file) for file in separator.files]
    assert separator.checksums == {name: hashlib.sha256(file.read_bytes()).hexdigest() for name, file in named}


def test_nothing_changes(separator: Separator) -> None:
    mixture = noise(1)[None]
    before, state = mixture.clone(), {name: value.clone() for name, value in separator.state_dict().items()}

    separator.train()
    estimates = separator(mixture)

    assert torch.equal(mixture, before)
    assert not estimates.requires_grad
    assert not any(module.training for module in separator.modules())
    assert not any(parameter.requires_grad for parameter in separator.parameters())
    for name, value in separator.state_dict().items():
        assert torch.equal(value, state[name]), name


def test_any_number_of_segments_a_forward_pass_gives_the_same(separator: Separator) -> None:
    batch = torch.stack([noise(3, seed=seed) for seed in range(2)])
    expected = separator(batch)

    before, separator.batch_size = separator.batch_size, 3
    try:
        torch.testing.assert_close(separator(batch), expected, rtol=0, atol=1e-5)
    finally:
        separator.batch_size = before


def test_a_long_mixture_in_blocks_gives_what_it_gives_as_a_whole(
    separator: Separator, clip: dict[str, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(separator, "context", 3.0)  # The small recurrent networks remember less than trained ones.
    reach = separator.receptive_field
    size = max(reach.grid, RATE)
    length = reach.before + reach.crossfade + reach.after + 2 * size
    song = clip["mixture"].repeat(1, 1 + length // clip["mixture"].shape[-1])[None, :, :length]
    plan = plan_blocks(length, size, reach)
    assert len(plan) > 1
    # Music that begins quietly, 34 dB below the rest, which is off balance, as many recordings are.
    quiet = slice(0, plan[0].end)
    if separator.standardise:  # Others hear the quiet part as it is, with what leaks into it from the loud one.
        song[..., quiet.stop :] += 0.01
        song[..., quiet] *= 0.02
    batch = ChunkBatch.of_waveforms(song, RATE, "song")
    batch.blocks = plan

    parts = [block.kept(separator(part.mixture, levels=part.levels)) for block, part in batch.split()]

    together, whole = torch.cat(list(join_blocks(parts, reach.crossfade)), dim=-1), separator(song)
    assert together.shape == whole.shape
    for half in (quiet, slice(quiet.stop, None)):
        errors = signal_noise_ratio(together[..., half].flatten(2), whole[..., half].flatten(2))
        assert errors.min() > 60


@pytest.mark.parametrize("device", ["cpu", "cuda", "mps"])
@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16], ids=["bf16", "fp16"])
@pytest.mark.parametrize("true", [False, True], ids=["autocast", "half weights"])
def test_half_precision_stays_close_to_float32(
    separator: Separator, clip: dict[str, Tensor], device: str, kind: torch.dtype, true: bool
) -> None:
    if not getattr(torch, device).is_available():
        pytest.skip(f"no {device} device is at hand")
    mixture = clip["mixture"][None, :, : 2 * RATE]
    expected = separator(mixture)

    # A copy: weights that were rounded once stay so.
    rounded = copy.deepcopy(separator).to(device, kind if true else None)
    with torch.autocast(device, dtype=kind, enabled=not true):
        estimates = rounded(mixture.to(device)).cpu()

    assert estimates.dtype == torch.float32
    # Random weights amplify rounding more than trained ones do.
    floor = 15 if separator.licence == "unknown" else 35
    assert signal_noise_ratio(estimates.flatten(), expected.flatten()) > floor


def test_what_torch_compile_captures_gives_the_same(separator: Separator) -> None:
    mixture = noise(1.2)[None]
    expected = separator(mixture)
    torch.compiler.reset()

    compiled = copy.deepcopy(separator)
    compiled.compile(backend="eager")
    estimates = compiled(mixture)

    torch.testing.assert_close(estimates, expected, rtol=0, atol=1e-5)


def test_float64_agrees_with_float32(separator: Separator) -> None:
    mixture = noise(1)[None]
    expected = separator(mixture)

    estimates = copy.deepcopy(separator).double()(mixture.double())

    assert estimates.dtype == torch.float64
    torch.testing.assert_close(estimates.float(), expected, rtol=0, atol=1e-3)


@pytest.mark.parametrize("device", ["cuda", "mps"])
def test_an_accelerator_agrees_with_the_cpu(separator: Separator, clip: dict[str, Tensor], device: str) -> None:
    if not getattr(torch, device).is_available():
        pytest.skip(f"no {device} device is at hand")
    mixture = clip["mixture"][None, :, : 3 * RATE]
    expected = separator(mixture)

    moved = copy.deepcopy(separator).to(device)
    estimates = moved(mixture.to(device), separator.sources[::-1]).cpu().flip(1)

    torch.testing.assert_close(estimates, expected, rtol=0, atol=1e-3)


@pytest.mark.parametrize(
    ("mixtures", "targets", "named"),
    [
        (torch.zeros(1, 3, 8), None, "3 channels"),
        (torch.zeros(1, 2, 0), None, "0 samples"),
        (torch.zeros(2, 8), None, "shape"),
        (torch.zeros(1, 3, 2, 8), ["vocals", "vocals"], "shape"),
        (torch.zeros(1, 2, 8), ["vokals"], "vokals"),
        (torch.zeros(1, 2, 8), [], "empty"),
    ],
)
def test_what_does_not_fit_is_named(
    separator: Separator, mixtures: Tensor, targets: list[str] | None, named: str
) -> None:
    with pytest.raises(MdxError, match=named):
        separator(mixtures, targets)
