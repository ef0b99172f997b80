"""What the tests do with versions."""

from turnwise.app.model_versions.add_version import add_run

MODEL = "helper"


def add(library, run, model=MODEL, **options):
    return add_run(library, model, run, reason="A training.", **options).version


def promote(library, version):
    return library.change_state(version, "serving", actor="person", reason="It is better.")


def damage(folder):
    path = folder / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
