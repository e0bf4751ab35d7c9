"""The texts of `mdx-progressive --help` and of the help of its LightningCLI commands."""

DESCRIPTION = """\
Progressive inference for music demixing: a frozen pretrained separator is applied again and again to a mixture
in which the estimated target grows louder. No training.

  mdx-progressive test    -c configs/demo.yaml
      one pass, four schedules, the recommended method and the oracle on the built-in clip: table, curves, TensorBoard
  mdx-progressive predict -c configs/demo.yaml --data.input song.mp3 --out separated/
      the stems of your own music
  mdx-progressive benchmark -c configs/demo.yaml
      what the method costs on this machine, as ratios to the bare network and to the separator's own library
  mdx-progressive tune -c configs/demo.yaml --data.root songs/ --to schedule.yaml
      the best weight of each step and source on songs with stems, for use on songs without
  mdx-progressive compare logs/demo/version_0
      what each method of a run has gained over one pass, song by song, with intervals
  mdx-progressive report logs/demo/version_0
      a run as one HTML file: answer, charts, gains, songs, and players that switch between the versions
  mdx-progressive prepare --data.root songs/ --to prepared/
      trim and cut songs once, for all runs to come
  mdx-progressive separators
      the pretrained separators, their sources, licences and training data
  mdx-progressive schedules [--picture FILE.png]
      the schedules, their formulas and weights

Settings come from YAML files (-c, several are merged) and from options of the same names. `test --help` and
`predict --help` list them all; `--model.separator.help SpleeterSeparator` explains a class.
"""
SUMMARIES = {
    "test": "Measure one-pass, oracle and the configured methods on songs with known stems.",
    "predict": "Separate music and write the stems to files.",
    "benchmark": "Measure what the method costs on this machine, on the first chunk of the songs.",
    "tune": "Fit the schedule of the method on songs with known stems, and write it as YAML.",
}
EXAMPLES = {
    "test": """
  mdx-progressive test -c configs/demo.yaml
      on the built-in clip
  mdx-progressive test -c configs/demo.yaml --data.root songs/ --trainer.logger.init_args.name songs
      on your own songs: songs/<song>/vocals.wav, drums.wav, … and mixture.wav if there is one
  mdx-progressive test -c configs/htdemucs.yaml --model.method configs/method/heun.yaml --data.root songs/ --dry-run
      another separator and method; prints the cost and stops

Results are in logs/<name>/version_<N>, for `compare` and `report`. The same command resumes an interrupted run. The
options that are changed most are in the groups of model and data below.
""",
    "predict": """
  mdx-progressive predict -c configs/demo.yaml --data.input song.mp3 --out separated/
  mdx-progressive predict -c configs/htdemucs.yaml --model.method configs/method/recommended-htdemucs.yaml
      with htdemucs, by its recommended method (and the input as above)
  mdx-progressive predict -c configs/demo.yaml --data.input music/ --targets vocals --writer.format flac

Existing files are kept, so that the same command resumes an interrupted run. The options that are changed most are in
the groups of model, data and writer below.
""",
    "benchmark": """
  mdx-progressive benchmark -c configs/htdemucs.yaml --model.targets [vocals] --data.chunk 5
""",
    "tune": """
  mdx-progressive tune -c configs/demo.yaml --data.root songs/ --to schedule.yaml
  mdx-progressive predict -c configs/demo.yaml --model.method.schedule schedule.yaml --data.input song.mp3
""",
}
