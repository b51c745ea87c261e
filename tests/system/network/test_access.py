"""Who is let in: tokens, certificates, both; and what is not served or said in the open."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import torch
import trustme

from sidelight.system.errors import SidelightError, UsageError
from sidelight.system.message import Message
from sidelight.system.network.access import read_token, read_tokens
from sidelight.system.network.device_wire import Connection, DeviceWire
from sidelight.system.network.server import ServerSettings
from sidelight.system.protocols.pae import PAE
from sidelight.system.protocols.side_training import SideTraining
from sidelight.system.roles import DEVICE, SERVER

from ...contracts.micro import Micro, make_scene
from .served import Served, serving, worked

PROTOCOL = PAE(side=SideTraining(bottleneck=4, epochs=1, batch=24))
ALICE, BOB = "a" * 20, "b" * 20


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@dataclass(frozen=True)
class Papers:
    """Certificates and tokens as files."""

    root: Path
    authority: trustme.CA

    def pair(self, name: str, authority: trustme.CA | None = None, **more: Any) -> tuple[Path, Path]:
        """A certificate and its key."""
        issued = (authority or self.authority).issue_cert("localhost", common_name=name, **more)
        stem = f"{name}-{len(list(self.root.iterdir()))}"
        cert, key = self.root / f"{stem}.pem", self.root / f"{stem}.key"
        cert.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
        key.write_bytes(issued.private_key_pem.bytes())
        return cert, key

    def ca(self, authority: trustme.CA | None = None) -> Path:
        path = self.root / f"ca-{id(authority)}.pem"
        path.write_bytes((authority or self.authority).cert_pem.bytes())
        return path

    def secret(self, name: str, text: str) -> Path:
        path = self.root / name
        path.write_text(text)
        path.chmod(0o600)
        return path


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def papers(tmp_path: Path, authority: trustme.CA) -> Papers:
    (tmp_path / "papers").mkdir()
    return Papers(tmp_path / "papers", authority)


@pytest.fixture
def tokened(tmp_path: Path, papers: Papers) -> Iterator[Served]:
    """Plain text on this machine; two devices have tokens."""
    tokens = papers.secret("tokens", f"# devices\nalice {ALICE}\nbob {BOB}\n")
    with serving(tmp_path / "store", tokens=tokens) as served:
        yield served


def refusal(served: Served, name: str = "alice", **settings: Any) -> str:
    """Why a device is not let in, by its first call."""
    with served.wire(name, **settings) as wire, pytest.raises(SidelightError) as refused:
        wire.request(Message("download", DEVICE, SERVER))
    return str(refused.value)


# --- tokens ---------------------------------------------------------------------------------------------------


def test_a_device_with_its_own_token_trains(micro: Micro, papers: Papers, tokened: Served) -> None:
    with tokened.wire("alice", token=papers.secret("token", ALICE)) as wire:
        worked(wire, PROTOCOL, make_scene(micro.backbone("opt")))


def test_no_token_a_wrong_one_and_another_s_are_refused(papers: Papers, tokened: Served) -> None:
    assert "no valid token came" in refusal(tokened)
    assert "no valid token came" in refusal(tokened, token=papers.secret("wrong", "c" * 20))
    assert "are of different devices" in refusal(tokened, token=papers.secret("bob", BOB))
    assert [event["status"] for event in tokened.events if event["event"] == "refused"] == [
        "UNAUTHENTICATED",
        "UNAUTHENTICATED",
        "PERMISSION_DENIED",
    ]
    assert ALICE not in tokened.log.getvalue()


def test_nothing_of_another_s_can_be_read_trained_downloaded_or_deleted(
    micro: Micro, papers: Papers, tokened: Served, tmp_path: Path
) -> None:
    alices, bobs = papers.secret("alice", ALICE), papers.secret("bob", BOB)
    scene = make_scene(micro.backbone("opt"))
    with tokened.wire("alice", token=alices) as wire:
        worked(wire, PROTOCOL, scene)
        before = wire.request(Message("download", DEVICE, SERVER)).tensors
    with tokened.wire("bob", token=bobs) as wire:
        for kind in ("download", "train"):
            with pytest.raises(UsageError, match="no run of this device"):
                wire.request(Message(kind, DEVICE, SERVER))
        wire.request(Message("forget", DEVICE, SERVER))
        other = make_scene(micro.backbone("opt"), seed="bob's")
        wire.join(PROTOCOL.agreed(other))
        ids = tuple(sorted(sample.id for sample in other.samples[DEVICE]))
        # the same samples' ids: nothing of Alice's is there under them
        assert wire.request(Message("samples", DEVICE, SERVER, sample_ids=ids)).sample_ids == ids
        assert wire.request(Message("train", DEVICE, SERVER)).sample_ids == ids
        wire.request(Message("forget", DEVICE, SERVER, sample_ids=ids))
    with tokened.wire("alice", token=alices) as wire:
        after = wire.request(Message("download", DEVICE, SERVER)).tensors
    assert all(torch.equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "holds no token"),
        ("alice\n", "line 1 is no token"),
        ("alice short\n", "line 1 is no token"),
        (f"../alice {ALICE}\n", "line 1 is no token"),
        (f"alice {ALICE}\nbob {ALICE}\n", "line 2 gives a name or a token a second time"),
        (f"alice {ALICE}\nalice {BOB}\n", "line 2 gives a name or a token a second time"),
    ],
)
def test_a_file_of_tokens_is_refused_by_line(papers: Papers, text: str, reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        read_tokens(papers.secret("tokens", text))


def test_a_secret_that_others_may_read_is_refused(papers: Papers) -> None:
    path = papers.secret("token", ALICE)
    assert read_token(path) == ALICE
    path.chmod(0o640)
    with pytest.raises(UsageError, match="others may read"):
        read_token(path)
    with pytest.raises(UsageError, match="does not exist"):
        read_token(papers.root / "absent")


@pytest.mark.parametrize("name", ["", "../bob", "Bob", "b/b", "b" * 65, "-bob", "bob\n"])
def test_a_device_s_name_is_a_plain_one(tmp_path: Path, name: str) -> None:
    with serving(tmp_path / "store") as served:
        try:
            reason = refusal(served, name)
        except ValueError as error:  # gRPC itself sends no such metadata
            reason = str(error)
    assert "a device's name is" in reason or "metadata" in reason
    assert [path.name for path in (tmp_path / "store").iterdir() if path.is_dir()] == []


# --- TLS ------------------------------------------------------------------------------------------------------


def test_over_tls_the_server_is_checked(micro: Micro, papers: Papers, tmp_path: Path) -> None:
    cert, key = papers.pair("server")
    with serving(tmp_path / "store", tls_cert=cert, tls_key=key) as served:
        with served.wire("alice", tls_ca=papers.ca()) as wire:
            worked(wire, PROTOCOL, make_scene(micro.backbone("opt")))
        stranger = trustme.CA()
        assert "do not trust each other" in refusal(served, tls_ca=papers.ca(stranger))
        assert served.events[0]["protection"] == "TLS"
        assert "does not answer" in refusal(served, patience=1.0)  # plain text to a server that speaks TLS


def test_an_expired_certificate_is_refused(papers: Papers, tmp_path: Path) -> None:
    cert, key = papers.pair("server", not_after=datetime.now(UTC) - timedelta(days=1))
    with serving(tmp_path / "store", tls_cert=cert, tls_key=key) as served:
        assert "do not trust each other" in refusal(served, tls_ca=papers.ca())


def test_with_mutual_tls_the_certificate_names_the_device(micro: Micro, papers: Papers, tmp_path: Path) -> None:
    cert, key = papers.pair("server")
    with serving(tmp_path / "store", tls_cert=cert, tls_key=key, client_ca=papers.ca()) as served:
        mine, own = papers.pair("alice")
        shown = {"tls_ca": papers.ca(), "tls_cert": mine, "tls_key": own}
        with served.wire("alice", **shown) as wire:
            worked(wire, PROTOCOL, make_scene(micro.backbone("opt")))
        assert "are of different devices" in refusal(served, "bob", **shown)
        assert [event["event"] for event in served.events].count("joined") == 1
        stranger = papers.pair("alice", trustme.CA())
        past = papers.pair("alice", not_after=datetime.now(UTC) - timedelta(days=1))
        for pair in ((None, None), stranger, past):
            why = refusal(served, tls_ca=papers.ca(), tls_cert=pair[0], tls_key=pair[1], patience=1.0)
            assert "do not trust each other" in why or "does not answer" in why
        assert {event.get("device") for event in served.events} == {None, "alice"}


# --- in the open ----------------------------------------------------------------------------------------------


def test_beyond_this_machine_nothing_is_open_unless_asked_for_by_name(papers: Papers, tmp_path: Path) -> None:
    cert, key = papers.pair("server")
    tokens = papers.secret("tokens", f"alice {ALICE}\n")
    tls: dict[str, Any] = {"tls_cert": cert, "tls_key": key}
    everywhere = "0.0.0.0:0"
    with pytest.raises(UsageError, match="without TLS all can be read"):
        ServerSettings(everywhere, tmp_path, tokens=tokens)
    with pytest.raises(UsageError, match="nobody has to show who they are"):
        ServerSettings(everywhere, tmp_path, **tls)
    ServerSettings(everywhere, tmp_path, tokens=tokens, **tls)
    ServerSettings(everywhere, tmp_path, tokens=tokens, plain_text=True)
    ServerSettings(everywhere, tmp_path, anybody=True, **tls)
    with pytest.raises(UsageError, match="client certificates need TLS"):
        ServerSettings("localhost:0", tmp_path, client_ca=cert)
    with pytest.raises(UsageError, match="needs its key"):
        ServerSettings("localhost:0", tmp_path, tls_cert=cert)


@pytest.mark.parametrize(("server", "secure"), [("localhost:1", False), ("127.0.0.1:1", False), ("[::1]:1", False)])
def test_a_device_speaks_plain_text_to_its_own_machine_only(server: str, secure: bool) -> None:
    assert Connection(server).secure is secure
    assert Connection("example.org:1").secure
    assert Connection("10.0.0.1:1").secure
    assert not Connection("example.org:1", plain_text=True).secure


@pytest.mark.parametrize("address", ["localhost", ":1", "localhost:", "localhost:99999", "localhost:x"])
def test_an_address_is_a_host_and_a_port(address: str) -> None:
    with pytest.raises(UsageError, match="give HOST:PORT"):
        Connection(address)


def test_a_server_that_is_not_there_is_named(tmp_path: Path) -> None:
    wire = DeviceWire(Connection("localhost:1", "alice", patience=0.5))
    with pytest.raises(SidelightError, match="the server at localhost:1 does not answer"):
        wire.request(Message("download", DEVICE, SERVER))
    wire.close()
