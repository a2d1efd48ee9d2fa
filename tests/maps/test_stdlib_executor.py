"""The standard library's own tests of executors, with `wingspan.Executor`, where this Python has them."""

from __future__ import annotations

import unittest
from pathlib import Path

import pytest

import wingspan

pytest.importorskip("test.test_concurrent_futures", reason="this Python was installed without its tests")
from test import test_concurrent_futures as package

if hasattr(package, "__path__"):  # since Python 3.12
    from test.test_concurrent_futures.executor import ExecutorTest
    from test.test_concurrent_futures.test_as_completed import AsCompletedTests
    from test.test_concurrent_futures.test_shutdown import ExecutorShutdownTest
    from test.test_concurrent_futures.test_wait import WaitTests
    from test.test_concurrent_futures.util import BaseTestCase, ExecutorMixin
else:
    from test.test_concurrent_futures import (  # type: ignore[no-redef]
        AsCompletedTests,
        BaseTestCase,
        ExecutorMixin,
        ExecutorShutdownTest,
        ExecutorTest,
        WaitTests,
    )

#: Tests that say nothing of this executor, and why.
LEFT_OUT = {
    "test_interpreter_shutdown": "the script names an executor of concurrent.futures; test_executor.py has its like",
    "test_submit_after_interpreter_shutdown": "the script names an executor of concurrent.futures",
    "test_cancel_futures": "it wants that a call has begun, and workers may still be starting; test_executor.py has its like",
    "test_hang_gh83386": "the script names an executor of concurrent.futures",
    "test_map_timeout": "it sleeps for six seconds; test_executor.py has its like",
    "test_duplicate_futures": "it sleeps for two seconds, and is about as_completed alone",
    "test_future_times_out": "it sleeps for a second, and is about as_completed alone",
    "test_free_reference_yielded_future": "it is about as_completed alone",
    "test_correct_timeout_exception_msg": "it is about as_completed alone",
    "test_first_exception": "it sleeps for three seconds; test_first_exception_some_already_complete is the same",
}


@pytest.fixture(autouse=True)
def _own_data(data_dir: Path) -> None:
    """Maps of these tests lie in a folder of their own."""


class WingspanMixin(ExecutorMixin):  # type: ignore[misc,valid-type]
    worker_count = 2

    @staticmethod
    def executor_type(max_workers: int) -> wingspan.Executor:
        return wingspan.Executor(max_workers, pool="local")

    def setUp(self) -> None:
        if (reason := LEFT_OUT.get(self._testMethodName)) is not None:
            raise unittest.SkipTest(reason)
        super().setUp()


class TestExecutor(WingspanMixin, ExecutorTest, BaseTestCase):  # type: ignore[misc,valid-type]
    pass


class TestShutdown(WingspanMixin, ExecutorShutdownTest, BaseTestCase):  # type: ignore[misc,valid-type]
    pass


class TestWait(WingspanMixin, WaitTests, BaseTestCase):  # type: ignore[misc,valid-type]
    pass


class TestAsCompleted(WingspanMixin, AsCompletedTests, BaseTestCase):  # type: ignore[misc,valid-type]
    pass
