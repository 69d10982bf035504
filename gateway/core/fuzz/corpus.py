"""The fuzzer's corpus in one file: each input behind its length, four bytes, the most significant first.

corpus.py unpack FILE DIR    writes each input into DIR, named by its SHA-1 as libFuzzer does
corpus.py pack DIR FILE      writes all of DIR into FILE, in the order of their names
"""

import hashlib
import sys
from pathlib import Path


def unpack(packed: Path, folder: Path) -> None:
    data = packed.read_bytes()
    at = 0
    while at < len(data):
        end = at + 4 + int.from_bytes(data[at : at + 4], "big")
        if end > len(data):
            raise SystemExit(f"{packed}: cut off at byte {at}")
        one = data[at + 4 : end]
        (folder / hashlib.sha1(one).hexdigest()).write_bytes(one)
        at = end


def pack(folder: Path, packed: Path) -> None:
    inputs = [path.read_bytes() for path in sorted(folder.iterdir())]
    packed.write_bytes(b"".join(len(one).to_bytes(4, "big") + one for one in inputs))


verb, source, destination = sys.argv[1:]
{"unpack": unpack, "pack": pack}[verb](Path(source), Path(destination))
