"""What Spleeter itself makes of small random networks: how the files in spleeter_data were written.

    pip install spleeter==2.4.2
    python -m tests.support.spleeter_reference

That brings TensorFlow 2.12, so it is done by hand, in an environment of its own. The networks have Spleeter's own
architecture with few filters; the estimates are those of its `Separator`, of which some samples are kept. Of a model
of full size the index is kept, which depends on the shapes and not on the weights.
"""

import json
import os
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

DATA = Path(__file__).with_name("spleeter_data")
FULL_SIZE = DATA / "2stems-full-size"
FILTERS = [1, 2, 1, 2, 1, 2]
KEPT = 97


class Case(NamedTuple):
    """A separation by one of the models; its settings are named as in `SpleeterSeparator`."""

    name: str
    samples: int
    bins: int = 1024
    mask_extension: Literal["zeros", "average"] = "zeros"

    def __str__(self) -> str:
        return f"{self.name} {self.samples} {self.bins} {self.mask_extension}"

    @property
    def folder(self) -> Path:
        """Where the checkpoint is."""
        return DATA / self.name.removeprefix("spleeter:")


# 508 hops and the four frames of silence before them fill a patch.
CASES = [
    Case("spleeter:2stems", 1000),
    Case("spleeter:2stems", 508 * 1024),
    Case("spleeter:2stems", 540_000, mask_extension="average"),
    Case("spleeter:4stems", 540_000),
    Case("spleeter:5stems", 540_000),
    Case("spleeter:4stems", 50_000, bins=1536),
    Case("spleeter:5stems", 50_000, bins=1536, mask_extension="average"),
]


def mixture(samples: int) -> NDArray[np.float32]:
    """Noise (time, channel)."""
    return (np.random.default_rng(0).integers(-8000, 8000, (samples, 2)) / 32768).astype(np.float32)


def kept(estimate: NDArray[np.float32]) -> NDArray[np.float32]:
    """Some samples of an estimate (time, channel)."""
    return estimate[:: max(1, len(estimate) // KEPT)]


def configuration(name: str) -> dict[str, Any]:
    """Spleeter's own."""
    result: dict[str, Any] = import_module("spleeter.utils.configuration").load_configuration(name)
    return result


def settings(case: Case) -> dict[str, Any]:
    """Spleeter's own configuration of a model, but for the number of filters."""
    result = configuration(case.name)
    result["model"]["params"]["conv_n_filters"] = FILTERS
    return {**result, "model_dir": str(case.folder), "F": case.bins, "mask_extension": case.mask_extension}


def write_checkpoint(folder: Path, parameters: dict[str, Any]) -> None:
    """A checkpoint of random weights that let sound through."""
    tensorflow, model = import_module("tensorflow"), import_module("spleeter.model")
    v1 = tensorflow.compat.v1
    folder.mkdir(parents=True)
    generator = np.random.default_rng(7)
    draw = {
        "kernel": lambda shape: generator.normal(0, (2 / np.prod(shape[:3])) ** 0.5, shape),
        "gamma": lambda shape: generator.uniform(0.7, 1.3, shape),
        "moving_variance": lambda shape: generator.uniform(0.5, 1.5, shape),
    }
    with tensorflow.Graph().as_default():
        features = model.InputProviderFactory.get(parameters).get_input_dict_placeholders()
        assert model.EstimatorSpecBuilder(features, parameters).outputs
        variables = v1.global_variables()
        v1.train.get_or_create_global_step()
        with v1.Session() as session:
            session.run(v1.global_variables_initializer())
            for variable in variables:
                shape = variable.shape.as_list()
                kind = variable.name.split("/")[-1].split(":")[0]
                variable.load(draw.get(kind, lambda shape: generator.normal(0, 0.3, shape))(shape), session)
            v1.train.Saver().save(session, str(folder / "model"), write_meta_graph=False)
    # As in Deezer's files, and not the path on this machine.
    (folder / "checkpoint").write_text('model_checkpoint_path: "model"\nall_model_checkpoint_paths: "model"\n')


def separate(case: Case, folder: Path) -> dict[str, NDArray[np.float32]]:
    """The estimates of Spleeter's own separator."""
    path = folder / "settings.json"
    path.write_text(json.dumps(settings(case)))
    separator = import_module("spleeter.separator").Separator(str(path), multiprocess=False)
    estimates: dict[str, NDArray[np.float32]] = separator.separate(mixture(case.samples))
    path.unlink()
    return estimates


def main() -> None:
    """Write everything anew."""
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    write_checkpoint(FULL_SIZE, configuration("spleeter:2stems"))
    (FULL_SIZE / "model.data-00000-of-00001").unlink()
    results: dict[str, Any] = {}
    for case in CASES:
        if not case.folder.exists():
            write_checkpoint(case.folder, settings(case))
        for source, estimate in separate(case, DATA).items():
            results[f"{case} {source}"] = kept(estimate)
    np.savez_compressed(DATA / "estimates.npz", **results)


if __name__ == "__main__":
    main()
