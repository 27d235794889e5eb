"""Where it begins: the mail client without a command, else what the command line says."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def main(argv: list[str] | None = None) -> int:
    """Run termmail; the exit code (contract: 0 done, 1 failed, 2 usage, 3 not found, 75 try again)."""
    os.umask(0o077)
    words = sys.argv[1:] if argv is None else argv
    if words and words[0] not in ("demo", "setup", "compose"):
        from termmail import cli

        return cli.main(words)
    return _with_screen(words)


def _with_screen(words: list[str]) -> int:
    """The commands that open the screen."""
    from termmail import cli
    from termmail.model.errors import TermmailError

    try:
        if words[:1] == ["demo"]:
            from termmail.demo.run import run as demo

            options = cli.parser().parse_args(words)
            return demo(Path(options.keep) if options.keep else None)
        if not (sys.stdin.isatty() and sys.stdout.isatty()):
            print("termmail: the mail client needs a terminal (termmail --help lists the commands)", file=sys.stderr)
            return 2
        from termmail import link, paths
        from termmail.config import settings

        options = cli.parser().parse_args(words)
        found = paths.find().make()
        loaded = settings.load(found.settings)
        if loaded.settings.accounts and not found.mail_db.exists():
            link.ensure_engine(found)  # nothing is here to be shown first: it connects while the screen is being made
        os.environ.setdefault("TEXTUAL_FPS", "120")  # a key may come right after a frame: the next one is not far
        from termmail.ui import app

        return app.run(
            found,
            loaded,
            setup=words[:1] == ["setup"],
            compose=cli.mailto(options) if words[:1] == ["compose"] else None,
        )
    except (TermmailError, OSError) as error:
        print(f"termmail: {error}", file=sys.stderr)
        return int(getattr(error, "exit_code", 1))
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
