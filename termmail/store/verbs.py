"""The verbs that change mail, by name: the same for keys, the `:` line and `termmail do`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from termmail.model.errors import NotFound, UsageError
from termmail.model.message import Flag, FolderId, PlacementId
from termmail.store.db import Store
from termmail.store.intents import Done
from termmail.text import SafeText, safe_line


@dataclass(frozen=True, slots=True)
class Verb:
    """`args` names what follows the verb: "" nothing, FOLDER a folder, LABELS +word -word."""

    name: str
    words: str
    args: str
    run: Callable[[Store, Sequence[PlacementId], str], Done]
    takes_ids: bool = True


def _flag(add: Flag, remove: Flag, words: str) -> Callable[[Store, Sequence[PlacementId], str], Done]:
    return lambda store, ids, _: store.intents.flag(ids, add=add, remove=remove, words=words)


def _folder(store: Store, ids: Sequence[PlacementId], name: str) -> FolderId:
    """The folder a name means for these messages.  Raises NotFound, UsageError."""
    places = store.mail.places(ids)
    if not places:
        raise NotFound("no such message")
    if len({place.account_id for place in places}) > 1:
        raise UsageError("these messages belong to several accounts", hint="move them account by account")
    return store.mail.find_folder(places[0].account_id, name).id


def _label(store: Store, ids: Sequence[PlacementId], arg: str) -> Done:
    words = arg.split()
    if not words or any(len(word) < 2 or word[0] not in "+-" for word in words):
        raise UsageError("label wants +WORD to add and -WORD to remove")
    return store.intents.label(ids, [w[1:] for w in words if w[0] == "+"], [w[1:] for w in words if w[0] == "-"])


def _undo(store: Store, _ids: Sequence[PlacementId], _arg: str) -> Done:
    return store.intents.undo() or Done(SafeText("nothing to undo"), 0)


def _redo(store: Store, _ids: Sequence[PlacementId], _arg: str) -> Done:
    return store.intents.redo() or Done(SafeText("nothing to do again"), 0)


_NONE = Flag(0)
_ALL = (
    Verb("archive", "move to the archive", "", lambda s, ids, _: s.intents.archive(ids)),
    Verb("trash", "move to the Trash", "", lambda s, ids, _: s.intents.trash(ids)),
    Verb("move", "move to a folder", "FOLDER", lambda s, ids, a: s.intents.move(ids, _folder(s, ids, a))),
    Verb("copy", "copy to a folder", "FOLDER", lambda s, ids, a: s.intents.copy(ids, _folder(s, ids, a))),
    Verb("read", "mark as read", "", _flag(Flag.SEEN, _NONE, "marked as read:")),
    Verb("unread", "mark as unread", "", _flag(_NONE, Flag.SEEN, "marked as unread:")),
    Verb("star", "star", "", _flag(Flag.FLAGGED, _NONE, "starred")),
    Verb("unstar", "remove the star", "", _flag(_NONE, Flag.FLAGGED, "star removed from")),
    Verb("label", "add and remove labels", "LABELS", _label),
    Verb("spam", "mark as spam", "", lambda s, ids, _: s.intents.spam(ids)),
    Verb("unspam", "not spam: back to the inbox", "", lambda s, ids, _: s.intents.unspam(ids)),
    Verb("mute", "mute the conversation's message", "", _flag(Flag.MUTED, _NONE, "muted")),
    Verb("unmute", "no longer mute", "", _flag(_NONE, Flag.MUTED, "no longer muted:")),
    Verb("delete", "delete for ever", "", lambda s, ids, _: s.intents.delete_for_ever(ids)),
    Verb("undo", "undo the last action", "", _undo, takes_ids=False),
    Verb("redo", "do again what was undone", "", _redo, takes_ids=False),
)
VERBS: dict[str, Verb] = {verb.name: verb for verb in _ALL}


def parse(line: str) -> tuple[Verb, str]:
    """A line as in `termmail do 'move Archive'`: the verb and its argument.  Raises UsageError."""
    import difflib

    name, _, arg = line.strip().partition(" ")
    verb = VERBS.get(name)
    if verb is None:
        near = difflib.get_close_matches(name, VERBS, 1)
        raise UsageError(
            f"no verb {safe_line(name)!r}", hint=f"did you mean {near[0]}?" if near else "one of " + ", ".join(VERBS)
        )
    arg = arg.strip()
    if bool(arg) != bool(verb.args):
        raise UsageError(f"{name} wants {verb.args or 'no argument'}")
    return verb, arg
