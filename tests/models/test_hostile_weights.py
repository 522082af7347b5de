"""Weights files made to do harm: nothing in them runs, and every lie is answered by one sentence, soon and cheaply."""

import io
import json
import pickle
import random
import struct
import tarfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import memory
import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

from models.catalogue import build
from models.checkpoints import load, save
from models.header import MAX_HEADER_BYTES, MAX_TENSORS
from models.weights import METADATA_KEY, Weights, WeightsError, describe

SECONDS = 5
GROWTH = 512 << 20


class Call:
    """Pickles to a call of ``function`` with ``arguments``: what makes pickles dangerous."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.called = (function, arguments)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.called


def global_call(protocol: int, module: str, name: str, argument: str) -> bytes:
    """The same, written by hand for a function that need not be importable here."""
    text = argument.encode()
    opened = b"" if protocol < 2 else b"\x80" + bytes([protocol])
    found = f"c{module}\n{name}\n".encode()
    if protocol >= 4:
        found = b"".join(b"\x8c" + bytes([len(part)]) + part.encode() for part in (module, name)) + b"\x93"
    return opened + found + b"X" + struct.pack("<I", len(text)) + text + b"\x85R."


def payloads(canary: Path) -> dict[str, bytes]:
    """Pickles that create ``canary`` when they are loaded the unsafe way."""
    command, code = f"touch {canary}", f"open({str(canary)!r}, 'w').close()"
    module = f"__import__('pathlib').Path({str(canary)!r}).touch()"
    return {
        "os.system, protocol 2": global_call(2, "os", "system", command),
        "os.system, protocol 3": global_call(3, "os", "system", command),
        "os.system, protocol 4": global_call(4, "os", "system", command),
        "os.system, protocol 5": global_call(5, "os", "system", command),
        "posix.system": global_call(2, "posix", "system", command),
        "os.popen": global_call(2, "os", "popen", command),
        "subprocess.getoutput": global_call(2, "subprocess", "getoutput", command),
        "exec": global_call(2, "builtins", "exec", code),
        "exec, by its old name": global_call(2, "__builtin__", "exec", code),
        "eval": global_call(4, "builtins", "eval", module),
        "eval, by its old name": global_call(2, "__builtin__", "eval", module),
        "pickle in pickle": pickle.dumps(Call(pickle.loads, global_call(2, "os", "system", command)), 2),
        "open": pickle.dumps(Call(open, str(canary), "w"), 2),
        "in a list": b"\x80\x02]" + global_call(2, "os", "system", command)[2:-1] + b"a.",
        "INST": f"(S'{command}'\nios\nsystem\n.".encode(),
        "OBJ": b"\x80\x02(cos\nsystem\n" + b"X" + struct.pack("<I", len(command)) + command.encode() + b"o.",
    }


def legacy(payload: bytes) -> bytes:
    """As torch.save wrote before 1.6: magic number, protocol, system information, then the pickle."""
    magic = pickle.dumps(0x1950A86A20F9469CFC6C, 2) + pickle.dumps(1001, 2)
    return magic + pickle.dumps({"little_endian": True, "protocol_version": 1001, "type_sizes": {}}, 2) + payload


def archive(payload: bytes) -> bytes:
    """As torch.save writes since 1.6: a zip archive around the pickle."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("archive/data.pkl", payload)
        file.writestr("archive/byteorder", "little")
        file.writestr("archive/version", "3\n")
    return buffer.getvalue()


def tar(payload: bytes) -> bytes:
    """As torch.save wrote before 0.1.10 (CVE-2025-32434 came through it)."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as file:
        for name, content in (("sys_info", payload), ("pickle", payload), ("storages", payload), ("tensors", payload)):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            file.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


CONTAINERS: dict[str, Callable[[bytes], bytes]] = {"bare": bytes, "legacy": legacy, "zip": archive, "tar": tar}
FORMS = [(payload, container) for payload in payloads(Path("canary")) for container in CONTAINERS]


def test_there_are_fifty_forms() -> None:
    assert len(FORMS) >= 50


@pytest.mark.parametrize("payload", payloads(Path("canary")))
def test_the_pickles_would_run_elsewhere(payload: str, tmp_path: Path) -> None:
    result = pickle.loads(payloads(tmp_path / "canary")[payload])  # noqa: S301 - to show that the test can fail
    if hasattr(result, "close"):
        result.close()
    assert (tmp_path / "canary").exists()


@pytest.mark.parametrize(("payload", "container"), FORMS)
@pytest.mark.parametrize("suffix", ["pt", "safetensors"])
def test_no_pickle_runs(payload: str, container: str, suffix: str, tmp_path: Path) -> None:
    canary, path = tmp_path / "canary", tmp_path / f"weights.{suffix}"
    path.write_bytes(CONTAINERS[container](payloads(canary)[payload]))
    for use in (describe, load):
        with pytest.raises(WeightsError) as caught:
            use(path)
        assert "\n" not in str(caught.value)
    assert not canary.exists()


def header(entries: Any, data: bytes = b"") -> bytes:
    """A safetensors file with this header."""
    text = entries if isinstance(entries, bytes) else json.dumps(entries).encode()
    return struct.pack("<Q", len(text)) + text + data


def entry(dtype: Any = "F32", shape: Any = (2,), offsets: Any = (0, 8), **more: Any) -> dict[str, Any]:
    """One tensor of a header."""
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets} | more


EIGHT = bytes(8)
LIES: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "no safetensors file: a header of 0 bytes"),
    "short": (b"\x02\0\0", "a header of 0 bytes"),
    "text": (b"Not found\n" * 30, "a header of [0-9,]+ bytes is not between"),
    "git-lfs pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "a header of"),
    "header past the end": (struct.pack("<Q", 5000) + b"{}", "truncated: its header ends at byte 5,008 of 10"),
    "huge header": (struct.pack("<Q", 1 << 62) + b"{}", "a header of 4,611,686,018,427,387,904 bytes"),
    "header over the limit": (struct.pack("<Q", MAX_HEADER_BYTES + 1) + b" " * (MAX_HEADER_BYTES + 1), "a header of"),
    "no JSON": (header(b"{nonsense}"), "its header is damaged"),
    "no UTF-8": (header(b'{"\xff": 1}'), "its header is damaged"),
    "NaN": (header(b'{"a": NaN}'), "NaN is no JSON"),
    "deep": (header(b"[" * 200_000), "its header is damaged"),
    "a list": (header(b"[]"), "its header is not a JSON object"),
    "endless number": (header(b'{"a": ' + b"9" * 5000 + b"}"), "its header is damaged"),
    "twice": (header(b'{"a": 1, "a": 2}'), "a name occurs twice"),
    "too many tensors": (header({str(i): entry() for i in range(MAX_TENSORS + 1)}), "it lists 4,097 tensors"),
    "metadata no text": (header({"__metadata__": {"a": 1}}), "does not map text to text"),
    "entry no object": (header({"a": 3}), "entry for 'a' is malformed"),
    "entry with more": (header({"a": entry(more=1)}, EIGHT), "entry for 'a' is malformed"),
    "offsets text": (header({"a": entry(offsets=["0", "8"])}, EIGHT), "malformed"),
    "unknown dtype": (header({"a": entry("COMPLEX")}, EIGHT), "has the dtype COMPLEX; weights are F64, F32"),
    "negative side": (header({"a": entry(shape=[-2])}, EIGHT), r"impossible shape \[-2\]"),
    "empty side": (header({"a": entry(shape=[0], offsets=[0, 0])}), r"impossible shape \[0\]"),
    "true side": (header({"a": entry(shape=[True], offsets=[0, 4])}, bytes(4)), "impossible shape"),
    "five axes": (header({"a": entry(shape=[1, 1, 1, 1, 2])}, EIGHT), "impossible shape"),
    "too long for its shape": (header({"a": entry(offsets=[0, 12])}, bytes(12)), "lies about its length"),
    "overflowing shape": (header({"a": entry(shape=[1 << 62, 1 << 62])}, EIGHT), "lies about its length"),
    "backwards": (header({"a": entry(offsets=[8, 0])}, EIGHT), "lies about its length"),
    "before the data": (header({"a": entry(offsets=[-8, 0])}, EIGHT), "begins at byte -8 instead of 0"),
    "a gap": (header({"a": entry(offsets=[8, 16])}, bytes(16)), "begins at byte 8 instead of 0"),
    "an overlap": (header({"a": entry(), "b": entry(offsets=[4, 12])}, bytes(12)), "b begins at byte 4 instead of 8"),
    "past the end": (header({"a": entry()}, bytes(5)), "truncated: 5 of 8 bytes"),
    "something behind": (header({"a": entry()}, bytes(11)), "3 bytes follow the last tensor"),
    "our metadata no JSON": (header({"__metadata__": {METADATA_KEY: "{"}}), "its metadata is damaged"),
    "our metadata a list": (header({"__metadata__": {METADATA_KEY: "[]"}}), "of its metadata is not a JSON object"),
    "our metadata twice": (header({"__metadata__": {METADATA_KEY: '{"a": 1, "a": 2}'}}), "of its metadata is damaged"),
    "our metadata without a network": (header({"__metadata__": {METADATA_KEY: "{}"}}), r"missing fields \(network\)"),
    "network no text": (header({"__metadata__": {METADATA_KEY: '{"network": ["unet"]}'}}), "network must be text"),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_lying_header_is_answered_with_a_sentence(lie: str, tmp_path: Path) -> None:
    content, sentence = LIES[lie]
    path = tmp_path / "weights.safetensors"
    path.write_bytes(content)
    for use in (describe, load):
        with pytest.raises(WeightsError, match=sentence) as caught:
            use(path)
        assert str(caught.value).startswith(f"{path}: ")
        assert len(str(caught.value)) < 400 + len(str(path))


def test_metadata_in_front_of_other_tensors_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    safetensors.torch.save_file({"a": torch.zeros(2)}, path, {METADATA_KEY: Weights("unet").to_json()})
    assert describe(path).network == "unet"
    with pytest.raises(WeightsError, match=r"lacks encoder\.0\.0\.weight of unet; .* no network known here"):
        load(path)


def torch_file(path: Path, content: Any) -> Path:
    """``content`` as torch saves it."""
    torch.save(content, path)
    return path


TORCH_LIES: dict[str, Callable[[], Any]] = {
    "a number": lambda: 3,
    "a list": lambda: [torch.zeros(3)],
    "an empty dict": dict,
    "a wrapped number": lambda: {"model": 3},
    "numbers for names": lambda: {1: torch.zeros(3)},
    "a whole network": lambda: nn.Conv2d(1, 1, 1),
    "sparse": lambda: {"a": torch.eye(3).to_sparse()},
    "on no device": lambda: {"a": torch.zeros(3, device="meta")},
    "complex": lambda: {"a": torch.zeros(3, dtype=torch.complex64)},
    "huge view": lambda: {"a": torch.zeros(1).expand(1 << 40)},
}


@pytest.mark.parametrize("lie", TORCH_LIES)
def test_a_file_of_torch_without_a_plain_state_dict_is_refused(lie: str, tmp_path: Path) -> None:
    path = torch_file(tmp_path / "weights.pt", TORCH_LIES[lie]())
    with pytest.raises(WeightsError, match=r"state.dict|no network known here"):
        load(path)


def test_a_whole_network_is_named_and_the_unsafe_way_is_not(tmp_path: Path) -> None:
    with pytest.raises(WeightsError) as caught:
        load(torch_file(tmp_path / "weights.pt", nn.Conv2d(1, 1, 1)))
    said = str(caught.value).removeprefix(f"{tmp_path / 'weights.pt'}: ")
    assert (
        said
        == "it holds Python objects (torch.nn.modules.conv.Conv2d), not tensors alone; save network.state_dict() alone"
    )


def test_a_huge_view_in_place_of_a_tensor_is_refused_before_it_is_looked_at(tmp_path: Path) -> None:
    network = build("ternausnet11", filters=1)
    state = network.state_dict() | {"dec1.conv.bias": torch.zeros(1).expand(1 << 40)}
    with pytest.raises(WeightsError, match=r"has the shape \(1099511627776,\)"):
        load(torch_file(tmp_path / "weights.pt", state))


def test_a_zip_bomb_is_refused_before_it_is_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("models.torchfiles.MAX_FILE_BYTES", 1 << 20)
    with zipfile.ZipFile(tmp_path / "weights.pt", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("archive/data.pkl", b"\x80\x02}.")
        file.writestr("archive/data/0", bytes(2 << 20))
    assert (tmp_path / "weights.pt").stat().st_size < 10_000
    with pytest.raises(WeightsError, match="unpacks to 2,097,156 bytes, but weights have at most 1,048,576"):
        load(tmp_path / "weights.pt")


def test_a_pickle_longer_than_any_state_dicts_is_refused(tmp_path: Path) -> None:
    (tmp_path / "weights.pt").write_bytes(archive(b"\x80\x02" + b"]0" * MAX_HEADER_BYTES + b"]."))
    with pytest.raises(WeightsError, match="its pickle has 2,097,156 bytes"):
        load(tmp_path / "weights.pt")


def seeds(folder: Path) -> list[bytes]:
    """Good files to be damaged: small ones in every container, and a whole network."""
    state: dict[str, Tensor] = {"encoder.0.weight": torch.rand(8, 3, 3, 3), "final.weight": torch.rand(1, 8, 1, 1)}
    safetensors.torch.save_file(state, folder / "seed", {METADATA_KEY: Weights("ternausnet11").to_json()})
    files = [(folder / "seed").read_bytes()]
    for zipped in (True, False):
        torch.save({"model": state}, folder / "seed", _use_new_zipfile_serialization=zipped)
        files.append((folder / "seed").read_bytes())
    save(build("unet"), folder / "seed", Weights("unet"), half=True)
    return [*files, (folder / "seed").read_bytes()]


def scratched(content: bytes, chance: random.Random) -> bytes:
    """``content`` with one byte changed, most likely of a tensor's values."""
    changed = bytearray(content)
    changed[chance.randrange(len(content))] = chance.randrange(256)
    return bytes(changed)


def mutated(content: bytes, chance: random.Random) -> bytes:
    """``content`` with a few bytes changed, cut or inserted, mostly near its start, where the structure is."""
    changed = bytearray(content)
    for _ in range(chance.randint(1, 4)):
        start = int(len(changed) * chance.random() ** chance.choice([1, 4, 12]))
        length = min(chance.choice([1, 1, 2, 4, 8, 64]), len(changed) - start)
        noise = chance.choice([chance.randbytes(length), bytes(length), b"\xff" * length])
        kind = chance.choice(["set", "set", "set", "cut", "insert", "end"])
        if kind == "set":
            changed[start : start + length] = noise
        elif kind == "insert":
            changed[start:start] = noise
        else:
            del changed[start : start + length if kind == "cut" else None]
    return bytes(changed)


def fuzz(folder: Path, rounds: int) -> dict[str, int]:
    """Load ``rounds`` mutated files; counts how they end. Raises whatever is no WeightsError."""
    files = seeds(folder)
    chance = random.Random(rounds)  # noqa: S311 - it must repeat
    ends = {"loaded": 0, "refused": 0}
    for turn in range(rounds):
        whole = turn % 50 == 0
        damaged = scratched(files[3], chance) if whole else mutated(files[turn % 3], chance)
        (folder / "file").write_bytes(damaged)
        started = time.monotonic()
        try:
            load(folder / "file")
            ends["loaded"] += 1
        except WeightsError as error:
            assert str(error).startswith(f"{folder / 'file'}: ")  # noqa: PT017 - both ends are looked at
            ends["refused"] += 1
        assert time.monotonic() - started < SECONDS
    return ends


@pytest.mark.parametrize("rounds", [500, pytest.param(5000, marks=[pytest.mark.slow, pytest.mark.timeout(3600)])])
def test_damaged_files_load_or_are_refused(rounds: int, tmp_path: Path) -> None:
    memory.forget_peak()
    before = memory.resident()
    ends = fuzz(tmp_path, rounds)
    assert ends["loaded"] > 0
    assert ends["refused"] > 0.9 * rounds
    assert memory.peak() - before < GROWTH
    print(f"{rounds} damaged files: {ends}")


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_precisions_load_as_fp32(dtype: torch.dtype, tmp_path: Path) -> None:
    network = build("unet").eval()
    state = {name: t.to(dtype) if t.is_floating_point() else t for name, t in network.state_dict().items()}
    safetensors.torch.save_file(state, tmp_path / "file")
    assert torch.equal(load(tmp_path / "file").final.weight, network.final.weight.to(dtype).float())
