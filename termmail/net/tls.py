"""TLS contexts and the rule for connections in the clear."""

from __future__ import annotations

import ipaddress
import ssl

from termmail.model.account import Security, Server
from termmail.model.errors import TlsError
from termmail.text import safe_line


def context(server: Server) -> ssl.SSLContext:
    """A context that verifies certificate and host name, TLS 1.2 or newer.  Raises TlsError for a bad `ca-file`."""
    made = ssl.create_default_context()
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    if server.ca_file:
        try:
            made.load_verify_locations(cafile=server.ca_file)
        except (OSError, ssl.SSLError) as error:
            raise TlsError(
                f"the ca-file {safe_line(server.ca_file)} cannot be used: {error.strerror or error}"
            ) from error
    return made


def is_loopback(host: str) -> bool:
    """True for names and addresses that never leave this machine."""
    if host.lower() in ("localhost", "localhost.localdomain", "ip6-localhost"):
        return True
    try:
        address = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return bool((mapped or address).is_loopback)


def demand_protection(server: Server) -> None:
    """Refuse a server in the clear unless it is on this machine or the user insists.  Raises TlsError."""
    if server.security == Security.NONE and not (is_loopback(server.host) or server.allow_cleartext):
        raise TlsError(
            f"{safe_line(server.host)} would be reached without encryption",
            hint='set security = "tls" or "starttls"',
        )


def demand_loopback(server: Server, peer: str) -> None:
    """The same when the connection stands and `peer` is known: names may lie.  Raises TlsError."""
    if not (is_loopback(peer) or server.allow_cleartext):
        raise TlsError(f"{safe_line(server.host)} is not on this machine: nothing is sent unencrypted")


def explained(error: ssl.SSLError, server: Server) -> TlsError:
    """What went wrong with TLS, and what can be done."""
    host = safe_line(server.host)
    if isinstance(error, ssl.SSLCertVerificationError):
        words = safe_line(error.verify_message, 200)
        hints = {
            9: "the certificate is not valid yet; check this machine's clock",
            10: "the certificate has expired; check this machine's clock, else ask who runs the server",
            18: "the certificate is self-signed; name it with ca-file if it is yours",
            19: "its authority is not known here; name it with ca-file if it is yours",
            20: "its authority is not known here; name it with ca-file if it is yours",
            62: "the name in the settings is not the one in the certificate; check host",
            64: "the address in the settings is not the one in the certificate; use the server's name as host",
        }
        return TlsError(f"the certificate of {host} was refused: {words}", hint=hints.get(error.verify_code, ""))
    if error.reason == "WRONG_VERSION_NUMBER":
        return TlsError(f"{host}:{server.port} does not speak TLS", hint='perhaps security = "starttls" is meant')
    return TlsError(f"TLS with {host} failed: {safe_line(str(error.reason or error), 200)}")
