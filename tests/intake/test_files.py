"""Any file gives rows, refused rows or one clear error: never a traceback, never a lost line."""

from __future__ import annotations

import gzip
import os
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.intake.reading import HEADER, both, faults, opened, references
from verifier.errors import UsageError
from verifier.intake import REQUIRED
from verifier.intake.csvrows import MOST_LINES
from verifier.intake.files import FileRow, Format, Unreadable, unknown_columns
from verifier.intake.lines import LONGEST


def test_line_numbers_are_physical_lines_also_after_quoted_newlines() -> None:
    content = HEADER + 'a,1,"two\nlines",x\nb,1,"three\r\nmore\r\nlines",x\n\nc,1,one,x\n'
    assert references(opened(content)) == [(2, "a"), (4, "b"), (8, "c")]


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
def test_every_line_ending_is_read(ending: str) -> None:
    content = ending.join(["reference,phone", "a,1", "b,2", ""])
    assert references(opened(content)) == [(2, "a"), (3, "b")]


def test_a_last_line_without_an_ending_is_read() -> None:
    assert references(opened(HEADER + "a,1,x,y")) == [(2, "a")]


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("name", ["users.csv", "users.jsonl"])
def test_a_byte_order_mark_makes_no_difference(mark: bytes, name: str) -> None:
    text = HEADER + "a,1,x,y\n" if name.endswith("csv") else '{"reference": "a"}\n'
    file = opened(mark + text.encode(), name)
    assert file.columns[0] == "reference"
    assert [reference for _, reference in references(file)] == ["a"]


@pytest.mark.parametrize("encoding", ["gb18030", "utf-16", "utf-16-le", "utf-32"])
def test_other_encodings_are_read_when_named(encoding: str) -> None:
    (row,) = opened(HEADER + "a,1,张三,x\n", encoding=encoding)
    assert isinstance(row, FileRow)
    assert row.values["name"] == "张三"


def test_an_unknown_encoding_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="no text encoding 'klingon'"):
        opened(b"x", encoding="klingon")
    with pytest.raises(UsageError, match="no text encoding 'rot13'"):
        opened(b"x", encoding="rot13")


def test_bytes_of_another_encoding_refuse_their_row_alone() -> None:
    content = HEADER.encode() + b"a,1,x,y\n" + "b,1,张三,y\n".encode("gb18030") + b"c,1,x,y\n"
    assert both(opened(content)) == [(2, "a"), (3, "encoding"), (4, "c")]


def test_truncated_utf8_at_the_end_refuses_the_last_row_alone() -> None:
    content = (HEADER + "a,1,x,y\nb,1,张").encode()[:-1]
    assert both(opened(content)) == [(2, "a"), (3, "encoding")]


def test_a_truncated_utf16_file_is_read_to_its_last_whole_row() -> None:
    content = (HEADER + "a,1,x,y\nb,1,z,w").encode("utf-16")[:-1]
    assert both(opened(content, encoding="utf-16")) == [(2, "a"), (3, "encoding")]


def test_a_header_in_another_encoding_says_which_option_helps() -> None:
    with pytest.raises(UsageError, match="not utf-8 text") as caught:
        opened("编号,phone\n".encode("gb18030"))
    assert "--encoding" in str(caught.value.fix)


def test_a_nul_byte_stays_in_its_own_field() -> None:
    rows = list(opened(HEADER + "a,1\0,x,y\nb,1,x,y\n"))
    assert [row.values["reference"] for row in rows if isinstance(row, FileRow)] == ["a", "b"]


def test_a_line_of_a_million_characters_refuses_its_row_alone() -> None:
    content = HEADER + "a,1,x,y\n" + "b,1," + "x" * 1_000_000 + ",y\nc,1,x,y\n"
    assert both(opened(content)) == [(2, "a"), (3, "too_long"), (4, "c")]


def test_a_line_exactly_as_long_as_may_be_is_read() -> None:
    for length in (LONGEST - 1, LONGEST, LONGEST + 1):
        for ending in ("\n", "\r\n"):
            line = "b" * (length - len(ending)) + ending
            content = "reference\na\n" + line + "c\n"
            found = both(opened(content))
            assert [line for line, _ in found] == [2, 3, 4], (length, ending)
            assert found[2] == (4, "c")


def test_a_huge_file_without_any_line_ending_is_refused_as_one_line() -> None:
    with pytest.raises(UsageError):
        opened(b"x" * 3_000_000)


def test_ten_thousand_columns_are_read() -> None:
    extra = [f"extra{number}" for number in range(10_000)]
    content = ",".join(["reference", *extra]) + "\n" + ",".join(["a", *["1"] * 10_000]) + "\n"
    file = opened(content)
    assert len(unknown_columns(file.columns)) == 10_000
    assert references(file) == [(2, "a")]


def test_a_stray_quotation_mark_costs_one_row_not_the_rest_of_the_file() -> None:
    good = "".join(f"u{number},1,x,y\n" for number in range(200))
    found = both(opened(HEADER + 'bad,1,"x,y\n' + good))
    assert found[0] == (2, "malformed")
    assert found[1:] == [(number + 3, f"u{number}") for number in range(200)]


def test_a_stray_quotation_mark_near_the_end_loses_nothing_either() -> None:
    found = both(opened(HEADER + 'bad,1,"x,y\na,1,x,y\nb,1,x,y\n'))
    assert found == [(2, "malformed"), (3, "a"), (4, "b")]


def test_text_after_a_closing_quotation_mark_refuses_its_row_alone() -> None:
    found = both(opened(HEADER + 'a,1,"x"y,z\nb,1,x,y\n'))
    assert found == [(2, "malformed"), (3, "b")]


def test_a_record_of_as_many_lines_as_may_be_is_read() -> None:
    field = '"' + "\n".join(["x"] * MOST_LINES) + '"'
    assert references(opened(HEADER + f"a,1,{field},y\nb,1,x,y\n")) == [
        (2, "a"),
        (2 + MOST_LINES, "b"),
    ]


def test_a_row_wider_than_the_header_is_refused_since_its_columns_may_have_shifted() -> None:
    found = both(opened(HEADER + "a,1,x,y,z\nb,1,x,y,,,\nc,1,x,y\n"))
    assert found == [(2, "too_wide"), (3, "b"), (4, "c")]


def test_blank_rows_are_left_out() -> None:
    content = "\n" + HEADER + "\n,,,\n  \na,1,x,y\n,,,\n"
    assert references(opened(content)) == [(6, "a")]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_seen_in_the_header(delimiter: str) -> None:
    content = HEADER.replace(",", delimiter) + delimiter.join("a1xy") + "\n"
    file = opened(content)
    file.require(REQUIRED)
    assert references(file) == [(2, "a")]


def test_header_names_may_be_spelt_with_capitals_and_spaces() -> None:
    file = opened('Reference,Phone,"Name",ID Number\na,1,x,y\n')
    file.require(REQUIRED)
    assert file.columns == REQUIRED


def test_a_missing_column_is_named_with_close_matches() -> None:
    with pytest.raises(UsageError) as caught:
        opened("reference,phone_no,name,idnumber\n").require(REQUIRED)
    assert "no column phone, id_number" in caught.value.message
    assert "'phone_no' for phone" in caught.value.message
    assert "'idnumber' for id_number" in caught.value.message


def test_a_file_without_a_header_is_refused_without_showing_its_first_line() -> None:
    with pytest.raises(UsageError) as caught:
        opened("u-1,13800138000,张三,11010519491231002X\n").require(REQUIRED)
    shown = caught.value.message + str(caught.value.fix)
    assert "no header" in shown
    assert "13800138000" not in shown
    assert "张三" not in shown


def test_a_doubled_column_is_refused() -> None:
    with pytest.raises(UsageError, match="column twice: phone"):
        opened("reference,phone,phone,name,id_number\n")


@pytest.mark.parametrize("name", ["users.csv", "users.jsonl", "-"])
def test_an_empty_file_is_an_error(name: str) -> None:
    with pytest.raises(UsageError, match="empty"):
        opened(b"", name)


def test_a_file_of_blank_lines_is_an_error() -> None:
    with pytest.raises(UsageError, match="blank"):
        opened(b"\n\n\n")


def test_a_header_alone_has_no_rows() -> None:
    assert list(opened(HEADER)) == []


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"PK\x03\x04rest", "Excel workbook"),
        (b"\xd0\xcf\x11\xe0rest", "old Excel"),
        (gzip.compress(b"reference\n", mtime=0), "compressed"),
        ("reference".encode("utf-16"), "UTF-16"),
        (b"[\n{}\n]\n", "JSON array"),
    ],
)
def test_a_file_of_another_kind_is_named(content: bytes, kind: str) -> None:
    with pytest.raises(UsageError, match=kind):
        opened(content, "-")


def test_standard_input_is_seen_to_be_json_lines() -> None:
    assert opened(b'  {"reference": "a"}\n', "-").format is Format.JSONL
    assert opened(b"reference,phone\n", "-").format is Format.CSV


def test_json_lines_that_are_no_objects_are_refused_one_by_one() -> None:
    content = "\n".join(
        ['{"reference": "a"}', "[1]", "{", '"x"', "", "nonsense", "1" * 6000, '{"reference": "b"}']
    )
    assert both(opened(content, "u.jsonl")) == [
        (1, "a"),
        (2, "not_object"),
        (3, "malformed"),
        (4, "not_object"),
        (6, "malformed"),
        (7, "malformed"),
        (8, "b"),
    ]


def test_deeply_nested_json_is_refused() -> None:
    deep = "[" * 100_000
    content = f'{{"reference": {deep}\n{{"reference": "b"}}\n'
    assert both(opened(content, "u.jsonl")) == [(1, "malformed"), (2, "b")]


def test_formula_looking_cells_are_only_text() -> None:
    (row,) = opened(HEADER + '"=cmd|""/c calc""!A1",1,@x,+1\n')
    assert isinstance(row, FileRow)
    assert row.values["reference"] == '=cmd|"/c calc"!A1'


def test_a_plain_list_is_read_line_by_line() -> None:
    file = opened("u-1\n\n u-2 \nu-3,x\n", "refs.txt", may_be_list=True)
    assert file.format is Format.LIST
    assert references(file) == [(1, "u-1"), (3, "u-2"), (4, "u-3,x")]


def test_a_list_with_a_reference_column_is_a_table() -> None:
    file = opened("platform;reference\nshop;u-1\n", "refs.txt", may_be_list=True)
    assert references(file) == [(2, "u-1")]


def test_rows_do_not_show_their_values() -> None:
    (row,) = opened(HEADER + "a,13800138000,x,y\n")
    assert "13800138000" not in repr(row)


@settings(max_examples=150, deadline=None)
@given(
    content=st.binary(max_size=400),
    head=st.sampled_from([b"", HEADER.encode(), b'{"reference": "a"}\n', b"\xef\xbb\xbf"]),
    name=st.sampled_from(["u.csv", "u.jsonl", "-"]),
    encoding=st.sampled_from(["utf-8", "gb18030", "utf-16", "latin-1", "utf-7", "shift_jis"]),
)
def test_no_bytes_whatever_raise_anything_but_a_usage_error(
    content: bytes, head: bytes, name: str, encoding: str
) -> None:
    try:
        rows = list(opened(head + content, name, encoding=encoding, may_be_list=True))
    except UsageError:
        return
    lines = [row.line for row in rows]
    assert lines == sorted(set(lines))
    assert all(isinstance(row, FileRow | Unreadable) for row in rows)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.sampled_from(['a,1,"x', "b,1,x,y", 'c,"1\n2",x,y', '"', 'd,1,"x""y",z', ",,,", "e"]),
        max_size=120,
    )
)
def test_whatever_quotation_marks_stand_before_them_sound_rows_are_found_again(
    parts: list[str],
) -> None:
    tail = [f"tail{number},1,x,y" for number in range(MOST_LINES + 2)]
    content = HEADER + "\n".join(parts + tail) + "\n"
    found = both(opened(content))
    last = content.count("\n")
    assert found[-1] == (last, tail[-1].split(",")[0])


def test_reading_holds_no_more_than_a_few_rows_in_memory() -> None:
    """A pipe of 64 MB is read with a small peak: the reader never gathers it."""
    import tracemalloc

    read_end, write_end = os.pipe()
    line = b"u," + b"x" * 1000 + b",x,y\n"
    child = os.fork()
    if child == 0:
        os.close(read_end)
        with os.fdopen(write_end, "wb") as pipe:
            pipe.write(HEADER.encode())
            for _ in range(20_000):
                pipe.write(line)
        os._exit(0)
    os.close(write_end)
    with os.fdopen(read_end, "rb") as pipe:
        from verifier.intake.files import RowFile

        tracemalloc.start()
        number = sum(1 for _ in RowFile(pipe, name="-"))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    os.waitpid(child, 0)
    assert number == 20_000
    assert peak < 2_000_000
    assert sys.getsizeof(line) * number > 10 * peak


def test_faults_carry_nothing_of_the_row() -> None:
    file = opened(HEADER + 'a,13800138000,"x"y,z\n')
    (row,) = list(file)
    assert isinstance(row, Unreadable)
    assert "13800138000" not in repr(row) + str(row.fault)
    assert faults(opened(HEADER)) == []
