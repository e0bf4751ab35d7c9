"""Tags of finished files, as FFmpeg reads them."""

from pathlib import Path

import pytest
import soundfile

from mdx_progressive.audio.tags import read_tags, write_flac_comment, write_id3_tags
from tests.support.signals import RATE, noise

TAGS = {
    "title": "Señorita", "artist": "東京 \U0001f3b5", "album": "Noise, PEAK", "tracknumber": "7/12", "date": "1999-05",
    "genre": "Trip-Hop", "comment": "Für 2 €", "copyright": "2026 Nobody",
}  # fmt: skip


def test_an_mp3_has_all_tags_and_the_same_samples(tmp_path: Path) -> None:
    path = tmp_path / "a.mp3"
    soundfile.write(path, noise(0.5).T.numpy(), RATE)
    before = soundfile.read(path)[0]

    write_id3_tags(path, TAGS)

    assert read_tags(path) == TAGS
    assert (soundfile.read(path)[0] == before).all()
    assert path.read_bytes()[-128:-125] != b"TAG"  # ID3v1 would cut them off and knows no UTF-8.


@pytest.mark.parametrize("date", ["1999", "1999-05-03", "3.5.1999", "Spring 1999", "1999/05"])
def test_any_text_can_be_a_date(tmp_path: Path, date: str) -> None:
    soundfile.write(tmp_path / "a.mp3", noise(0.5).T.numpy(), RATE)

    write_id3_tags(tmp_path / "a.mp3", {"date": date})

    assert read_tags(tmp_path / "a.mp3") == {"date": date}


def test_a_comment_of_a_flac_stands_beside_its_tags(tmp_path: Path) -> None:
    path = tmp_path / "a.flac"
    with soundfile.SoundFile(path, "w", RATE, 2) as file:
        file.title = "Señorita"
        file.write(noise(0.5).T.numpy())
    before = soundfile.read(path)[0]

    write_flac_comment(path, "COMMENT", "Für 2 €")

    assert read_tags(path) == {"title": "Señorita", "comment": "Für 2 €"}
    assert (soundfile.read(path)[0] == before).all()


def test_a_file_that_can_not_be_written_is_an_error_of_the_disk(tmp_path: Path) -> None:
    for write in (lambda: write_id3_tags(tmp_path, TAGS), lambda: write_flac_comment(tmp_path / "a.flac", "A", "b")):
        with pytest.raises(OSError, match=str(tmp_path)):
            write()
