"""The test classes by which the eventsourcing library holds every store to its contract, run against our
log.
"""

import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("eventsourcing", reason="eventsourcing is a test dependency")
pytest.importorskip("Crypto", reason="eventsourcing's test classes import pycryptodome")

from eventsourcing.tests import persistence as theirs

from tests.conformance import recorder as ours


class OnOurLog:
    """Gives each test recorders on a log of its own, and closes them."""

    kind: type[ours.Recorder]

    def setUp(self) -> None:
        self._folder = Path(tempfile.mkdtemp())
        self._recorders: list[ours.Recorder] = []

    def tearDown(self) -> None:
        for made in self._recorders:
            for branch in made.log.branches():
                report = made.log.verify_chain(branch.name)
                assert report.ok, report.detail
            made.close()
        shutil.rmtree(self._folder)

    def create_recorder(self) -> Any:
        self._recorders.append(self.kind(self._folder / f"{len(self._recorders)}.db"))
        return self._recorders[-1]


class TestAggregateRecorder(OnOurLog, theirs.AggregateRecorderTestCase):
    kind = ours.AggregateRecorder


class TestApplicationRecorder(OnOurLog, theirs.ApplicationRecorderTestCase[Any]):
    kind = ours.ApplicationRecorder

    def test_insert_subscribe(self) -> None:
        self.optional_test_insert_subscribe()


class TestTrackingRecorder(OnOurLog, theirs.TrackingRecorderTestCase):
    kind = ours.TrackingRecorder


class TestProcessRecorder(OnOurLog, theirs.ProcessRecorderTestCase):
    kind = ours.ProcessRecorder


class TestNotificationIdsDoNotInterleave(OnOurLog, theirs.NonInterleavingNotificationIDsBaseCase):
    kind = ours.ApplicationRecorder


@pytest.mark.skip(reason="examines the library's mappers, ciphers and factories, none of which is a store's")
class TestInfrastructureFactory(theirs.InfrastructureFactoryTestCase[Any]):
    pass


@pytest.mark.skip(
    reason="examines the library's transcoder; events of ours are typed and encoded by events.registry"
)
class TestTranscoder(theirs.TranscoderTestCase):
    pass
