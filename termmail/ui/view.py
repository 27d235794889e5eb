"""The messages of a folder in order, for the list: two arrays of numbers, and rows when they are drawn.

The first page is read at once, the rest in slices between keys, and so is what the store's feed tells when it
tells much: no call here takes longer for a folder of a million messages than for one of ten thousand.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from itertools import compress

from termmail.model.account import Role
from termmail.model.message import FolderId, PlacementId, Row
from termmail.store.db import Store

FIRST, SLICE = 200, 4_000  # messages of a folder that are read at once
STEP = 1_000  # messages that changed or came, taken in at once
_NOW = 1 << 62  # a place in the store's feed that is never reached: only what comes counts
AROUND = 32  # rows read with one that is needed
ROWS_KEPT = 2_000
SCAN_FROM = 50  # messages that leave at once, from which one pass over the view is cheaper


class View:
    """Placements newest first.

    With `ids` it shows what a search found (in `folder_id`; 0: anywhere): its members only ever go, when they
    leave that folder, or for the Trash or Junk if the search found nothing there.
    """

    def __init__(self, store: Store, folder_id: FolderId, ids: Sequence[PlacementId] | None = None) -> None:
        self.store = store
        self.folder_id = folder_id
        self.ids: array[int] = array("q")
        self.order: array[int] = array("q")  # negated sort keys, ascending
        self._whole = False  # the folder has been read to its end
        self._late = False  # more has come than one step takes
        self._changed: list[PlacementId] = []  # still to be followed
        self._rows: OrderedDict[int, Row] = OrderedDict()
        self._newest = store.mail.newest_placement()
        self._touched, _ = store.mail.touched_since(_NOW)
        self._away: set[FolderId] = set()
        if ids is None:
            self._extend(FIRST)
        else:
            keys = store.mail.view_keys(list(ids))
            for placement in ids:
                if placement in keys:
                    self.ids.append(placement)
                    self.order.append(-keys[placement][1])
            self._whole = True
            unwanted = {f.id for f in store.mail.folders() if f.role in (Role.TRASH, Role.JUNK)}
            self._away = unwanted - {view for view, _ in keys.values() if view}
        self.is_search = ids is not None

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def complete(self) -> bool:
        """All that the store has is here."""
        return self._whole and not self._late and not self._changed

    def _extend(self, limit: int) -> None:
        before = (-self.order[-1], self.ids[-1]) if self.ids else None
        page = self.store.mail.page(self.folder_id, before=before, limit=limit)
        self.order.extend([-sort for sort, _ in page])
        self.ids.extend([placement for _, placement in page])
        self._whole = len(page) < limit

    def more(self) -> bool:
        """Read the next slice; False when nothing is left."""
        if self._changed:
            self._follow_some()
        elif self._late:
            self._take_in_some()
        elif not self._whole:
            self._extend(SLICE)
        return not self.complete

    def index(self, placement: int) -> int:
        """Where a message stands, -1 if it does not."""
        keys = self.store.mail.view_keys([PlacementId(placement)])
        if placement not in keys:
            return -1
        return self._find(placement, -keys[PlacementId(placement)][1])

    def _find(self, placement: int, order: int) -> int:
        at = bisect_left(self.order, order)
        while at < len(self.order) and self.order[at] == order:
            if self.ids[at] == placement:
                return at
            at += 1
        return -1

    def row(self, index: int) -> Row | None:
        """The row at a place; its neighbours are read with it.  None if it has just gone."""
        placement = self.ids[index]
        row = self._rows.get(placement)
        if row is not None:
            self._rows.move_to_end(placement)
        else:
            low = max(0, index - AROUND)
            wanted = [PlacementId(i) for i in self.ids[low : index + AROUND] if i not in self._rows]
            self._rows.update(self.store.mail.rows(wanted))  # type: ignore[arg-type]
            while len(self._rows) > ROWS_KEPT:
                self._rows.popitem(last=False)
            row = self._rows.get(placement)
        return row

    def has_rows(self, ids: Sequence[int]) -> bool:
        """These rows were read and have not changed since."""
        return all(i in self._rows for i in ids)

    def refresh(self) -> bool:
        """Read what changed in the store, or as much of it as may be at once; True if anything did here or may yet."""
        touched, changed = self.store.mail.touched_since(self._touched)
        self._touched = touched
        if changed is None:
            self._reload()
            return True
        for placement in changed:
            self._rows.pop(placement, None)
        self._changed += changed
        return self._follow_some() | self._take_in_some() | self._late | bool(self._changed)

    def _follow_some(self) -> bool:
        """The next of those that changed."""
        now, self._changed = self._changed[:STEP], self._changed[STEP:]
        return self._follow(now)

    def _take_in_some(self) -> bool:
        """The next of those that came."""
        added = self.store.mail.added_since(self._newest, STEP)
        self._late = len(added) == STEP
        if added:
            self._newest = added[-1][0]
        return self._take_in([(i, sort) for i, view, sort in added if view == self.folder_id])

    def _reload(self) -> None:
        if self.is_search:
            self._rows.clear()
            self._changed = [PlacementId(i) for i in self.ids]
            self._follow_some()
            return
        self.ids, self.order, self._whole, self._late, self._changed = array("q"), array("q"), False, False, []
        self._rows.clear()
        self._newest = self.store.mail.newest_placement()
        self._extend(FIRST)

    def _follow(self, changed: Sequence[PlacementId]) -> bool:
        """Placements that changed: drop those that left, take in those that came."""
        if not changed:
            return False
        keys = self.store.mail.view_keys(changed)
        gone, came, altered = set(), [], False
        for placement in changed:
            view, sort = keys.get(placement, (None, 0))
            if self.is_search:
                if view is None or view in self._away or (self.folder_id and view != self.folder_id):
                    gone.add(placement)
                altered = True
            elif view == self.folder_id:
                if self._find(placement, -sort) < 0:
                    came.append((placement, sort))
                altered = True
            elif placement not in keys or self._find(placement, -sort) >= 0:
                gone.add(placement)  # what was never here (another folder's) is not looked for
        return self._drop(gone, keys) | self._take_in(came) | altered

    def _drop(self, gone: set[PlacementId], keys: Mapping[PlacementId, tuple[FolderId | None, int]]) -> bool:
        """Remove these: by their sort key where the store still has it, else (and if they are many) in one pass."""
        if not gone:
            return False
        if len(gone) <= SCAN_FROM and all(placement in keys for placement in gone):
            places = [self._find(placement, -keys[placement][1]) for placement in gone]
            for at in sorted((place for place in places if place >= 0), reverse=True):
                del self.ids[at], self.order[at]
            return any(place >= 0 for place in places)
        keep = bytes(placement not in gone for placement in self.ids)
        if all(keep):
            return False
        self.ids = array("q", compress(self.ids, keep))
        self.order = array("q", compress(self.order, keep))
        return True

    def _take_in(self, came: Sequence[tuple[int, int]]) -> bool:
        """Insert these in order, those that stand together at once; those older than what is read come with their slice."""
        if self.is_search:
            return False
        new = sorted((-sort, -placement) for placement, sort in came)  # newest first; of one second, the later one
        if not self._whole and self.order:
            del new[bisect_right(new, (self.order[-1], 0)) :]
        altered, n = False, 0
        while n < len(new):
            order, placement = new[n][0], -new[n][1]
            at = bisect_left(self.order, order)
            while at < len(self.order) and self.order[at] == order and self.ids[at] > placement:
                at += 1
            if at < len(self.ids) and self.ids[at] == placement:
                n += 1
                continue
            end = bisect_left(new, (self.order[at], -self.ids[at]), n + 1) if at < len(self.ids) else len(new)
            self.order[at:at] = array("q", [one for one, _ in new[n:end]])
            self.ids[at:at] = array("q", [-one for _, one in new[n:end]])
            altered, n = True, end
        return altered
