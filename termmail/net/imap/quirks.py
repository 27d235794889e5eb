"""What servers and their users call things: data, no code."""

from __future__ import annotations

from enum import Enum

from termmail.model.account import Role


class Quirk(Enum):
    """A habit of a provider that its capabilities do not tell."""

    NO_PIPELINING = "commands sent together are lost or mixed up"
    NO_QRESYNC = "QRESYNC is offered and answered wrongly"
    ASK_CAPABILITY = "a proxy tells wrong capabilities with the log-in: they are asked for again"


_HOSTS: dict[str, frozenset[Quirk]] = {
    "office365.com": frozenset({Quirk.NO_PIPELINING}),
    "outlook.com": frozenset({Quirk.NO_PIPELINING}),
    "yahoo.com": frozenset({Quirk.NO_PIPELINING}),
    "aol.com": frozenset({Quirk.NO_PIPELINING}),
    "mail.me.com": frozenset({Quirk.NO_QRESYNC, Quirk.ASK_CAPABILITY}),  # iCloud (Mailspring-Sync#91)
}


def quirks_of(host: str) -> frozenset[Quirk]:
    """What is known of a server by its name."""
    low = host.lower().rstrip(".")
    return frozenset(
        q for domain, found in _HOSTS.items() if low == domain or low.endswith("." + domain) for q in found
    )


ROLE_ATTRIBUTES: dict[str, Role] = {
    "\\all": Role.ALL, "\\allmail": Role.ALL, "\\archive": Role.ARCHIVE, "\\drafts": Role.DRAFTS, "\\flagged": Role.FLAGGED,
    "\\starred": Role.FLAGGED, "\\junk": Role.JUNK, "\\spam": Role.JUNK, "\\sent": Role.SENT, "\\trash": Role.TRASH,
    "\\inbox": Role.INBOX,
}  # fmt: skip
"""SPECIAL-USE (RFC 6154) and Gmail's XLIST, in lower case."""

_WORDS: dict[Role, str] = {
    Role.DRAFTS: "drafts|draft|entwürfe|brouillons|borradores|bozze|concepten|rascunhos|utkast|kladder|luonnokset|"
    "wersje robocze|szkice|koncepty|черновики|чернетки|下書き|草稿|草稿箱|임시보관함|taslaklar",
    Role.SENT: "sent|sent items|sent messages|sent mail|gesendet|gesendete objekte|gesendete elemente|envoyés|"
    "éléments envoyés|messages envoyés|enviados|elementos enviados|inviata|posta inviata|verzonden|verzonden items|"
    "itens enviados|skickat|sendt|sendte elementer|lähetetyt|wysłane|odeslané|отправленные|надіслані|送信済み|"
    "送信済みメール|已发送|已傳送|보낸편지함|gönderilmiş",
    Role.ARCHIVE: "archive|archives|archiv|archivo|archivio|archief|arquivo|arkiv|arkisto|archiwum|архив|архів|アーカイブ|"
    "归档|보관함|arşiv",
    Role.JUNK: "junk|spam|junk e-mail|junk email|junk mail|bulk mail|spamverdacht|unerwünscht|courrier indésirable|indésirables|"
    "pourriel|correo no deseado|posta indesiderata|ongewenste e-mail|lixo eletrônico|skräppost|søppelpost|roskaposti|"
    "wiadomości-śmieci|nevyžádaná pošta|спам|迷惑メール|垃圾邮件|垃圾箱|스팸메일함|önemsiz",
    Role.TRASH: "trash|deleted|deleted items|deleted messages|bin|papierkorb|gelöscht|gelöschte objekte|gelöschte elemente|"
    "corbeille|éléments supprimés|papelera|elementos eliminados|cestino|posta eliminata|prullenbak|verwijderde items|lixeira|"
    "lixo|papperskorg|papirkurv|slettede elementer|roskakori|kosz|koš|корзина|удаленные|удалённые|кошик|ゴミ箱|已删除|"
    "已删除邮件|휴지통|çöp",
}  # fmt: skip
NAMES: dict[str, Role] = {word: role for role, words in _WORDS.items() for word in words.split("|")}
"""Last levels of folder names, case folded, for servers without SPECIAL-USE."""

PASSING_WORDS: tuple[str, ...] = (
    "too many", "temporar", "try again", "throttl",
    "authenticated but not connected", "backoff time",  # Exchange, which says BAD to both (imapsync#198, node-imap#523)
)  # fmt: skip
"""What servers say in NO and BAD, without a code, when the same may well work later; lower case."""

CROWDED_WORDS: tuple[str, ...] = (
    "too many simultaneous", "too many connections", "maximum number of conn", "simultaneous connection", "connection limit",
)  # fmt: skip
"""What servers say to one connection too many, with or without [LIMIT] or [INUSE]; lower case."""

FILES_SENT_ITSELF: tuple[str, ...] = (
    "gmail.com", "googlemail.com", "office365.com", "outlook.com", "hotmail.com", "icloud.com", "me.com", "mail.me.com",
)  # fmt: skip
"""Domains of outgoing servers that put the copy into Sent themselves (sync.md §5.15)."""
