"""An app, as short as it can be: the phone library from Python, against a live host.

Run by tests/mobile.rs with the name of a story; the standard library is all it needs. It speaks with the test over
stdin and stdout, a line each way, and fails by an exception.
"""

import asyncio
import os
import sys
from datetime import timedelta

import farhelm_mobile as fm

PATIENCE = 60
A_MINUTE = timedelta(seconds=PATIENCE)


class Keys(fm.KeyStore):
    """Keeps everything in memory, and counts."""

    def __init__(self):
        self.kept = {}

    async def get(self, name):
        return self.kept.get(name)

    async def put(self, name, value):
        self.kept[name] = value

    async def delete(self, name):
        self.kept.pop(name, None)

    async def list(self):
        return list(self.kept)


class Ear(fm.EventListener):
    """Hands what it hears to the event loop."""

    def __init__(self):
        self.loop = asyncio.get_running_loop()
        self.heard = asyncio.Queue()

    def on_event(self, event):
        self.loop.call_soon_threadsafe(self.heard.put_nowait, event)

    async def hears(self, fits):
        """The next event that fits."""
        async with asyncio.timeout(PATIENCE):
            while True:
                event = await self.heard.get()
                if fits(event):
                    return event


def ask():
    """A line from the test."""
    return sys.stdin.readline().strip()


def tell(text):
    """A line to the test."""
    print(text, flush=True)


async def fails(error, awaited):
    """It fails with just this error, and the message is a sentence for a person."""
    try:
        await awaited
    except error as raised:
        assert len(str(raised)) > 20, repr(raised)
        return raised
    raise AssertionError(f"{error} was expected")


async def pair(phone):
    """Both ends show the same words, and the desk says yes."""
    pairing = await phone.pair(ask())
    tell(" ".join(pairing.words()))
    host = await pairing.finish(A_MINUTE)
    assert host.id() == pairing.host()
    return host


async def the_corridor():
    """Pair, list, start, be asked, decide, and see it done."""
    keys, ear = Keys(), Ear()
    phone = await fm.Phone.open("a python", keys)
    assert await phone.hosts() == []
    host = await pair(phone)
    assert "identity" in keys.kept and f"host/{host.id()}" in keys.kept, list(keys.kept)
    [known] = await phone.hosts()
    assert known.id == host.id() and known.name == "demo desk" and known.standing.is_PAIRED(), known
    path = await host.live(A_MINUTE)
    assert path.direct or path.relay, path
    assert (await host.threads(10, None)).threads == []

    await phone.set_active(False)
    await phone.set_active(True)
    await phone.network_changed()
    await phone.did_resume()
    await host.live(A_MINUTE)

    handle = host.subscribe(ear)
    first = await ear.hears(lambda event: True)
    assert first.is_CONNECTION() and first.connection.is_LIVE(), first
    started = await host.start("Leave a mark. ESCALATE cmd=touch from-an-app.txt")
    watch = await host.watch(started.thread)
    event = await ear.hears(lambda event: event.is_APPROVAL())
    approval = event.approval
    assert approval.thread == started.thread and approval.turn == started.turn, approval
    assert approval.act.is_COMMAND() and "touch from-an-app.txt" in approval.act.command, approval.act
    assert approval.acceptable and len(approval.digest) == 64, approval
    assert host.approvals() == [approval]
    about = host.about()
    assert about.codex.is_READY() and about.entitlement.right == fm.Right.OWNER, about
    assert about.start_folders == [about.folder] and host.questions() == [], about
    [known] = await phone.hosts()
    assert known.entitlement == about.entitlement, known
    nothing = fm.Question(id="none", thread=started.thread, turn=started.turn, item="none", asks=[])
    await fails(fm.DecideError.Over, host.answer(nothing, {}))

    await decide_only_on_what_is_shown(host, approval)
    await host.decide(approval, fm.Decision.ACCEPT)
    over = await ear.hears(lambda event: event.is_APPROVAL_OVER())
    assert (over.id, over.outcome, over.by) == (approval.id, fm.Outcome.ACCEPTED, phone.id()), over
    ended = await ear.hears(lambda event: event.is_TURN_COMPLETED())
    assert ended.turn == started.turn and ended.status.is_COMPLETED(), ended
    followed = await watch.ended(started.turn)
    assert followed.turns[-1].id == started.turn, followed
    assert watch.current() == followed
    await fails(fm.DecideError.Over, host.decide(approval, fm.Decision.ACCEPT))

    [row] = (await host.threads(10, None)).threads
    assert row.id == started.thread and row.preview.startswith("Leave a mark."), row
    thread = await host.thread(started.thread)
    kinds = [item.kind for turn in thread.turns for item in turn.items]
    assert any(kind.is_COMMAND() and kind.exit_code == 0 for kind in kinds), kinds
    assert any(kind.is_AGENT_MESSAGE() and "ESCALATE" in kind.text for kind in kinds), kinds

    await the_thread_is_read_in_parts(host, started)
    await the_handle_ends_the_listening(host, ear, handle, started.thread)
    await fails(fm.CallError.TooMuch, host.send(started.thread, "x" * (4 << 20)))
    await fails(fm.CallError.Policy, host.thread("no such thread"))
    await phone.forget(host.id())
    assert list(keys.kept) == ["identity"], list(keys.kept)
    await fails(fm.CallError.Stopped, host.start("anything"))
    await phone.shutdown()


async def the_thread_is_read_in_parts(host, started):
    """Pages, filters, and what is refused before it is sent."""
    page = await host.find_threads(fm.ThreadFilter(limit=10, folder=host.about().folder))
    assert [row.id for row in page.threads] == [started.thread], page
    assert (await host.find_threads(fm.ThreadFilter(limit=10, folder="/nowhere"))).threads == []
    history = await host.history(started.thread, None, 10, True)
    assert history.turns[0].id == started.turn and history.next is None, history
    await fails(fm.CallError.NoSuchTurn, host.interrupt(started.thread))
    await fails(fm.CallError.BadInput, host.send_with(started.thread, fm.OutgoingMessage(text="")))
    picture = fm.OutgoingMessage(text="look", images=[b"no picture"])
    await fails(fm.CallError.BadInput, host.send_with(started.thread, picture))
    await fails(fm.CallError.NotStartable, host.start_with(fm.OutgoingMessage(text="hello"), "/nowhere"))


async def decide_only_on_what_is_shown(host, approval):
    """A record that isn't what the host shows, down to one letter, decides nothing."""
    command = approval.act.command
    approval.act.command = command.replace("touch", "rm -r")
    await fails(fm.DecideError.NotWhatIsShown, host.decide(approval, fm.Decision.ACCEPT))
    approval.act.command = command
    assert host.approvals() == [approval], "it is still open"


async def the_handle_ends_the_listening(host, ear, handle, thread):
    """A second ear hears the next turn; the first, cancelled, doesn't."""
    second = Ear()
    other = host.subscribe(second)
    handle.cancel()
    turn = await host.send(thread, "Once more. SLOW secs=1")
    await second.hears(lambda event: event.is_TURN_COMPLETED() and event.turn == turn)
    while not ear.heard.empty():
        event = ear.heard.get_nowait()
        assert not (event.is_TURN_COMPLETED() and event.turn == turn), "the handle was cancelled"
    del other


async def a_listener_that_throws():
    """It costs the listener nothing but the event."""

    class Clumsy(Ear):
        def on_event(self, event):
            super().on_event(event)
            raise RuntimeError("clumsy")

    phone = await fm.Phone.open("a python", Keys())
    host = await pair(phone)
    ear = Clumsy()
    _handle = host.subscribe(ear)
    started = await host.start("Say hello. SLOW secs=1")
    _watch = await host.watch(started.thread)
    await ear.hears(lambda event: event.is_TURN_COMPLETED() and event.turn == started.turn)
    await phone.shutdown()


async def by_relays_only():
    """A phone that doesn't want to be seen by the host."""
    phone = await fm.Phone.open("a python", Keys(), paths=fm.PathPolicy.RELAY_ONLY)
    host = await pair(phone)
    path = await host.live(A_MINUTE)
    assert path.relay and not path.direct, path
    assert (await host.threads(10, None)).threads == []
    await phone.shutdown()


async def declined_at_the_desk():
    """The phone is told, keeps nothing, and can't finish the same pairing twice."""
    keys = Keys()
    phone = await fm.Phone.open("a python", keys)
    pairing = await phone.pair(ask())
    tell(" ".join(pairing.words()))
    await fails(fm.PairError.Declined, pairing.finish(A_MINUTE))
    await fails(fm.PairError.Finished, pairing.finish(A_MINUTE))
    assert list(keys.kept) == ["identity"], list(keys.kept)
    await phone.shutdown()


async def a_cancelled_call():
    """A call that is dropped leaves the phone usable."""
    phone = await fm.Phone.open("a python", Keys())
    pairing = await phone.pair(ask())
    finishing = asyncio.create_task(pairing.finish(A_MINUTE))
    await asyncio.sleep(0)
    finishing.cancel()
    try:
        await finishing
    except asyncio.CancelledError:
        pass
    # The second half of a pairing that was cut off is gone; everything else goes on.
    await fails(fm.PairError.Finished, pairing.finish(A_MINUTE))
    await phone.hosts()
    await phone.shutdown()


async def bad_input():
    """Each failure has its own type, and none of them spoils the phone."""

    class Broken(Keys):
        def __init__(self, error):
            super().__init__()
            self.error = error

        async def get(self, name):
            raise self.error

    class Full(Keys):
        async def put(self, name, value):
            raise fm.StoreError.Failed("no space left")

    locked = await fails(fm.CallError.KeyStore, fm.Phone.open("p", Broken(fm.StoreError.Locked("behind a finger"))))
    assert "behind a finger" in str(locked), str(locked)
    # What isn't a StoreError is one all the same.
    await fails(fm.CallError.KeyStore, fm.Phone.open("p", Broken(ValueError("a bug in the app"))))
    await fails(fm.CallError.KeyStore, fm.Phone.open("p", Full()))

    keys = Keys()
    phone = await fm.Phone.open("p", keys)
    for text in ["", "hello", "FARHELM:", "FARHELM:AAAA", "FARHELM:\N{SNOWMAN}", "FARHELM:" + "A" * 100_000]:
        await fails(fm.PairError.BadTicket, phone.pair(text))
    for text in ["", "nobody", phone.id()]:
        await fails(fm.CallError.NotPaired, phone.connect(text))
    await fails(fm.CallError.NotPaired, phone.found_nearby("nobody", []))
    # A host that it isn't paired with, and no address: nothing comes of it.
    await phone.found_nearby(phone.id(), ["/ip4/192.168.1.7/tcp/1", "nowhere"])
    name = f"host/{phone.id()}"
    keys.kept[name] = b"garbage"
    [known] = await phone.hosts()
    assert known.standing.is_DAMAGED(), known
    await fails(fm.CallError.Damaged, phone.connect(known.id))
    del keys.kept[name]
    assert await phone.hosts() == []

    again = phone.id()
    await phone.shutdown()
    phone = await fm.Phone.open("p", keys)
    assert phone.id() == again, "the identity is the stored one"
    await phone.shutdown()


async def main(story):
    fm.uniffi_set_event_loop(asyncio.get_running_loop())
    async with asyncio.timeout(3 * PATIENCE):
        await story()
    tell("done")


if __name__ == "__main__":
    asyncio.run(main(globals()[sys.argv[1]]))
    # Not through Python's teardown: it ends native threads that still call back by force, and that aborts.
    os._exit(0)
