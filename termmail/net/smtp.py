"""Sending: one message over one SMTP connection, with its fate known at every byte.

The caller commits each phase before it begins.  Nothing but the end of `terminator` can leave a message
in doubt: before the final dot it was certainly not sent, after the reply its fate is known.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import re
import socket
import ssl
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from email.utils import parseaddr
from enum import StrEnum

import aiosmtplib

from termmail.model.account import Auth, Security, Server
from termmail.model.errors import AuthRefused, ConnectionLost, NetError, Refused, TlsError, Unreachable
from termmail.net import tls
from termmail.text import SafeText, safe_line

log = logging.getLogger("termmail.smtp")
TRACE = bool(os.environ.get("TERMMAIL_TRACE"))

CONNECT, COMMAND, IDLE, FINAL = 15.0, 60.0, 60.0, 600.0  # seconds; FINAL: RFC 5321 §4.5.3.2.6
_SLICE = 32 << 10
_ENHANCED = re.compile(r"\b([245]\.\d{1,3}\.\d{1,3})\b")


class Outcome(StrEnum):
    """What became of a message: only `uncertain` is in doubt, and only `temporary` may be tried again."""

    ACCEPTED = "accepted"
    PARTIAL = "partial"
    TEMPORARY = "temporary"
    PERMANENT = "permanent"
    UNCERTAIN = "uncertain"


@dataclass(frozen=True, slots=True)
class SendResult:
    """The outcome, the server's code and its words."""

    outcome: Outcome
    code: str = ""
    words: SafeText = SafeText("")


def _traced(on_phase: Callable[[str], None]) -> Callable[[str], None]:
    """The same, with a line in the trace.  Commands are not traced: one of them holds the password."""

    def told(phase: str) -> None:
        if TRACE:
            log.debug("> %s", phase)
        on_phase(phase)

    return told


def _reply(code: int, message: str) -> tuple[str, SafeText]:
    """(code with enhanced status, words) of a reply."""
    words = safe_line(message.replace("\n", " "), 300)
    if TRACE:
        log.debug("< %d %s", code, words)
    enhanced = _ENHANCED.search(words)
    return (f"{code} {enhanced[1]}" if enhanced else str(code)), words


async def _connected(server: Server, secret: str) -> aiosmtplib.SMTP:
    """Connect, protect, greet, log in.  Raises NetError; never sends a secret in the clear off this machine."""
    tls.demand_protection(server)
    where = f"{safe_line(server.host)}:{server.port}"
    client = aiosmtplib.SMTP(
        hostname=server.host, port=server.port, timeout=CONNECT, use_tls=server.security == Security.TLS,
        start_tls=server.security == Security.STARTTLS,
        tls_context=None if server.security == Security.NONE else tls.context(server), local_hostname="localhost",
    )  # fmt: skip
    try:
        await client.connect()
        if server.security == Security.NONE:
            peer = client.get_transport_info("peername")
            tls.demand_loopback(server, peer[0] if peer else "")
        if server.auth == Auth.OAUTH2:
            raise AuthRefused("signing in by OAuth2 is not there yet", hint="use an app password")
        if server.auth == Auth.PASSWORD:
            await client.login(server.user, secret, timeout=COMMAND)
        elif client.is_ehlo_or_helo_needed:  # what the server offers is asked for before MAIL, not by it
            try:
                await client.ehlo(timeout=COMMAND)
            except aiosmtplib.SMTPHeloError:
                await client.helo(timeout=COMMAND)
    except (aiosmtplib.SMTPException, OSError, ValueError) as error:
        client.close()
        raise _explained(error, server, where) from error
    except NetError:
        client.close()
        raise
    return client


def _explained(error: Exception, server: Server, where: str) -> NetError:
    """An error of connecting in words."""
    for cause in _causes(error):
        if isinstance(cause, ssl.SSLError):
            return tls.explained(cause, server)
    if isinstance(error, aiosmtplib.SMTPAuthenticationError):
        code, words = _reply(error.code, error.message)
        if error.code // 100 == 4:
            return Refused(f"the server cannot log anybody in now: {words}", code=code, temporary=True)
        return AuthRefused(f"{where} refused user and password: {words}", hint="termmail account test says more")
    if isinstance(error, aiosmtplib.SMTPResponseException):
        code, words = _reply(error.code, error.message)
        return Refused(f"{where} said {code}: {words}", code=code, temporary=error.code // 100 == 4)
    if isinstance(error, TimeoutError):
        return Unreachable(f"{where} does not answer", hint="check host and port, and the network")
    if isinstance(error, aiosmtplib.SMTPConnectError | OSError):
        return _unreached(error, server, where)
    if "auth" in str(error).lower():
        return AuthRefused(
            f"{where} offers no way to log in that termmail knows", hint='auth = "none" if it wants none'
        )
    if "TLS" in str(error):
        return TlsError(f"{where} does not offer STARTTLS", hint='security = "tls" and port 465 may work')
    return ConnectionLost(f"{where}: {safe_line(str(error), 200)}")


def _causes(error: BaseException) -> Iterator[BaseException]:
    """An error and those it came from."""
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__


def _unreached(error: Exception, server: Server, where: str) -> Unreachable:
    """The same words as for IMAP."""
    for cause in _causes(error):
        if isinstance(cause, ConnectionRefusedError):
            return Unreachable(f"{where} refuses connections", hint="check host and port")
        if isinstance(cause, socket.gaierror):
            return Unreachable(
                f"the name {safe_line(server.host)} cannot be resolved", hint="check host, and the network"
            )
    return Unreachable(f"{where} cannot be reached: {safe_line(str(error), 200)}", hint="check host and port")


async def check(server: Server, secret: str) -> None:
    """Connect, log in and leave.  Raises NetError."""
    client = await _connected(server, secret)
    with contextlib.suppress(aiosmtplib.SMTPException, OSError):
        await client.quit(timeout=5)
    client.close()


async def send(
    server: Server,
    secret: str,
    *,
    sender: str,
    recipients: Sequence[str],
    raw: bytes,
    on_phase: Callable[[str], None],
    on_progress: Callable[[int], None],
    on_recipient: Callable[[str, str, str, str], None],
    partial: bool = False,
) -> SendResult:
    """Send finished bytes (lines end in CRLF); what became of them.

    `on_phase` is called with connect, envelope, data and terminator before each begins;
    `on_recipient` with (address, ok | temp | perm | pending, code, words): pending takes an `ok` back, when the
    message went to nobody.  Unless `partial`, one refused recipient stops the message for all, so that nothing
    is sent twice later.  Raises NetError only before `data`; what a callback raises ends the connection
    without the final dot.
    """
    if re.search(rb"\r(?!\n)|(?<!\r)\n", raw):  # what a server may take for a line of its own (SMTP smuggling)
        return SendResult(Outcome.PERMANENT, "", SafeText("the message holds line ends that are not CR LF"))
    on_phase = _traced(on_phase)
    on_phase("connect")
    client = await _connected(server, secret)
    accepted: list[str] = []
    try:
        on_phase("envelope")
        stopped = await _envelope(client, sender, recipients, raw, on_recipient, accepted, partial=partial)
        result = stopped
        if stopped is None or stopped.outcome == Outcome.PARTIAL:
            result = await _data(client, raw, on_phase, on_progress)
            if result.outcome == Outcome.ACCEPTED and stopped is not None:
                result = stopped
        assert result is not None
    finally:
        client.close()
    if result.outcome in (Outcome.TEMPORARY, Outcome.PERMANENT):
        for address in accepted:
            on_recipient(address, "pending", "", "")
    return result


async def _envelope(
    client: aiosmtplib.SMTP,
    sender: str,
    recipients: Sequence[str],
    raw: bytes,
    on_recipient: Callable[[str, str, str, str], None],
    accepted: list[str],
    *,
    partial: bool,
) -> SendResult | None:
    """MAIL and RCPT; None if all is well, PARTIAL if some recipients were refused and that is accepted.

    Those that the server took are added to `accepted`.
    """
    options: list[str] = []
    if client.supports_extension("size"):
        limit = re.search(r"\d+", client.esmtp_extensions.get("size", ""))
        if limit and 0 < int(limit[0]) < len(raw):
            words = f"the message has {len(raw):,} bytes, the server takes {int(limit[0]):,}"
            return SendResult(Outcome.PERMANENT, "552 5.3.4", SafeText(words))
        options.append(f"SIZE={len(raw)}")
    if not raw.isascii() and client.supports_extension("8bitmime"):
        options.append("BODY=8BITMIME")
    try:
        wired = {address: _wired(address) for address in (sender, *recipients)}
    except ValueError as error:
        return _broken(error)
    if any(not address.isascii() for address in wired.values()):
        if not client.supports_extension("smtputf8"):
            words = "an address is not plain ASCII, and the server takes no such addresses (SMTPUTF8)"
            return SendResult(Outcome.PERMANENT, "553 5.6.7", SafeText(words))
        options.append("SMTPUTF8")
    try:
        await client.mail(wired[sender], options=options, encoding="utf-8", timeout=COMMAND)
    except aiosmtplib.SMTPResponseException as error:
        code, words = _reply(error.code, error.message)
        return SendResult(_kind(error.code), code, words)
    except (aiosmtplib.SMTPException, OSError, ValueError) as error:
        return _broken(error)
    refused: list[SendResult] = []
    for address in recipients:
        try:
            await client.rcpt(wired[address], encoding="utf-8", timeout=COMMAND)
            accepted.append(address)
            on_recipient(address, "ok", "", "")
        except aiosmtplib.SMTPResponseException as error:
            code, words = _reply(error.code, error.message)
            kind = _kind(error.code)
            on_recipient(address, "temp" if kind == Outcome.TEMPORARY else "perm", code, words)
            refused.append(SendResult(kind, code, safe_line(f"{address}: {words}", 300)))
        except (aiosmtplib.SMTPException, OSError, ValueError) as error:
            return _broken(error)
    if not refused:
        return None
    if partial and len(refused) < len(recipients):
        return SendResult(Outcome.PARTIAL, refused[0].code, refused[0].words)
    permanent = [result for result in refused if result.outcome == Outcome.PERMANENT]
    return (permanent or refused)[0]


def _wired(address: str) -> str:
    """An addr-spec for MAIL and RCPT, with its domain as DNS has it.  Raises ValueError if it is none."""
    local, _, domain = address.rpartition("@")
    if re.search(r"[\x00-\x20\x7f<>]", address) or parseaddr(address)[1] != address or not (local and domain):
        raise ValueError(f"{safe_line(address, 100)} is no address")
    try:
        return address if domain.isascii() else f"{local}@{domain.encode('idna').decode('ascii')}"
    except UnicodeError as error:
        raise ValueError(f"{safe_line(address, 100)} has no domain that can be looked up") from error


def _kind(code: int) -> Outcome:
    return Outcome.TEMPORARY if code // 100 == 4 or code < 0 else Outcome.PERMANENT


def _broken(error: Exception) -> SendResult:
    """It ended before the final dot: later, unless the addresses can never be sent (ValueError)."""
    kind = Outcome.PERMANENT if isinstance(error, ValueError) else Outcome.TEMPORARY
    return SendResult(kind, "", safe_line(str(error) or "the server did not answer in time", 200))


async def _data(
    client: aiosmtplib.SMTP, raw: bytes, on_phase: Callable[[str], None], on_progress: Callable[[int], None]
) -> SendResult:
    """DATA by hand: aiosmtplib's own knows neither progress nor which side of the final dot it is on."""
    on_phase("data")
    protocol = client.protocol
    try:
        if protocol is None:
            return SendResult(Outcome.TEMPORARY, "", SafeText("the connection broke"))
        start = await client.execute_command(b"DATA", timeout=COMMAND)
        if start.code != 354:
            code, words = _reply(start.code, start.message)
            return SendResult(_kind(start.code), code, words)
        stuffed = re.sub(rb"(?m)^\.", b"..", raw)
        if not stuffed.endswith(b"\r\n"):
            stuffed += b"\r\n"
        for begin in range(0, len(stuffed), _SLICE):
            protocol.write(stuffed[begin : begin + _SLICE])
            await asyncio.wait_for(protocol._drain_helper(), IDLE)
            on_progress(min(begin + _SLICE, len(raw)))
    except (aiosmtplib.SMTPException, OSError) as error:
        return _broken(error)
    on_phase("terminator")
    try:
        protocol._response_pending = True
        protocol.write(b".\r\n")
        answer = await protocol.read_response(timeout=FINAL)
    except (aiosmtplib.SMTPException, OSError, ValueError) as error:
        doubt = (
            f"the server did not say whether it took the message ({safe_line(str(error) or type(error).__name__, 150)})"
        )
        return SendResult(Outcome.UNCERTAIN, "", safe_line(doubt))
    code, words = _reply(answer.code, answer.message)
    if answer.code // 100 in (4, 5):
        return SendResult(_kind(answer.code), code, words)
    if answer.code // 100 != 2:
        return SendResult(Outcome.UNCERTAIN, code, safe_line(f"the server's answer means nothing: {words}", 300))
    with contextlib.suppress(aiosmtplib.SMTPException, OSError):
        protocol.write(b"QUIT\r\n")  # its answer does not matter any more
    return SendResult(Outcome.ACCEPTED, code, words)
