"""Everything a key, the `:` line or the palette can do: one table, from which help and docs are made.  No Textual."""

from __future__ import annotations

from dataclasses import dataclass

from termmail.config.keymap import Table, normal

LIST, READER, TREE, EVERYWHERE = "list", "reader", "tree", "everywhere"
CONTEXTS = (LIST, READER, TREE, EVERYWHERE)


@dataclass(frozen=True, slots=True)
class Action:
    """`id` as `:` takes it; `keys` by default, alternatives divided by commas; `args` what may follow the id."""

    id: str
    words: str
    context: str
    keys: str = ""
    args: str = ""
    group: str = "Messages"
    footer: str = ""  # a short word if the footer may show it


def _a(id_: str, words: str, keys: str = "", context: str = EVERYWHERE, **more: str) -> Action:
    return Action(id_, words, context, keys, **more)


ACTIONS: tuple[Action, ...] = (
    # moving
    _a("down", "down", "j, down", group="Moving"),
    _a("up", "up", "k, up", group="Moving"),
    _a("half-down", "half a page down", "C-d", group="Moving"),
    _a("half-up", "half a page up", "C-u", group="Moving"),
    _a("page-down", "a page down", "pagedown, C-f", group="Moving"),
    _a("page-up", "a page up", "pageup", group="Moving"),
    _a("first", "to the first", "g g, home", group="Moving"),
    _a("last", "to the last", "G, end", group="Moving"),
    _a("left", "the pane to the left; closes a folder's branch", "h, left", group="Moving"),
    _a("right", "the pane to the right; opens", "l, right", group="Moving"),
    _a("next-pane", "the next pane", "tab", group="Moving"),
    _a("previous-pane", "the pane before", "shift+tab", group="Moving"),
    _a("open", "open", "enter, o", group="Moving", footer="open"),
    _a("back", "back", "q, escape", group="Moving", footer="back"),
    _a("next-message", "the next message, from any pane", "J", group="Moving"),
    _a("previous-message", "the message before, from any pane", "K", group="Moving"),
    _a("next-unread", "the next unread message", "n", group="Moving"),
    _a("previous-unread", "the unread message before", "N", group="Moving"),
    _a("read-on", "read on: a page, then the next unread message", "space", group="Moving", footer="read on"),
    _a("read-back", "a page back", "shift+space", group="Moving"),
    # folders
    _a("next-folder", "the next folder with unread mail", "]", group="Folders"),
    _a("previous-folder", "the folder with unread mail before", "[", group="Folders"),
    _a("go-folder", "go to a folder", "g f", args="[FOLDER]", group="Folders", footer="folder"),
    _a("go-inbox", "go to the inbox", "g i", group="Folders"),
    _a("go-starred", "starred messages of all folders", "g s", group="Folders"),
    _a("go-sent", "go to sent mail", "g t", group="Folders"),
    _a("go-drafts", "drafts kept here", "g d", group="Folders"),
    _a("go-archive", "go to the archive", "g a", group="Folders"),
    _a("go-junk", "go to junk", "g j", group="Folders"),
    _a("go-trash", "go to the Trash", "g x", group="Folders"),
    _a("fold", "open or close a branch of the tree", "z a", TREE, group="Folders"),
    _a("read-all", "mark everything in the folder as read", "", group="Folders"),
    _a("create-folder", "create a folder", "", args="NAME", group="Folders"),
    _a("rename-folder", "rename the folder", "", args="NAME", group="Folders"),
    _a("delete-folder", "delete the folder on the server", "", group="Folders"),
    _a("empty-trash", "delete everything in the Trash for ever", "", group="Folders"),
    # choosing
    _a("select", "select, and go on", "x", LIST, group="Choosing", footer="select"),
    _a("select-range", "select from here to where you go", "V", LIST, group="Choosing"),
    _a("select-all", "select all", "* a", LIST, group="Choosing"),
    _a("select-none", "select none", "* n", LIST, group="Choosing"),
    _a("select-unread", "select what is unread", "* u", LIST, group="Choosing"),
    _a("select-read", "select what is read", "* r", LIST, group="Choosing"),
    _a("select-starred", "select what is starred", "* s", LIST, group="Choosing"),
    _a("select-sender", "select what the same sender wrote", "* f", LIST, group="Choosing"),
    _a("select-thread", "select the conversation", "* t", LIST, group="Choosing"),
    # doing
    _a("archive", "archive", "e", footer="archive"),
    _a("trash", "move to the Trash", "d, #", footer="trash"),
    _a("delete", "delete for ever (asks)", "D"),
    _a("move", "move to a folder", "v", args="[FOLDER]", footer="move"),
    _a("copy", "copy to a folder", "C", args="[FOLDER]"),
    _a("star", "star, or remove the star", "s", footer="star"),
    _a("unread", "mark as unread, or as read", "U", footer="unread"),
    _a("spam", "spam; in Junk: no spam", "!"),
    _a("label", "add and remove labels", "L", args="+WORD -WORD"),
    _a("mute", "mute", "&"),
    _a("undo", "undo", "u", footer="undo"),
    _a("redo", "do again what was undone", "C-r"),
    # reading
    _a("headers", "all header fields, or the few", "H", group="Reading", footer="headers"),
    _a("html", "plain text or HTML", "i", group="Reading", footer="plain/HTML"),
    _a("quotes", "fold or show quoted text", "z q", group="Reading"),
    _a("save", "save attachments", "S", args="[FOLDER]", group="Reading", footer="save"),
    _a("attachments", "list parts and attachments", "A", group="Reading"),
    _a("links", "list links, to copy one", "F", group="Reading"),
    _a("copy-text", "copy the text (through the terminal)", "y y", group="Reading"),
    _a("layout", "reader to the right, below, or off", "z v", group="Reading"),
    # writing
    _a("compose", "write a message", "m, c", group="Writing", footer="write"),
    _a("reply", "reply", "r", group="Writing", footer="reply"),
    _a("reply-all", "reply to all", "a", group="Writing", footer="reply all"),
    _a("forward", "forward", "f", group="Writing", footer="forward"),
    _a("forward-attached", "forward as an attachment", "g F", group="Writing"),
    _a("drafts", "go on with a draft", "g D", group="Writing"),
    _a("outbox", "what waits to be sent", "g o", group="Writing"),
    # the program
    _a("search", "search", "/", args="WORDS", group="Program", footer="search"),
    _a("limit", "show only what matches; empty: all", "\\", args="WORDS", group="Program"),
    _a("sync", "look for new mail now", "$, f5", group="Program"),
    _a("why", "what is known of this message, here and there", "g w", group="Program"),
    _a("accounts", "what each account does", "g c", group="Program"),
    _a("command", "type a command", ":", group="Program"),
    _a("palette", "find a command", "C-k, C-p", group="Program"),
    _a("help", "keys that work here", "?", group="Program", footer="keys"),
    _a("theme", "choose a theme", "", args="[NAME]", group="Program"),
    _a("add-account", "add an account", "", group="Program"),
    _a("suspend", "stop for a while (fg comes back)", "C-z", group="Program"),
    _a("quit", "quit", "Q, C-c", group="Program"),
)
BY_ID: dict[str, Action] = {action.id: action for action in ACTIONS}


def default_keys() -> Table:
    """context → keys → action, as keymap.load takes it."""
    table: Table = {context: {} for context in CONTEXTS}
    for action in ACTIONS:
        for keys in filter(None, action.keys.split(", ")):
            table[action.context][normal(keys)] = action.id
    return table


def shown(keys: str) -> str:
    """Keys as people write them: ctrl+d → C-d."""
    from termmail.config.keymap import _NAMES

    names = {name: key for key, name in reversed(_NAMES.items()) if len(key) == 1}
    special = {"space": "Space", "enter": "Enter", "escape": "Esc", "tab": "Tab", "pagedown": "PgDn", "pageup": "PgUp",
               "down": "↓", "up": "↑", "left": "←", "right": "→", "home": "Home", "end": "End", "f5": "F5"}  # fmt: skip
    out = []
    for key in keys.split():
        if key.startswith("ctrl+"):
            out.append(f"C-{key[5:]}")
        elif key.startswith("shift+"):
            out.append(f"S-{special.get(key[6:], key[6:])}")
        else:
            out.append(special.get(key) or names.get(key, key))
    plain = all(len(one) == 1 for one in out)
    return ("" if plain else " ").join(out)


def keys_of(table: Table, action_id: str) -> list[str]:
    """The keys that do something, as people write them."""
    return [
        shown(keys)
        for by_keys in table.values()
        for keys, value in by_keys.items()
        if value.partition(" ")[0] == action_id
    ]


def keys_markdown() -> str:
    """docs/keys.md."""
    table = default_keys()
    out = ["# Keys", "", "Made from `termmail/ui/actions.py`.  `keys.toml` (beside settings.toml) changes them: a table for each",
           "context (`[list]`, `[reader]`, `[tree]`, `[everywhere]`), lines such as `\"g x\" = \"archive\"`; `\"\"` unbinds.",
           "A number before a key repeats it: `5 j`.  After `:` stands a command, and what it takes.", ""]  # fmt: skip
    groups = dict.fromkeys(action.group for action in ACTIONS)
    for group in groups:
        out += [f"## {group}", "", "| keys | command | what it does |", "| --- | --- | --- |"]
        for action in ACTIONS:
            if action.group == group:
                keys = ", ".join(f"`{key}`" for key in keys_of(table, action.id)).replace("|", "\\|")
                where = {LIST: " (list)", READER: " (reader)", TREE: " (tree)"}.get(action.context, "")
                out.append(
                    f"| {keys} | `:{action.id}{' ' + action.args if action.args else ''}` | {action.words}{where} |"
                )
        out.append("")
    return "\n".join(out).rstrip() + "\n"


if __name__ == "__main__":
    print(keys_markdown(), end="")
