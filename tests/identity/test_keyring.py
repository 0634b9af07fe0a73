from __future__ import annotations

import base64
import hashlib
import hmac
import json
import pickle
import threading
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from verifier.errors import ConfigError
from verifier.identity.keyring import (
    DecryptionError,
    KeyRing,
    UnknownKeyError,
    key_id_of,
    rotate,
)

PLACE = ("users", "phone", "app", "u-1")
storable = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
places = st.tuples(storable, storable, storable, storable)


@pytest.fixture(scope="module")
def ring(tmp_path_factory: pytest.TempPathFactory) -> KeyRing:
    return KeyRing.create(tmp_path_factory.mktemp("keys") / "keyring.json")


@given(place=places, text=storable)
def test_what_is_encrypted_decrypts_in_its_place(
    ring: KeyRing, place: tuple[str, str, str, str], text: str
) -> None:
    blob = ring.encrypt(*place, text)
    assert ring.decrypt(*place, blob) == text
    assert ring.decrypt(*place, memoryview(blob)) == text


def test_the_text_does_not_stand_in_the_blob_and_no_two_blobs_are_equal(ring: KeyRing) -> None:
    blobs = {ring.encrypt(*PLACE, "13800138000") for _ in range(100)}
    assert len(blobs) == 100
    assert not any(b"13800138000" in blob for blob in blobs)


@given(here=places, there=places)
@example(here=("users", "phone", "app", "u-1"), there=("users", "name", "app", "u-1"))
@example(here=("users", "phone", "app", "u-1"), there=("users", "phone", "app", "u-2"))
@example(here=("users", "phone", "app", "u-1"), there=("users", "phone", "appu", "-1"))
@example(here=("users", "phone", "a", "bc"), there=("users", "phone", "ab", "c"))
@example(here=("us", "ers", "a", "b"), there=("use", "rs", "a", "b"))
@example(here=("t", "c", "", "ab"), there=("t", "c", "ab", ""))
def test_a_blob_decrypts_nowhere_else(
    ring: KeyRing, here: tuple[str, str, str, str], there: tuple[str, str, str, str]
) -> None:
    blob = ring.encrypt(*here, "13800138000")
    if here == there:
        return
    with pytest.raises(DecryptionError):
        ring.decrypt(*there, blob)


@given(st.data())
def test_an_altered_blob_does_not_decrypt(ring: KeyRing, data: st.DataObject) -> None:
    blob = bytearray(ring.encrypt(*PLACE, "13800138000"))
    place = data.draw(st.integers(0, len(blob) - 1))
    blob[place] ^= data.draw(st.integers(1, 255))
    with pytest.raises((DecryptionError, UnknownKeyError)):
        ring.decrypt(*PLACE, bytes(blob))


@given(st.binary(max_size=64))
def test_what_is_no_blob_is_called_so(ring: KeyRing, rubbish: bytes) -> None:
    with pytest.raises((DecryptionError, UnknownKeyError)):
        ring.decrypt(*PLACE, rubbish)


def test_errors_hold_neither_data_nor_keys(ring: KeyRing, tmp_path: Path) -> None:
    blob = ring.encrypt("users", "phone", "app", "reference-of-user", "13800138000")
    with pytest.raises(DecryptionError) as moved:
        ring.decrypt("users", "phone", "app", "another-reference", blob)
    assert "reference" not in str(moved.value)
    assert moved.value.__cause__ is None
    with pytest.raises(ValueError, match="surrogate") as surrogate:
        ring.encrypt(*PLACE, "138\ud800")
    assert "138" not in str(surrogate.value)
    assert surrogate.value.__cause__ is None
    other = KeyRing.create(tmp_path / "other.json")
    with pytest.raises(DecryptionError):
        other.decrypt(*PLACE, ring.encrypt(*PLACE, "13800138000"))


def test_a_ring_shows_and_gives_away_no_key(tmp_path: Path) -> None:
    path = tmp_path / "keyring.json"
    ring = KeyRing.create(path)
    document = json.loads(path.read_text())
    secrets = [document[use]["keys"]["1"]["key"] for use in ("encryption", "index")]
    for shown in (repr(ring), str(ring), f"{ring}"):
        assert "current 1" in shown
        assert not any(secret in shown for secret in secrets)
    with pytest.raises(TypeError):
        pickle.dumps(ring)


# ------------------------------------------------------------------ blind index and digest


@given(kind=st.sampled_from(["phone", "id_number", "email"]), value=storable)
def test_an_index_is_stable_keyed_and_carries_its_key(ring: KeyRing, kind: str, value: str) -> None:
    index = ring.index(kind, value)
    assert index == ring.index(kind, value)
    assert len(index) == 34
    assert int.from_bytes(index[:2]) == 1
    assert index not in {hashlib.sha256(value.encode()).digest(), value.encode()}
    assert ring.indexes(kind, value) == [index]


def test_an_index_is_hmac_sha256_under_a_key_derived_for_its_kind(tmp_path: Path) -> None:
    path = tmp_path / "keyring.json"
    ring = KeyRing.create(path)
    secret = base64.b64decode(json.loads(path.read_text())["index"]["keys"]["1"]["key"])
    subkey = hmac.digest(secret, b"index:phone", "sha256")
    expected = hmac.digest(subkey, b"13800138000", "sha256")
    assert ring.index("phone", "13800138000") == b"\x00\x01" + expected


def test_kinds_rings_and_digests_do_not_share_values(ring: KeyRing, tmp_path: Path) -> None:
    other = KeyRing.create(tmp_path / "other.json")
    value = "13800138000"
    found = {
        ring.index("phone", value),
        ring.index("id_number", value),
        ring.index("digest", value),
        ring.digest(value),
        other.index("phone", value),
    }
    assert len(found) == 5


parts = st.lists(st.none() | storable | st.binary(max_size=10), max_size=4)


@given(one=parts, two=parts)
@example(one=["ab", "c"], two=["a", "bc"])
@example(one=[None], two=[""])
@example(one=[""], two=[])
@example(one=["a"], two=[b"a"])
def test_a_digest_tells_any_two_lists_of_parts_apart(
    ring: KeyRing, one: list[str | bytes | None], two: list[str | bytes | None]
) -> None:
    assert ring.digest_matches(ring.digest(*one), *two) is (one == two)
    assert (ring.digest(*one) == ring.digest(*two)) is (one == two)


def test_what_is_no_digest_matches_nothing(ring: KeyRing) -> None:
    assert not ring.digest_matches(b"", "a")
    assert not ring.digest_matches(ring.digest("a") + b"\x00", "a")
    assert ring.digest_matches(memoryview(ring.digest("a")), "a")


# ------------------------------------------------------------------ rotation


def add_index_key(path: Path, key_id: int) -> None:
    """What an operator's re-indexing does to the file: one more index key, current."""
    document = json.loads(path.read_text())
    key = document["encryption"]["keys"]["1"]
    document["index"]["keys"][str(key_id)] = key
    document["index"]["current"] = key_id
    path.write_text(json.dumps(document))


def test_after_a_rotation_old_values_stay_readable_and_new_ones_use_the_new_key(
    tmp_path: Path,
) -> None:
    path = tmp_path / "keyring.json"
    old = KeyRing.create(path)
    before = old.encrypt(*PLACE, "13800138000")
    index, digest = old.index("phone", "13800138000"), old.digest("a", "b")
    assert rotate(path) == 2
    new = KeyRing.load(path)
    after = new.encrypt(*PLACE, "13800138000")
    assert (key_id_of(before), key_id_of(after)) == (1, 2)
    assert new.decrypt(*PLACE, before) == new.decrypt(*PLACE, after) == "13800138000"
    assert new.index("phone", "13800138000") == index
    assert new.digest_matches(digest, "a", "b")


def test_a_running_process_learns_a_new_key_when_it_meets_one(tmp_path: Path) -> None:
    path = tmp_path / "keyring.json"
    running = KeyRing.create(path)
    rotate(path)
    blob = KeyRing.load(path).encrypt(*PLACE, "13800138000")
    assert running.encryption_key_id == 1
    assert running.decrypt(*PLACE, blob) == "13800138000"
    assert running.encryption_key_id == 2


def test_look_ups_ask_under_every_live_index_key(tmp_path: Path) -> None:
    path = tmp_path / "keyring.json"
    old = KeyRing.create(path)
    index, digest = old.index("phone", "13800138000"), old.digest("a")
    add_index_key(path, 2)
    new = KeyRing.load(path)
    current = new.index("phone", "13800138000")
    assert current != index
    assert new.indexes("phone", "13800138000") == [current, index]
    assert new.digest_matches(digest, "a")
    assert not new.digest_matches(digest, "b")
    assert old.digest_matches(new.digest("a"), "a")  # by reading the file again


def test_the_key_id_cannot_be_forged(tmp_path: Path) -> None:
    path = tmp_path / "keyring.json"
    KeyRing.create(path)
    document = json.loads(path.read_text())
    # Even with the same secret under both ids: the id itself is authenticated.
    document["encryption"]["keys"]["2"] = document["encryption"]["keys"]["1"]
    path.write_text(json.dumps(document))
    ring = KeyRing.load(path)
    blob = bytearray(ring.encrypt(*PLACE, "13800138000"))
    blob[2] = 2
    with pytest.raises(DecryptionError):
        ring.decrypt(*PLACE, bytes(blob))


def test_a_missing_key_is_named(ring: KeyRing) -> None:
    blob = bytearray(ring.encrypt(*PLACE, "13800138000"))
    blob[1:3] = (77).to_bytes(2)
    with pytest.raises(UnknownKeyError, match="77") as caught:
        ring.decrypt(*PLACE, bytes(blob))
    assert caught.value.fix
    digest = (77).to_bytes(2) + ring.digest("a")[2:]
    with pytest.raises(UnknownKeyError, match="77"):
        ring.digest_matches(digest, "a")


def test_rotations_at_the_same_time_lose_no_key(tmp_path: Path) -> None:
    path = tmp_path / "keyring.json"
    KeyRing.create(path)
    made: list[int] = []
    threads = [threading.Thread(target=lambda: made.append(rotate(path))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(made) == list(range(2, 10))
    assert KeyRing.load(path).encryption_key_id == 9


# ------------------------------------------------------------------ the file


def test_a_new_ring_is_open_to_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "keyring.json"
    KeyRing.create(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o077 == 0
    rotate(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(path.parent.iterdir()) == [path]


def test_a_ring_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "keyring.json"
    KeyRing.create(path)
    before = path.read_bytes()
    with pytest.raises(ConfigError) as caught:
        KeyRing.create(path)
    assert caught.value.fix
    assert path.read_bytes() == before


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644, 0o666, 0o610])
def test_a_ring_that_others_may_read_is_refused_with_the_mending(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "keyring.json"
    KeyRing.create(path)
    path.chmod(mode)
    with pytest.raises(ConfigError, match=f"{mode:04o}") as caught:
        KeyRing.load(path)
    assert caught.value.fix is not None
    assert caught.value.fix.startswith(f"chmod 600 {path}")
    path.chmod(0o400)
    KeyRing.load(path)


def test_a_missing_ring_is_not_replaced_by_a_new_one(tmp_path: Path) -> None:
    path = tmp_path / "keyring.json"
    with pytest.raises(ConfigError) as caught:
        KeyRing.load(path)
    assert caught.value.fix is not None
    assert "backup" in caught.value.fix
    assert not path.exists()
    with pytest.raises(ConfigError):
        rotate(path)
    assert not path.exists()


def damaged(document: dict[str, object], what: str) -> bytes:
    text = json.dumps(document)
    match what:
        case "cut":
            return text[: len(text) // 2].encode()
        case "not UTF-8":
            return b"\xff" + text.encode()
        case "not an object":
            return b"[1]"
        case "nested":
            return b"[" * 100_000
        case "another version":
            return json.dumps(document | {"version": 2}).encode()
        case "no current key":
            return text.replace('"current": 1', '"current": 9').encode()
        case "short key":
            return text.replace('"key": "', '"key": "AAAA').encode()
        case _:
            return (
                text.replace('"1":', '"70000":')
                .replace('"current": 1', '"current": 70000')
                .encode()
            )


@pytest.mark.parametrize(
    "what",
    [
        "cut",
        "not UTF-8",
        "not an object",
        "nested",
        "another version",
        "no current key",
        "short key",
        "large id",
    ],
)
def test_a_damaged_ring_is_refused_without_showing_it(tmp_path: Path, what: str) -> None:
    path = tmp_path / "keyring.json"
    KeyRing.create(path)
    document = json.loads(path.read_text())
    secret = document["index"]["keys"]["1"]["key"]
    path.write_bytes(damaged(document, what))
    with pytest.raises(ConfigError, match="damaged") as caught:
        KeyRing.load(path)
    assert secret not in str(caught.value)
    # A JSON error would carry the document in its `doc`.
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_threads_share_a_ring(ring: KeyRing) -> None:
    wrong: list[str] = []
    expected = {n: ring.index("phone", str(n)) for n in range(200)}

    def work(seed: int) -> None:
        for n in range(200):
            place = ("users", "phone", "app", f"{seed}-{n}")
            if ring.decrypt(*place, ring.encrypt(*place, str(n))) != str(n):
                wrong.append("text")
            if ring.index("phone", str(n)) != expected[n]:
                wrong.append("index")

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
