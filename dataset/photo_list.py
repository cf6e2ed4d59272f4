"""Photo lists: JSON files that identify a set of photos by file name and SHA-256."""

import json
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from utils.errors import UserError
from utils.files import atomic_write, checksum, read_json


def write_photo_list(path: str | Path, photos: Sequence[Path]) -> None:
    """Write {"images": [{"name", "sha256"}, ...]} as JSON, in the given order; names without their folder."""
    entries = [{"name": photo.name, "sha256": checksum(photo)} for photo in photos]
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps({"images": entries}, indent=1) + "\n", encoding="utf-8")


def read_photo_list(path: str | Path, folder: str | Path) -> list[Path]:
    """Return the listed photos of `folder`, in the list's order, after comparing every checksum.

    Raises UserError that names the list when it is invalid, or the photo when it is missing or has another checksum.
    """
    try:
        entries = read_json(path)["images"]
        listed = [(str(entry["name"]), str(entry["sha256"])) for entry in entries]
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot read the list: {getattr(error, 'strerror', None) or error}") from None
    except (ValueError, KeyError, TypeError):
        raise UserError(f'{path}: not a list of photos ({{"images": [{{"name": ..., "sha256": ...}}]}})') from None
    if not listed:
        raise UserError(f"{path}: the list is empty")
    photos = []
    for name, expected in listed:
        if PurePosixPath(name).name != name:
            raise UserError(f"{path}: {name!r} is not a plain file name")
        photo = Path(folder) / name
        if not photo.is_file():
            raise UserError(f"{photo}: listed in {path} but not there")
        try:
            found = checksum(photo)
        except OSError as error:
            raise UserError(f"{photo}: cannot be read: {error.strerror}") from None
        if found != expected:
            raise UserError(f"{photo}: not the file that {path} lists (SHA-256 differs)")
        photos.append(photo)
    return photos
