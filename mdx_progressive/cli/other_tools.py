"""Options of demucs, audio-separator and other tools, each with what does its job here."""

from collections.abc import Mapping

_SEPARATOR = "`-s htdemucs_ft` chooses the separator, see `mdx-progressive separators`"
_FORMAT = "`--format mp3` is the format of the files: wav, flac, mp3 or ogg"

ELSEWHERE: Mapping[str, str] = {
    "-n": _SEPARATOR,
    "--name": _SEPARATOR,
    "-m": _SEPARATOR,
    "--model_filename": _SEPARATOR,
    "--model_type": _SEPARATOR,
    "-p": _SEPARATOR,
    "--mp3": "`--format mp3` writes mp3, at a constant bitrate with `--format mp3 --bitrate 320`",
    "--mp3-bitrate": "`--format mp3 --bitrate 320`",
    "--flac": "`--format flac`",
    "--float32": "it is the default of wav, `--writer.encoding float32`",
    "--int24": "`--writer.encoding int24`",
    "--output_format": _FORMAT,
    "--output_dir": "`-o stems/`",
    "--store_dir": "`-o stems/`",
    "--single_stem": "`--targets vocals` writes this stem alone, `--two-stems vocals` also the song without it",
    "--extract_instrumental": "`--two-stems vocals` writes the vocals and the song without them",
    "--shifts": "`-q best` averages over shifts and other changes of the song, `-q fast` over none",
    "--overlap": "`--model.separator.overlap 0.5`, of Demucs and torchaudio",
    "--segment": "`--model.separator.segment 5`, in seconds, of Demucs and torchaudio; less of it needs less memory",
    "-j": "one process uses all cores; `--trainer.devices 2` starts more",
    "--jobs": "one process uses all cores; `--trainer.devices 2` starts more",
    "--device_ids": "`-d cuda:1`",
    "--model_file_dir": "a file or folder of weights is `--model.separator.weights FILE`",
    "--start_check_point": "`-s roformer --model.separator.config c.yaml --model.separator.weights w.ckpt`",
    "--config_path": "`-s roformer --model.separator.config c.yaml --model.separator.weights w.ckpt`",
}
"""By the option there, what to write here; between backquotes are arguments of `predict`."""
