"""A connection to a server of the settings, protected as they say; what keeps it from being made, in words."""

from __future__ import annotations

import errno
import socket
import ssl

from termmail.model.account import Security, Server
from termmail.model.errors import ConnectionLost, Offline, Unreachable
from termmail.net import tls
from termmail.net.dial import dial
from termmail.text import safe_line

CONNECT = 15.0  # seconds
NO_ROUTE = (errno.ENETUNREACH, errno.ENETDOWN, errno.EHOSTUNREACH, errno.EADDRNOTAVAIL)


def reach(server: Server) -> socket.socket:
    """TCP, and TLS at once where it is implicit (RFC 8314).  Raises Unreachable, TlsError."""
    tls.demand_protection(server)
    where = f"{safe_line(server.host)}:{server.port}"
    try:
        sock = dial(server.host, server.port, CONNECT)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if server.security == Security.TLS:
            try:
                sock = tls.context(server).wrap_socket(sock, server_hostname=server.host)
            except BaseException:
                sock.close()
                raise
    except ssl.SSLError as error:
        raise tls.explained(error, server) from error
    except TimeoutError as error:
        raise Unreachable(f"{where} does not answer", hint="check host and port, and the network") from error
    except ConnectionRefusedError as error:
        raise Unreachable(f"{where} refuses connections", hint="check host and port") from error
    except socket.gaierror as error:
        raise Offline(
            f"the name {safe_line(server.host)} cannot be resolved", hint="check host, and the network"
        ) from error
    except (OSError, ValueError) as error:
        words = getattr(error, "strerror", None) or str(error)
        kind = Offline if getattr(error, "errno", 0) in NO_ROUTE else Unreachable
        raise kind(f"{where} cannot be reached: {safe_line(str(words), 200)}") from error
    return sock


def upgraded(sock: socket.socket, server: Server) -> socket.socket:
    """The same connection under TLS, after STARTTLS or STLS.  Raises TlsError, ConnectionLost."""
    try:
        sock.settimeout(CONNECT)
        return tls.context(server).wrap_socket(sock, server_hostname=server.host)
    except ssl.SSLError as error:
        raise tls.explained(error, server) from error
    except OSError as error:
        raise ConnectionLost("the connection broke while TLS began") from error
