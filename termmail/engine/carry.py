"""Carrying wishes out: batches of flags, moves and deletions, and errands, each safe against a crash.

A batch is committed as a flight before the first byte leaves.  After a crash it is looked up on the server,
never blindly sent again (sync.md §5.8).
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from termmail.model.errors import NotFound, Refused
from termmail.model.message import Flag, FolderId, NewMessage, PlacementId
from termmail.net.imap.folders import encode_name
from termmail.store.folders import NOT_THERE, below, described
from termmail.store.intents import Batch, Errand, Flight
from termmail.store.mail import FolderState
from termmail.text import safe_line

if TYPE_CHECKING:
    from termmail.engine.worker import Worker

log = logging.getLogger("termmail.engine")
FINAL_CODES = frozenset({"NOPERM", "CANNOT", "NONEXISTENT", "OVERQUOTA", "ALREADYEXISTS", "CLIENTBUG", "CONTACTADMIN"})
ATTEMPTS = 8


Delay = tuple[int, float]  # failures so far, and when to try again
Course = tuple[str, int, int]  # kind, folder and target of a batch: what one refusal delays


async def carry_out(worker: Worker) -> bool:
    """Carry out the next errand or batch; False if nothing is wanted, or all of it must wait."""
    now = time.time()
    store = worker.store
    if now >= worker.recover_after and store.intents.flights(worker.id):
        await recover(worker)
        return True
    for errand in store.intents.errands(worker.id, now):
        if errand.kind == "delete" and (leaving := _leaving(worker, errand)):
            if await _try(worker, leaving):  # what is wanted elsewhere goes before its folder does
                return True
            continue
        await _errand(worker, errand)
        return True
    for batch in store.intents.batches(worker.id):
        if await _try(worker, batch):
            return True
    return False


def _leaving(worker: Worker, errand: Errand) -> Batch | None:
    """A batch of the folder that is to be deleted."""
    batches = worker.store.intents.batches(worker.id)
    return next((batch for batch in batches if batch.folder_id == errand.arg["folder"]), None)


async def _try(worker: Worker, batch: Batch) -> bool:
    """Carry out a batch; False if it must wait."""
    course = (batch.kind, batch.folder_id, batch.dest_id)
    failures, after = worker.delayed.get(course, (0, 0.0))
    if time.time() < after:
        return False
    if batch.dest_id and worker.store.mail.folder_state(batch.dest_id).wire.startswith(NOT_THERE):
        return False
    try:
        await _batch(worker, batch, last_try=failures >= ATTEMPTS)
        worker.delayed.pop(course, None)
    except Refused as error:  # temporary: what is final was dealt with
        worker.delayed[course] = (failures + 1, time.time() + (error.seconds or _pause(failures)))
        log.info("%s: a batch must wait: %s", worker.name, error.code)
    return True


def next_try(worker: Worker) -> float:
    """When something that waits may be tried again, in seconds since the epoch; infinity if nothing waits."""
    times = [after for _, after in worker.delayed.values()]
    times.append(worker.store.intents.next_errand(worker.id, time.time()))
    if worker.recover_after > time.time():
        times.append(worker.recover_after)
    return min((after for after in times if after > time.time()), default=float("inf"))


def _pause(failures: int) -> float:
    """Seconds to wait after so many failures before."""
    return min(900.0, 10.0 * float(2**failures))


async def _batch(worker: Worker, batch: Batch, *, last_try: bool) -> None:
    """One batch on its way and back.  Raises Refused if it may be tried again later."""
    source = worker.store.mail.folder_state(batch.folder_id)
    try:
        selected = await worker.call(lambda s: s.select(source.wire))
    except Refused as error:
        if error.temporary and not last_try:
            raise
        _refuse(worker, batch, worker.store.intents.take_off(worker.id, batch), error)
        return
    if selected.uidvalidity != batch.uidvalidity:
        worker.dirty[batch.folder_id] = True  # the next look finds the messages again
        await worker.folders.refresh(batch.folder_id)
        return
    target = worker.store.mail.folder_state(batch.dest_id) if batch.kind == "move" else None
    uidnext = 0
    if target is not None and "MOVE" not in worker.capabilities:
        wire = target.wire
        uidnext = (await worker.call(lambda s: s.status(wire))).uidnext
    flight = worker.store.intents.take_off(worker.id, batch, uidnext)
    try:
        if batch.kind == "flags":
            await _flags(worker, flight)
        elif batch.kind == "delete":
            await _delete(worker, flight)
        else:
            await _move(worker, flight)
    except Refused as error:
        if error.temporary and error.code not in FINAL_CODES and not last_try:
            _later(worker, flight)
            raise
        _refuse(worker, batch, flight, error)
    worker.news(folders={batch.folder_id, batch.dest_id}, accounts=True)


def _later(worker: Worker, flight: Flight) -> None:
    """It will be tried again: anew, or from where it stands if copies were made that must not be made twice."""
    phase = next((one.phase for one in worker.store.intents.flights(worker.id) if one.id == flight.id), "")
    if phase == "copied":
        worker.recover_after = time.time() + _pause(0)
    else:
        worker.store.intents.land(flight)


def _refuse(worker: Worker, batch: Batch | Flight, flight: Flight, error: Refused) -> None:
    """The server's no is final: the messages are again what they are there, and the user reads why."""
    what = {"flags": "change flags of", "move": "move", "delete": "delete"}[batch.kind]
    count = len(flight.items)
    said = safe_line(f"the server would not {what} {count} message{'s' * (count > 1)}: {error.words}")
    worker.store.intents.refused(flight, said, worker.name)
    for folder_id in (batch.folder_id, batch.dest_id):
        if folder_id:
            worker.dirty[folder_id] = True
    worker.news(folders={batch.folder_id, batch.dest_id}, notices=True, accounts=True)


async def _flags(worker: Worker, flight: Flight) -> None:
    arg = flight.arg
    uids = [uid for _, uid in flight.items]
    await worker.call(
        lambda s: s.store(
            uids, add=Flag(arg["add"]), remove=Flag(arg["remove"]), add_keywords=arg["add_keywords"],
            remove_keywords=arg["remove_keywords"],
        )
    )  # fmt: skip
    worker.store.intents.acked_flags(flight)


async def _move(worker: Worker, flight: Flight) -> None:
    """UID MOVE, or COPY, STORE and UID EXPUNGE where there is no MOVE."""
    target = worker.store.mail.folder_state(flight.dest_id)
    uids = [uid for _, uid in flight.items]
    if "MOVE" in worker.capabilities:
        mapping = await worker.with_create(target, lambda s: s.move(uids, target.wire))
    else:
        mapping = await worker.with_create(target, lambda s: s.copy(uids, target.wire))
        worker.store.intents.set_phase(flight, "copied", mapping=sorted(mapping.items()))
        await _remove(worker, uids)
    _moved(worker, flight, {placement: mapping.get(uid) for placement, uid in flight.items})


def _moved(worker: Worker, flight: Flight, mapping: dict[PlacementId, int | None]) -> None:
    """The messages are in the target; where their UIDs are not known its next look tells."""
    worker.store.intents.acked_move(flight, mapping)
    if None in mapping.values():
        worker.dirty[flight.dest_id] = True


async def _remove(worker: Worker, uids: list[int]) -> None:
    """Mark as deleted and expunge exactly these; where the server cannot, they stay marked."""
    await worker.call(lambda s: s.store(uids, add=Flag.DELETED, remove=Flag(0)))
    try:
        await worker.call(lambda s: s.expunge(uids))
    except Refused as error:
        if error.code != "CANNOT":
            raise
        log.info("%s: expunging waits for a server with UIDPLUS", worker.name)


async def _delete(worker: Worker, flight: Flight) -> None:
    uids = [uid for _, uid in flight.items]
    await worker.call(lambda s: s.store(uids, add=Flag.DELETED, remove=Flag(0)))
    worker.store.intents.set_phase(flight, "flagged")
    try:
        await worker.call(lambda s: s.expunge(uids))
    except Refused:
        await worker.call(lambda s: s.store(uids, add=Flag(0), remove=Flag.DELETED))
        raise
    worker.store.intents.acked_delete(flight)


# -- after a crash ------------------------------------------------------------------------------


async def recover(worker: Worker) -> None:
    """Look up on the server what became of the batches that were under way when the engine ended."""
    for flight in worker.store.intents.flights(worker.id):
        try:
            await _recover(worker, flight)
        except NotFound:  # a folder is gone, and what was wanted of it
            worker.store.intents.land(flight)
        except Refused as error:
            if error.temporary:
                worker.recover_after = time.time() + _pause(1)
                log.info("%s: a batch of the last run must wait: %s", worker.name, error.code)
            else:
                _refuse(worker, flight, flight, error)


async def _recover(worker: Worker, flight: Flight) -> None:
    intents = worker.store.intents
    if flight.kind == "flags":
        intents.land(flight)  # setting a flag twice is setting it once
        return
    source = worker.store.mail.folder_state(flight.folder_id)
    selected = await worker.call(lambda s: s.reselect(source.wire))
    if selected.uidvalidity != flight.uidvalidity:
        intents.land(flight)
        return
    uids = sorted(uid for _, uid in flight.items)
    left = set(await worker.call(lambda s: s.search(uids[0], uids[-1]))) & set(uids)
    if flight.kind == "delete":
        if left:
            worker.store.mail.vanish(flight.folder_id, set(uids) - left)
            intents.land(flight)
        else:
            intents.acked_delete(flight)
        return
    mapping = dict(flight.arg.get("mapping", ()))
    if flight.phase != "copied" and flight.dest_uidnext:
        mapping = await _find_copies(worker, flight)
        worker.dirty[flight.dest_id] = True
    if flight.phase == "copied" or mapping:
        done = [uid for uid in uids if uid in mapping or flight.phase == "copied"]
        still = [uid for uid in done if uid in left]
        await worker.call(lambda s: s.reselect(source.wire))
        if still:
            await _remove(worker, still)
        left -= set(still)
    gone = {placement: mapping.get(uid) for placement, uid in flight.items if uid not in left}
    _moved(worker, flight, gone)
    worker.news(folders={flight.folder_id, flight.dest_id})


async def _find_copies(worker: Worker, flight: Flight) -> dict[int, int]:
    """Copies in the target that a COPY made before the crash, by ident: old to new UID."""
    target = worker.store.mail.folder_state(flight.dest_id)
    await worker.call(lambda s: s.reselect(target.wire))
    headers: list[NewMessage] = []
    await worker.call(lambda s: s.headers_from(flight.dest_uidnext, headers.extend))
    copies: dict[bytes, list[int]] = {}
    for header in headers:
        copies.setdefault(header.summary.ident, []).append(header.uid)
    found: dict[int, int] = {}
    for place in worker.store.mail.places([placement for placement, _ in flight.items]):
        if place.uid is not None and copies.get(place.ident):
            found[place.uid] = copies[place.ident].pop(0)
    return found


async def _find(worker: Worker, mid: str, from_uid: int) -> list[int]:
    return await worker.call(lambda s: s.find_message_id(mid, from_uid))


async def _reselect(worker: Worker, wire: bytes) -> int:
    """SELECT; the folder's UIDVALIDITY."""
    return (await worker.call(lambda s: s.reselect(wire))).uidvalidity


async def _copy_uids(worker: Worker, target: FolderState, uids: list[int]) -> None:
    await worker.with_create(target, lambda s: s.copy(uids, target.wire))


# -- errands ----------------------------------------------------------------------------------------


async def _errand(worker: Worker, errand: Errand) -> None:
    """One copy or folder change."""
    intents = worker.store.intents
    try:
        if errand.kind == "copy":
            await _copy(worker, errand)
        else:
            await _folder_change(worker, errand)
    except NotFound:
        intents.errand_done(errand.id)
    except Refused as error:
        if error.temporary and errand.attempts < ATTEMPTS:
            intents.errand_later(errand, time.time() + min(900.0, 5.0 * 2**errand.attempts), safe_line(error.words))
            worker.news(accounts=True)
            return
        said = safe_line(f"the server would not {described(errand.kind, errand.arg)}: {error.words}")
        intents.errand_failed(errand.id, said, worker.name)
        worker.news(notices=True)
    else:
        intents.errand_done(errand.id)
    worker.news(accounts=True)


async def _copy(worker: Worker, errand: Errand) -> None:
    """Copy placements; one that was begun before a crash is looked for in the target first."""
    target = worker.store.mail.folder_state(FolderId(errand.arg["dest"]))
    if target.wire.startswith(NOT_THERE):
        raise Refused("the folder is not there yet", temporary=True)
    places = [p for p in worker.store.mail.places(errand.arg["placements"]) if p.uid is not None]
    wire = target.wire
    if errand.phase == "":
        uidnext = (await worker.call(lambda s: s.status(wire))).uidnext
        worker.store.intents.errand_phase(errand, "begun", uidnext=uidnext)
    else:
        await worker.call(lambda s: s.reselect(wire))
        uidnext = errand.arg.get("uidnext", 1)
        missing = []
        for place in places:
            mid = place.mid
            if not (mid and await _find(worker, mid, uidnext)):
                missing.append(place)
        places = missing
    for folder_id in dict.fromkeys(place.folder_id for place in places):
        source = worker.store.mail.folder_state(folder_id)
        uids = [place.uid for place in places if place.folder_id == folder_id and place.uid is not None]
        if await _reselect(worker, source.wire) == source.uidvalidity:
            await _copy_uids(worker, target, uids)
        else:
            worker.dirty[folder_id] = True
            worker.store.mail.notice(worker.name, safe_line(f"{source.path} has changed: copy the messages again"))
            worker.news(notices=True)
    worker.dirty[target.id] = True


async def _folder_change(worker: Worker, errand: Errand) -> None:
    """CREATE, RENAME, DELETE, SUBSCRIBE, UNSUBSCRIBE; what is done already is done."""
    state = worker.store.mail.folder_state(FolderId(errand.arg["folder"]))
    if errand.kind == "create":
        await _create(worker, state, encode_name(errand.arg["path"]))
    elif state.wire.startswith(NOT_THERE):
        raise Refused("the folder is not there yet", temporary=True)
    elif errand.kind == "rename":
        await _rename(worker, state, errand)
    elif errand.kind == "delete":
        await _delete_folder(worker, state, errand)
    else:
        await worker.call(lambda s: s.subscribe(state.wire, errand.kind == "subscribe"))
    await worker.folders.list_all()


async def _create(worker: Worker, state: FolderState, wire: bytes) -> None:
    folders = await worker.call(lambda s: s.list_folders())
    if all(folder.wire != wire for folder in folders):
        await worker.call(lambda s: s.create(wire))
        await _subscribe(worker, wire, yes=True)
    worker.store.mail.name_folder(state.id, wire)


async def _rename(worker: Worker, state: FolderState, errand: Errand) -> None:
    """RENAME, which takes the folders below along but, on most servers, no subscriptions (RFC 3501 §6.3.5)."""
    new = encode_name(errand.arg["path"])
    if state.wire == new:
        return
    mail = worker.store.mail
    inside = below(mail.folder(state.id), mail.folders(worker.id))
    subscribed = [mail.folder_state(one.id) for one in [mail.folder(state.id), *inside] if one.subscribed]
    worker.store.intents.errand_phase(errand, "begun", wire=new.hex())
    await worker.call(lambda s: s.rename(state.wire, new))
    mail.rename_folder(state.id, new, safe_line(errand.arg["path"]))
    for one in subscribed:
        await _subscribe(worker, mail.folder_state(one.id).wire, yes=True)
        await _subscribe(worker, one.wire, yes=False)


async def _delete_folder(worker: Worker, state: FolderState, errand: Errand) -> None:
    """DELETE, if nothing is in it that the user has not been told of."""
    words = ""
    if worker.store.mail.has_inferiors(state.id):
        words = "there are folders below it"
    elif state.selectable:
        there = (await worker.call(lambda s: s.status(state.wire))).messages
        if there > errand.arg.get("expected", there):
            words = f"it holds {there:,} messages now, {errand.arg['expected']:,} when you asked"
    if words:
        worker.store.intents.errand_failed(errand.id, safe_line(f"{state.path} was not deleted: {words}"), worker.name)
        worker.news(notices=True)
        return
    await worker.call(lambda s: s.delete(state.wire))
    await _subscribe(worker, state.wire, yes=False)


async def _subscribe(worker: Worker, wire: bytes, *, yes: bool) -> None:
    """What belongs to another change and does not undo it if it fails."""
    try:
        await worker.call(lambda s: s.subscribe(wire, yes))
    except Refused as error:
        log.info("%s: a subscription could not be changed: %s", worker.name, error.code)
