"""The benchmarks still run. What they measure is nobody's promise here: nothing is timed."""

from __future__ import annotations

import contextlib
import os

import pytest

from benchmarks import __main__ as program
from benchmarks import everything, product, stub
from benchmarks.everything import Promise
from benchmarks.processes import children_of, cpu_seconds, resident_mib
from benchmarks.stage import WARM, Stage
from verifier.transport import Deadline, Transport


def test_the_stub_counts_its_calls() -> None:
    transport = Transport(threads=1, connect_timeout=2)
    with stub.running(delay=0.0) as carrier:
        for _ in range(3):
            reply = transport.request("POST", f"{carrier.url}/", {}, b"x" * 300, Deadline.after(5))
            assert reply.json_object()["Response"]["Result"] == "0"  # type: ignore[index]
        assert carrier.count().calls == 3
        carrier.forget()
        assert carrier.count().calls == 0
        assert children_of(os.getpid())
    transport.close()


def test_a_process_has_used_something() -> None:
    assert cpu_seconds(os.getpid()) > 0
    assert resident_mib(os.getpid()) > 1


def test_a_promise_is_kept_up_to_its_limit() -> None:
    cost = Promise("cost", "ms", 0.7, 1.4, scales=True)
    assert cost.is_kept(0.7)
    assert not cost.is_kept(0.71)
    assert cost.at_speed(2.0) == 0.7
    speed = Promise("speed", "", 8, 4, at_least=True, scales=True)
    assert speed.is_kept(8)
    assert not speed.is_kept(7.9)
    assert speed.at_speed(2.0) == 8
    assert cost.is_kept_at_speed(2.0)
    assert not cost.is_kept_at_speed(1.9)
    assert Promise("ratio", "", 5, 4).at_speed(2.0) == 4


def test_a_promise_that_is_not_kept_is_the_exit_code(monkeypatch: pytest.MonkeyPatch) -> None:
    def ends_with(*kept: bool) -> int:
        found = {"promises": [{"kept_at_reference_speed": each} for each in kept]}
        monkeypatch.setattr(everything, "measure", lambda _stage, _scale: found)
        monkeypatch.setattr("sys.argv", ["benchmarks"])
        return program.main()

    monkeypatch.setattr(program, "Stage", contextlib.nullcontext)
    monkeypatch.setattr("benchmarks.__main__.signal.signal", lambda *_: None)
    assert ends_with(True, True) == 0
    assert ends_with(True, False) == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ["--scale", "0"],
        ["--scale", "nan"],
        ["--scale", "much"],
        ["import", "--users", "-1"],
        ["interactive", "--questions", "0"],
        ["product", "--delay", "-1"],
    ],
)
def test_sizes_that_measure_nothing_are_refused(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["benchmarks", *arguments])
    with pytest.raises(SystemExit) as ended:
        program.main()
    assert ended.value.code == 2
    assert "is not a number from" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.servers
@pytest.mark.timeout(300)
def test_the_product_can_be_measured() -> None:
    with Stage() as stage:
        measured = product.measure(stage, WARM, delay=0.0)
    assert measured.calls == measured.users == WARM
    assert measured.worker_ms > 0
    assert measured.transactions > 0
