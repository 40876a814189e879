"""What is said of an error: a finding about a table, or a fault of the machine."""

from __future__ import annotations

import errno
import os

import duckdb
import pytest
from winnow.lake.files.words import in_words


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EMFILE])
def test_a_fault_of_the_machine_is_no_finding(number: int):
    said = os.strerror(number)
    for error in (OSError(number, said, "/x"), duckdb.IOException(f"/x: {said}")):
        with pytest.raises(OSError, match=said) as raised:
            in_words(error)
        assert raised.value.errno == number


def test_a_file_that_cannot_be_read_is_one():
    gone = FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), "/x.parquet")
    assert "/x.parquet" in in_words(gone)
