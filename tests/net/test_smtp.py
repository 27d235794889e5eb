"""Sending: every fate of a message, and on which side of the final dot it was decided."""

from __future__ import annotations

import asyncio
import base64
import socket
import ssl
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest
import trustme
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult

from termmail.model.account import Auth, Security, Server
from termmail.model.errors import AuthRefused, ConnectionLost, NetError, Refused, StoreError, TlsError, Unreachable
from termmail.net import smtp
from termmail.net.smtp import Outcome, SendResult, check, send
from tests.servers.dovecot import free_port
from tests.servers.scripted import Peer, Scripted

SECRET = "canary-Pa55"
RAW = b"From: ada@example.org\r\nSubject: hi\r\n\r\nHello\r\n.\r\n..two\r\n.QUIT\r\nend\r\n"


@dataclass
class Sink:
    """An aiosmtpd handler: remembers what it took; refuses what it is told to."""

    refuse: dict[str, str] = field(default_factory=dict)
    data_answer: str = "250 2.0.0 taken"
    taken: list[tuple[str, list[str], bytes]] = field(default_factory=list)
    options: list[str] = field(default_factory=list)

    async def handle_MAIL(self, server, session, envelope, address, options):  # noqa: N802
        self.options = options
        if address in self.refuse:
            return self.refuse[address]
        envelope.mail_from = address
        return "250 ok"

    async def handle_RCPT(self, server, session, envelope, address, options):  # noqa: N802
        if address in self.refuse:
            return self.refuse[address]
        envelope.rcpt_tos.append(address)
        return "250 ok"

    async def handle_DATA(self, server, session, envelope):  # noqa: N802
        if self.data_answer.startswith("2"):
            self.taken.append((envelope.mail_from, list(envelope.rcpt_tos), envelope.original_content))
        return self.data_answer


Serve = Callable[..., Server]


@pytest.fixture
def serve(tmp_path) -> Iterator[Serve]:
    """Starts an aiosmtpd with a handler; the settings of an account for it."""
    running: list[Controller] = []
    authority = trustme.CA()
    ca_file = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(ca_file)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)

    def authenticator(server, session, envelope, mechanism, data):
        good = data.login == b"ada" and data.password == SECRET.encode()
        return AuthResult(success=good, handled=False)

    def start(
        sink: object, security: Security = Security.NONE, auth: Auth = Auth.NONE, *, offer_tls: bool = True, **options
    ) -> Server:
        if security == Security.STARTTLS and offer_tls:
            options["tls_context"] = context
        if auth == Auth.PASSWORD:
            options |= {"authenticator": authenticator, "auth_require_tls": False, "auth_required": True}

        class Made(Controller):
            def factory(self) -> SMTP:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    return SMTP(self.handler, **self.SMTP_kwargs)

        controller = Made(
            sink, hostname="127.0.0.1", port=free_port(), ssl_context=context if security == Security.TLS else None,
            server_hostname="localhost", **options,
        )  # fmt: skip
        controller.start() if security != Security.TLS else _start_tls(controller)
        running.append(controller)
        host = "localhost" if security != Security.NONE else "127.0.0.1"
        return Server("smtp", host, controller.port, security, "ada", auth=auth, ca_file=str(ca_file))

    yield start
    for controller in running:
        controller.stop()


def _start_tls(controller: Controller) -> None:
    """aiosmtpd looks whether it answers with a client that knows no authority of ours: use one that asks for none."""

    def trigger() -> None:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        with (
            socket.create_connection((controller.hostname, controller.port)) as plain,
            context.wrap_socket(plain) as tls,
        ):
            tls.recv(1)

    controller._trigger_server = trigger  # type: ignore[method-assign]
    controller.start()


class Log:
    """What `send` told its caller, in order."""

    def __init__(self) -> None:
        self.phases: list[str] = []
        self.progress: list[int] = []
        self.recipients: dict[str, tuple[str, str]] = {}

    async def send(
        self, server: Server, *recipients: str, raw: bytes = RAW, secret: str = SECRET, **more
    ) -> SendResult:
        sender = more.pop("sender", "ada@example.org")
        return await send(
            server, secret, sender=sender, recipients=recipients or ("you@example.org",), raw=raw,
            on_phase=self.phases.append, on_progress=self.progress.append,
            on_recipient=lambda email, status, code, words: self.recipients.update({email: (status, code)}), **more,
        )  # fmt: skip


ALL = ["connect", "envelope", "data", "terminator"]


async def test_a_message_arrives_byte_for_byte_and_every_phase_is_told_before_it_begins(serve):
    sink, log = Sink(), Log()
    server = serve(sink)
    assert (await log.send(server, "a@example.org", "b@example.org")).outcome == Outcome.ACCEPTED
    assert sink.taken == [("ada@example.org", ["a@example.org", "b@example.org"], RAW)]
    assert log.phases == ALL
    assert log.recipients == {"a@example.org": ("ok", ""), "b@example.org": ("ok", "")}
    assert f"SIZE={len(RAW)}" in sink.options


async def test_a_large_message_tells_its_progress(serve):
    sink, log = Sink(), Log()
    raw = b"Subject: big\r\n\r\n" + b".x" * 38 + b"\r\n" + (b"." + b"y" * 70 + b"\r\n") * 20_000
    assert (await log.send(serve(sink), raw=raw)).outcome == Outcome.ACCEPTED
    assert sink.taken[0][2] == raw
    assert log.progress == sorted(log.progress)
    assert len(log.progress) > 20
    assert log.progress[-1] == len(raw)


@pytest.mark.parametrize("security", [Security.NONE, Security.STARTTLS, Security.TLS])
async def test_it_logs_in_and_sends_however_the_connection_is_protected(serve, security):
    sink, log = Sink(), Log()
    server = serve(sink, security, Auth.PASSWORD)
    await check(server, SECRET)
    assert (await log.send(server)).outcome == Outcome.ACCEPTED
    with pytest.raises(AuthRefused) as refused:
        await check(server, "wrong")
    assert "wrong" not in str(refused.value)
    assert len(sink.taken) == 1


async def test_starttls_that_is_not_offered_is_fatal_and_nothing_is_said():
    def script(peer: Peer) -> None:
        peer.send(b"220 hello\r\n")
        peer.line()
        peer.send(b"250-hello\r\n250 AUTH PLAIN LOGIN\r\n")
        peer.until_gone()

    log = Log()
    with Scripted(script) as server, pytest.raises(TlsError):
        await log.send(_at(server, security=Security.STARTTLS, auth=Auth.PASSWORD))
    assert server.got.split(b" ")[0] == b"EHLO"
    assert b"AUTH" not in server.got
    assert b"MAIL" not in server.got
    assert log.phases == ["connect"]


async def test_answers_injected_behind_starttls_are_not_believed(tmp_path):
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)

    def script(peer: Peer) -> None:
        peer.send(b"220 hello\r\n")
        peer.line()
        peer.send(b"250-hello\r\n250 STARTTLS\r\n")
        peer.line()
        peer.send(b"220 go\r\n250-evil\r\n250 AUTH PLAIN\r\n")
        peer.sock = context.wrap_socket(peer.sock, server_side=True)
        peer.line()
        peer.send(b"250 hello again\r\n")
        peer.until_gone()

    with Scripted(script) as server, pytest.raises(NetError):
        await check(
            _at(server, security=Security.STARTTLS, auth=Auth.PASSWORD, ca_file=str(tmp_path / "ca.pem")), SECRET
        )
    assert b"AUTH" not in server.got


async def test_no_password_and_no_mail_leave_this_machine_in_the_clear():
    with pytest.raises(TlsError):
        await check(Server("smtp", "192.0.2.1", 25, Security.NONE, "ada"), SECRET)


async def test_one_refused_recipient_stops_the_message_for_all(serve):
    sink, log = Sink({"b@example.org": "550 5.1.1 no \x1b[31msuch user"}), Log()
    result = await log.send(serve(sink), "a@example.org", "b@example.org", "c@example.org")
    assert (result.outcome, result.code) == (Outcome.PERMANENT, "550 5.1.1")
    assert result.words.isprintable()
    assert "b@example.org" in result.words
    assert sink.taken == []
    assert log.phases == ["connect", "envelope"]
    assert {email: status for email, (status, _) in log.recipients.items()} == {
        "a@example.org": "pending", "b@example.org": "perm", "c@example.org": "pending",
    }  # fmt: skip


async def test_a_permanent_refusal_outweighs_a_passing_one(serve):
    sink, log = Sink({"a@example.org": "451 4.7.1 greylisted", "b@example.org": "550 5.1.1 unknown"}), Log()
    server = serve(sink)
    assert (await log.send(server, "a@example.org", "b@example.org")).outcome == Outcome.PERMANENT
    assert (await log.send(server, "a@example.org", "c@example.org")).outcome == Outcome.TEMPORARY
    assert log.recipients["a@example.org"] == ("temp", "451 4.7.1")


async def test_a_partial_message_goes_to_those_who_can_have_it(serve):
    sink, log = Sink({"b@example.org": "550 5.1.1 unknown"}), Log()
    server = serve(sink)
    result = await log.send(server, "a@example.org", "b@example.org", partial=True)
    assert result.outcome == Outcome.PARTIAL
    assert sink.taken[0][1] == ["a@example.org"]
    assert {email: status for email, (status, _) in log.recipients.items()} == {
        "a@example.org": "ok", "b@example.org": "perm",
    }  # fmt: skip
    assert (await log.send(server, "b@example.org", partial=True)).outcome == Outcome.PERMANENT
    assert len(sink.taken) == 1


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [("451 4.3.0 try later", Outcome.TEMPORARY), ("554 5.7.1 spam", Outcome.PERMANENT), ("250 ok", Outcome.ACCEPTED)],
)
async def test_the_answer_to_the_final_dot_decides(serve, answer, outcome):
    sink, log = Sink(data_answer=answer), Log()
    result = await log.send(serve(sink))
    assert result.outcome == outcome
    assert log.recipients["you@example.org"][0] == ("ok" if outcome == Outcome.ACCEPTED else "pending")
    assert log.phases == ALL


async def test_a_refused_sender_is_told(serve):
    sink, log = Sink({"ada@example.org": "553 5.1.8 not you"}), Log()
    result = await log.send(serve(sink))
    assert (result.outcome, result.code) == (Outcome.PERMANENT, "553 5.1.8")


async def test_a_message_too_large_is_refused_before_it_is_sent(serve):
    sink, log = Sink(), Log()
    result = await log.send(serve(sink, data_size_limit=50))
    assert (result.outcome, result.code) == (Outcome.PERMANENT, "552 5.3.4")
    assert log.phases == ["connect", "envelope"]


async def test_addresses_beyond_ascii_need_smtputf8_and_domains_do_not(serve):
    sink, log = Sink(), Log()
    plain = serve(sink, enable_SMTPUTF8=False)
    assert (await log.send(plain, "ünal@example.org")).outcome == Outcome.PERMANENT
    assert (await log.send(plain, "ada@bücher.example")).outcome == Outcome.ACCEPTED
    assert sink.taken[-1][1] == ["ada@xn--bcher-kva.example"]
    assert log.recipients["ada@bücher.example"][0] == "ok"
    assert (await log.send(serve(sink, enable_SMTPUTF8=True), "ünal@bücher.example")).outcome == Outcome.ACCEPTED
    assert sink.taken[-1][1] == ["ünal@xn--bcher-kva.example"]
    assert "SMTPUTF8" in sink.options


@pytest.mark.parametrize(
    "address",
    ["x@example.org>\r\nRCPT TO:<y@example.org", "a b@example.org", "x@y.example> NOTIFY=NEVER", "a", "@b", "a@", "",
     "alice@example.org)bob@evil.example", "a@b.example, c@d.example", "a\0@b.example", "a@" + "ü" * 70 + ".example"],
)  # fmt: skip
async def test_what_is_no_address_never_reaches_the_wire(serve, address):
    sink, log = Sink(), Log()
    assert (await log.send(serve(sink), "you@example.org", address)).outcome == Outcome.PERMANENT
    assert sink.taken == []


@pytest.mark.parametrize("raw", [b"a\r\n\r\nb\n.\nMAIL", b"a\r\n\r\nb\r.\r\n", b"\na", b"a\r"])
async def test_line_ends_that_servers_read_differently_are_not_sent(raw):
    log = Log()
    result = await log.send(Server("smtp", "127.0.0.1", free_port(), Security.NONE, "ada"), raw=raw)
    assert result.outcome == Outcome.PERMANENT
    assert log.phases == []


# -- broken connections ---------------------------------------------------------------------------------


def _at(server: Scripted, **changes) -> Server:
    values = {"security": Security.NONE, "auth": Auth.NONE} | changes
    return Server(kind="smtp", host="localhost", port=server.port, user="ada", **values)


def _until(verb: bytes, last: bytes) -> Callable[[Peer], None]:
    """A server that is well until it hears `verb`; then it says `last` and hangs up."""

    def script(peer: Peer) -> None:
        peer.send(b"220 hello\r\n")
        if verb == b"":
            return
        while line := peer.line():
            word = line.split()[0].upper()
            if word == verb:
                peer.send(last)
                return
            if word == b"DATA":
                peer.send(b"354 go\r\n")
                while (line := peer.line()) not in (b".\r\n", b""):
                    pass
                if verb == b".":
                    peer.send(last)
                    return
            peer.send(b"250 ok\r\n")

    return script


@pytest.mark.parametrize("verb", [b"MAIL", b"RCPT", b"DATA"])
@pytest.mark.parametrize("last", [b"", b"421 4.3.2 going down\r\n", b"nonsense\r\n", b"450 busy\r\n"])
async def test_before_the_final_dot_it_was_certainly_not_sent(verb, last):
    log = Log()
    with Scripted(_until(verb, last)) as server:
        assert (await log.send(_at(server))).outcome == Outcome.TEMPORARY
    assert "terminator" not in log.phases
    assert all(status != "ok" for status, _ in log.recipients.values())


async def test_a_connection_that_breaks_inside_the_message_was_certainly_not_sent():
    def script(peer: Peer) -> None:
        peer.send(b"220 hello\r\n")
        while line := peer.line():
            if line.startswith(b"DATA"):
                peer.send(b"354 go\r\n")
                peer.exactly(1000)
                return
            peer.send(b"250 ok\r\n")

    log = Log()
    with Scripted(script) as server:
        result = await log.send(_at(server), raw=b"Subject: x\r\n\r\n" + b"y" * 70 + (b"\r\n" + b"y" * 70) * 200_000)
    assert result.outcome == Outcome.TEMPORARY
    assert log.phases == ALL[:3]


@pytest.mark.parametrize("last", [b"", b"nonsense\r\n", b"354 more\r\n", b"2"])
async def test_silence_after_the_final_dot_is_doubt_and_nothing_else(last):
    log = Log()
    with Scripted(_until(b".", last)) as server:
        result = await log.send(_at(server))
    assert result.outcome == Outcome.UNCERTAIN
    assert log.phases == ALL
    assert server.got.count(b"\r\n.\r\n") == 1


async def test_a_server_that_never_answers_the_final_dot_leaves_doubt(monkeypatch):
    monkeypatch.setattr(smtp, "FINAL", 0.2)

    def script(peer: Peer) -> None:
        peer.send(b"220 hello\r\n")
        while line := peer.line():
            peer.send(b"354 go\r\n" if line.startswith(b"DATA") else b"250 ok\r\n" if line[:1] in b"EMR" else b"")
            if line.startswith(b"DATA"):
                peer.until_gone()

    log = Log()
    with Scripted(script) as server:
        assert (await log.send(_at(server))).outcome == Outcome.UNCERTAIN


@pytest.mark.parametrize("phase", ALL)
async def test_a_phase_that_cannot_be_written_down_is_not_entered(serve, phase):
    sink = Sink()

    def on_phase(name: str) -> None:
        if name == phase:
            raise StoreError("disk full")

    with pytest.raises(StoreError):
        await send(
            serve(sink), "", sender="ada@example.org", recipients=["you@example.org"], raw=RAW, on_phase=on_phase,
            on_progress=lambda sent: None, on_recipient=lambda *_: None,
        )  # fmt: skip
    await asyncio.sleep(0.05)
    assert sink.taken == []


@pytest.mark.parametrize(
    ("greeting", "error", "temporary"),
    [(b"421 too busy\r\n", Refused, True), (b"554 go away\r\n", Refused, False), (b"", NetError, True)],
)
async def test_servers_that_do_not_want_us_are_told_apart(greeting, error, temporary):
    with Scripted(lambda peer: peer.send(greeting)) as server, pytest.raises(error) as refused:
        await check(_at(server), "")
    assert refused.value.temporary == temporary


async def test_servers_that_are_not_there_are_told_apart():
    with pytest.raises(Unreachable, match="refuses"):
        await check(Server("smtp", "127.0.0.1", free_port(), Security.NONE, "ada"), "")
    with pytest.raises(Unreachable, match="resolved"):
        await check(Server("smtp", "no-such-host.invalid", 465, Security.TLS, "ada"), "")


async def test_tls_spoken_to_a_plain_port_is_named(serve):
    plain = serve(Sink())
    with pytest.raises(TlsError):
        await check(Server("smtp", "localhost", plain.port, Security.TLS, "ada", ca_file=plain.ca_file), "")


async def test_a_server_without_log_in_is_named(serve):
    server = serve(Sink())
    with pytest.raises(AuthRefused):
        await check(Server("smtp", "127.0.0.1", server.port, Security.NONE, "ada"), SECRET)


async def test_a_passing_trouble_at_log_in_does_not_ask_for_a_password():
    def script(peer: Peer) -> None:
        peer.send(b"220 hello\r\n")
        peer.line()
        peer.send(b"250-hello\r\n250 AUTH PLAIN\r\n")
        peer.line()
        peer.send(b"454 4.7.0 Temporary authentication failure\r\n")
        peer.until_gone()

    with Scripted(script) as server, pytest.raises((Refused, ConnectionLost)) as refused:
        await check(_at(server, auth=Auth.PASSWORD), SECRET)
    assert refused.value.temporary
    assert SECRET not in str(refused.value)


async def test_a_trace_tells_phases_and_answers_and_no_secret(serve, monkeypatch, caplog):
    monkeypatch.setattr(smtp, "TRACE", True)
    caplog.set_level("DEBUG")
    log = Log()
    server = serve(Sink(), auth=Auth.PASSWORD)
    await log.send(server)
    with pytest.raises(AuthRefused):
        await check(server, "wrong" + SECRET)
    assert "> terminator" in caplog.text
    assert "250 2.0.0 taken" in caplog.text
    assert SECRET not in caplog.text
    assert base64.b64encode(f"\0ada\0{SECRET}".encode()).decode() not in caplog.text
