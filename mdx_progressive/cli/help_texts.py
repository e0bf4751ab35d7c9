"""The texts of `mdx-progressive --help` and of the help of its commands: everyday options, with examples."""

from mdx_progressive.presets import QUALITIES, quality_levels

SUMMARIES = {
    "predict": "Separate music and write the stems to files.",
    "test": "Measure methods on songs with stems, from one pass to the oracle.",
    "compare": "Show what the methods of a run gain over one pass, song by song.",
    "report": "Write a run as one HTML file: answer, charts, songs, players.",
    "init": "Write a configuration file to start from.",
    "separators": "List the pretrained separators that -s takes.",
    "schedules": "List the schedules of the blend weight, and draw them.",
    "benchmark": "Measure what a method costs on this machine.",
    "tune": "Fit the schedule of a method on songs with known stems.",
    "prepare": "Trim and cut songs with stems once, for all later runs of test.",
    "completion": "Print a script that completes commands and names in a shell.",
}
"""All commands, with what they do."""

_MAIN = """\
usage: mdx-progressive COMMAND [options]

Progressive inference for music demixing: a frozen pretrained separator is
applied again and again to a re-weighted mixture, for better stems.

  mdx-progressive predict song.mp3             # htdemucs, 4 stems in separated/
  mdx-progressive predict song.mp3 -s spleeter # its weights are in the package
  mdx-progressive predict music/ -q best --two-stems vocals --format mp3 -o out/
  mdx-progressive test songs/ -s htdemucs      # how much better, on your songs?
  mdx-progressive test -c demo                 # the same on a built-in clip

commands:
{commands}

`mdx-progressive COMMAND --help` shows the everyday options of a command,
`--help-all` every key. `--version` prints the version.
"""

_USAGE = {
    "predict": "mdx-progressive predict SONG [SONG ...] [options]",
    "test": "mdx-progressive test [SONGS] [options]",
    "benchmark": "mdx-progressive benchmark [SONGS] [options]",
    "tune": "mdx-progressive tune [SONGS] [--to FILE.yaml] [options]",
}
_COMMON = """\
  -s, --separator NAME  htdemucs, htdemucs_ft, spleeter, umxl, roformer, …: see
                        `mdx-progressive separators`; or a YAML file
  -d, --device DEVICE   cpu, cuda, cuda:1, mps; by default the best there is
"""
_DRY_RUN = """\
  --dry-run             print passes, time and disk space, and stop before them
"""
_LATER = """\
  -c, --config NAME     demo, htdemucs or a YAML file, as `init` writes it, of
                        your own: code that it names is imported and run
  --allow MODULE        let other YAML files name classes of this module too
  --print_config        print the settings that would run, with all keys
  --help-all            list every key, such as --data.block 120
"""
_EVERYDAY = {
    "predict": """\
Separate audio files, or all in folders, and write separated/<song>/<stem>.wav.
The same command resumes an interrupted run.

  mdx-progressive predict song.mp3
  mdx-progressive predict music/ -s htdemucs_ft -q best --two-stems vocals \\
      --format mp3 --bitrate 320 -o out/
  mdx-progressive predict song.mp3 -s spleeter
  mdx-progressive predict song.mp3 -s roformer \\
      --model.separator.config c.yaml --model.separator.weights w.ckpt

  -q, --quality LEVEL   fast, balanced (the default) or best:
{qualities}
{common}  -o, --out FOLDER      where the stems go (default: separated)
  --two-stems STEM      this stem, and the song without it
  --targets A,B         only these stems
  --overwrite           replace stems; without it finished songs are left out
  --format FORMAT       wav (float32, the default), flac, mp3 or ogg
  --bitrate KBPS        of mp3: a constant one, such as 320 (default: V0)
{dry_run}{later}""",
    "test": """\
Measure methods on songs with known stems (songs/<song>/vocals.wav, drums.wav,
…, mixture.wav if there is one), or with -c demo on a built-in clip. Results are
in logs/<name>/version_<N>. The same command resumes an interrupted run.

  mdx-progressive test songs/ -s htdemucs
  mdx-progressive test songs/ -s htdemucs --methods recommended,ensemble,halves
  mdx-progressive test -c demo
  mdx-progressive test -s umxl --data.dataset musdb18hq \\
      --data.dataset.root MUSDB18-HQ/

{common}  --methods A,B         the methods, the first with an oracle (default:
                        recommended,ensemble); files of presets, or:
{methods}
  -q, --quality LEVEL   fast, balanced or best, instead of --methods
  --targets A,B         only these sources
  --data.chunk SECONDS  how much of a song is measured (default: 30; null: all)
{dry_run}{later}""",
    "benchmark": """\
Measure what a method costs on this machine, as ratios to the bare network and
to the separator's own library, on a chunk of songs or of the built-in clip.

  mdx-progressive benchmark -s htdemucs --data.chunk 5

  -q, --quality LEVEL   the method: fast, balanced or best (the default)
{common}{later}""",
    "tune": """\
Fit the weights of a method's schedule, for each step and source, on songs with
known stems, and write them as YAML for use on songs without.

  mdx-progressive tune songs/ -s spleeter --to schedule.yaml
  mdx-progressive predict song.mp3 -s spleeter --model.method linear \\
      --model.method.schedule schedule.yaml

  --to FILE             the file of the schedule
{common}{later}""",
}


PREPARE = """\
usage: mdx-progressive prepare --data.root SONGS --to FOLDER [options]

Trim and cut songs with stems once, and write the chunks, so that runs of `test`
read nothing else. The same command resumes an interrupted run.

  mdx-progressive prepare --data.root songs/ --to prepared/
  mdx-progressive prepare --data.dataset Musdb18 --data.dataset.root MUSDB18/ \\
      --to prepared/ --workers 4
  mdx-progressive test -s spleeter --data.dataset PreparedSet \\
      --data.dataset.root prepared/

A chunk is <to>/<song>/<number>/ with mixture, uniform (the sum of the stems)
and each stem, at the song's own rate, in files that lose nothing of it;
<to>/index.json lists them.

  --data.root SONGS     songs/<song>/vocals.wav, …, mixture.wav if there is one
  --data.dataset NAME   musdb18, musdb18hq, moisesdb, builtin-clip, a file
  --to FOLDER           where the chunks go
  --chunk SECONDS       length of a chunk (default: 30; null: the whole song)
  --all-chunks          all chunks of a song, not only the first
  --trim DB             a stem begins within so many dB of its loudest frame
                        (default: 60; null: at the beginning of the song)
  --workers N           processes, each with a decoded song (default: 1)
  --overwrite           delete what an earlier run wrote there; start again
  --prune               delete the chunks of songs that are there no more
  --help-all            list every option, such as --format wav
"""


def main_help() -> str:
    """The text of `mdx-progressive --help`."""
    return _MAIN.format(commands="\n".join(f"  {name:<12}{summary}" for name, summary in SUMMARIES.items()))


def everyday_help(command: str, methods: list[str]) -> str:
    """The text of the help of a command of LightningCLI.

    Args:
        command: The command.
        methods: The names of the methods that may be compared.
    """
    text = _EVERYDAY[command].format(
        common=_COMMON, later=_LATER, dry_run=_DRY_RUN, qualities="\n".join(_qualities()), methods=_columns(methods)
    )
    return f"usage: {_USAGE[command]}\n\n{text}"


def _qualities() -> list[str]:
    lines = []
    for title, separator in (("htdemucs", "htdemucs"), ("spleeter", "spleeter:2stems")):
        levels = quality_levels(separator)
        for quality in QUALITIES:
            level = levels[quality]
            gain = "one pass" if level.passes == 1 else f"{level.gain:+.2f} dB SI-SDR, {level.time:.3g} x the time"
            lines.append(f"{'':<26}{title:<10}{quality:<10}{gain}")
    return [*lines, f"{'':<26}others: the mean over augmentations, not measured"]


def _columns(names: list[str], width: int = 54) -> str:
    lines = [""]
    for name in names:
        if len(lines[-1]) + len(name) + 2 > width:
            lines.append("")
        lines[-1] += f"{name}, "
    return "\n".join(f"{'':<26}{line.rstrip(' ')}" for line in lines).rstrip(",")
