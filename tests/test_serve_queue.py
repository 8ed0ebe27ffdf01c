"""Whose turn it is, and what is drawn together: the queue and the batcher."""

import asyncio
import threading
import time

import jax
import numpy as np
import pytest
from tiny import random_snapshot

from t2igan.inference.drawing import BATCH_SIZES
from t2igan.inference.sample import from_snapshot
from t2igan.inference.serving.batch_sizes import Durations, part
from t2igan.inference.serving.batcher import Batcher
from t2igan.inference.serving.encoded import LONGEST_REMEMBERED, EncodedCaptions
from t2igan.inference.serving.queueing import FairQueue, Full, Group, Job

# ---- the queue


def job(client, num, group=None):
    return Job(group or Group("m"), "p", list(range(num)), client, asyncio.Future(loop=LOOP))


LOOP = asyncio.new_event_loop()


def test_who_wants_little_is_not_held_up_by_who_wants_much():
    queue = FairQueue(100)
    queue.put(job("many", 40))
    assert {picture.job.client for picture in queue.take(8)} == {"many"}
    queue.put(job("one", 1))
    queue.put(job("two", 2))
    batch = [picture.job.client for picture in queue.take(8)]
    assert batch.count("one") == 1 and batch.count("two") == 2 and batch.count("many") == 5
    assert queue.images == 43 - 16


def test_a_long_work_may_be_left_for_later_and_holds_up_no_one_else():
    queue = FairQueue(100)
    queue.put(job("a", 1, Group("m", work=print)))
    assert not queue.any(works=False) and queue.take(8, works=False) == []
    queue.put(job("a", 2))
    queue.put(job("b", 3))
    assert queue.any(works=False)
    assert sorted(picture.job.client for picture in queue.take(8, works=False)) == ["a", "a", "b", "b", "b"]
    (work,) = queue.take(8)
    assert work.job.group.work is print and not queue.images


def test_two_greedy_clients_share_alike():
    queue = FairQueue(100)
    for client in ("a", "b"):
        queue.put(job(client, 20))
    batch = [picture.job.client for _ in range(3) for picture in queue.take(4)]
    assert batch.count("a") == batch.count("b") == 6


def test_a_batch_has_one_group_and_other_groups_come_too():
    queue = FairQueue(100)
    queue.put(job("a", 2, Group("m", 0.5)))
    queue.put(job("a", 2, Group("m")))
    queue.put(job("b", 3, Group("m")))
    batches = []
    while batch := queue.take(4):
        assert len({picture.job.group for picture in batch}) == 1
        batches.append(len(batch))
    assert sum(batches) == 7 and len(batches) <= 3
    assert [picture.number for picture in batch] == [] and queue.images == 0


def test_a_batch_is_as_large_as_is_worth_it():
    queue, told = FairQueue(64), []
    for client, num, group in (("a", 5, Group("m")), ("b", 5, Group("m")), ("c", 4, Group("other"))):
        queue.put(job(client, num, group))
    batch = queue.take(16, lambda group, images: told.append((group, images)) or 8)
    assert len(batch) == 8 and told == [(batch[0].job.group, 10)] and queue.images == 6


def test_the_queue_is_bounded_as_a_whole_and_by_client():
    queue = FairQueue(10)
    queue.put(job("a", 8))  # one request may be above the share
    with pytest.raises(Full) as share:
        queue.put(job("a", 1))
    with pytest.raises(Full) as whole:
        queue.put(job("b", 3))
    assert not share.value.whole and whole.value.whole
    queue.put(job("b", 2))


def test_who_has_left_takes_no_room():
    queue = FairQueue(10)
    left = job("a", 8)
    queue.put(left)
    left.future.cancel()
    queue.put(job("b", 9))
    assert {picture.job.client for picture in queue.take(16)} == {"b"}


def test_what_a_client_has_given_up_is_not_of_its_share():
    queue = FairQueue(10)
    given_up = job("a", 4)
    queue.put(given_up)
    with pytest.raises(Full):
        queue.put(job("a", 4))
    given_up.future.cancel()
    queue.put(job("a", 4))
    assert len(queue.take(16)) == 4


# ---- the batcher


@pytest.mark.parametrize(
    ("images", "on_a_cpu"),
    [(1, 1), (3, 2), (5, 4), (10, 8), (27, 16), (31, 31), (33, 32), (40, 32), (63, 63), (64, 64)],
)
def test_what_padding_costs_more_than_a_call_is_drawn_in_two(images, on_a_cpu):
    group, other = Group("m"), Group("on a GPU")
    durations = Durations()
    assert durations.worth(group, images) == images  # nothing is known yet
    for size in BATCH_SIZES:
        durations.note(group, size, 0.001 * size)
        durations.note(other, size, 0.001)
    assert durations.worth(group, images) == on_a_cpu
    assert durations.worth(other, images) == images
    assert durations.worth(Group("m", truncation=0.5), images) == on_a_cpu


def test_a_slow_batch_among_fast_ones_counts_little():
    group, durations = Group("m"), Durations()
    for size, seconds in ((8, 1.0), (4, 0.5), (1, 0.125), (4, 60.0)):
        durations.note(group, size, seconds)
    assert durations.worth(group, 5) == 4
    for _ in range(10):  # as slow for good
        durations.note(group, 4, 60.0)
    assert durations.worth(group, 5) == 5


def test_until_all_is_compiled_batches_are_no_larger_than_what_is():
    sizes, release = [], threading.Event()

    def draw(_group, prompts, _seeds):
        sizes.append(len(prompts))
        if len(sizes) == 2:  # while size 2 is compiled, five pictures arrive
            assert release.wait(20)
        return np.zeros((len(prompts), 4, 4, 3), np.uint8)

    async def ask():
        batcher = Batcher(draw, [Group("m")], 8, 64, lambda *_: None)
        batcher.start(asyncio.get_running_loop())
        while len(sizes) < 2:
            await asyncio.sleep(0.01)
        asked = batcher.submit(Group("m"), "p", range(5), "me")
        release.set()
        await asked.future
        while not batcher.warm:
            await asyncio.sleep(0.01)
        await asyncio.to_thread(batcher.close)
        return asked

    asked = asyncio.run(ask())
    timed = sizes[7:]  # as many as there was time for
    assert sizes[:7] == [1, 2, 2, 2, 1, 4, 8] and timed == [1, 2, 4, 8][: len(timed)]
    assert sorted(asked.images) == [0, 1, 2, 3, 4]


def test_a_size_that_does_not_fit_into_memory_is_left_out():
    sizes, tried, failures = [], [], []

    def draw(_group, prompts, _seeds):
        (sizes if prompts[0] == "p" else tried).append(len(prompts))
        if len(prompts) > 2:
            raise MemoryError
        return np.zeros((len(prompts), 4, 4, 3), np.uint8)

    async def ask():
        batcher = Batcher(draw, [Group("m")], 16, 64, lambda *told: failures.append(told[-1]))
        batcher.start(asyncio.get_running_loop())
        while not batcher.warm:
            await asyncio.sleep(0.01)
        await batcher.submit(Group("m"), "p", range(5), "me").future
        assert batcher.healthy
        await asyncio.to_thread(batcher.close)

    asyncio.run(ask())
    timed = tried[3:]  # as many as there was time for
    assert tried[:3] == [1, 2, 4] and timed == [1, 2][: len(timed)]
    assert sizes == [2, 2, 1] and failures.count(True) == 1


def test_while_a_size_is_compiled_smaller_batches_are_drawn():
    sizes, release = [], threading.Event()

    def compiles(_group, size):
        assert threading.current_thread().name.startswith("t2igan-compiler")
        assert size < 4 or release.wait(20)

    def draw(_group, prompts, _seeds):
        sizes.append(len(prompts))
        return np.zeros((len(prompts), 4, 4, 3), np.uint8)

    async def ask():
        batcher = Batcher(draw, [Group("m")], 8, 64, lambda *_: None, compiles)
        batcher.start(asyncio.get_running_loop())
        while len(sizes) < 2:
            await asyncio.sleep(0.01)
        await batcher.submit(Group("m"), "p", range(3), "me").future
        assert not batcher.warm and sizes == [1, 2, 2, 1]
        release.set()
        while not batcher.warm:
            await asyncio.sleep(0.01)
        await asyncio.to_thread(batcher.close)

    asyncio.run(ask())
    timed = sizes[6:]  # as many as there was time for
    assert sizes[:6] == [1, 2, 2, 1, 4, 8] and timed == [1, 2, 4, 8][: len(timed)]


@pytest.mark.parametrize(
    ("images", "idle", "first"), [(40, 1, 40), (40, 2, 16), (10, 2, 4), (3, 2, 1), (1, 2, 1), (2, 4, 1), (64, 4, 16)]
)
def test_what_waits_is_divided_among_those_who_have_nothing_to_do(images, idle, first):
    assert part(images, idle) == first


def blank(prompts):
    return np.zeros((len(prompts), 4, 4, 3), np.uint8)


def asked_of(batcher, ask):
    """Runs `ask` beside a batcher that is warm, and ends it."""

    async def run():
        batcher.start(asyncio.get_running_loop())
        while not batcher.warm:
            await asyncio.sleep(0.01)
        try:
            return await asyncio.wait_for(ask(), 20)
        finally:
            await asyncio.to_thread(batcher.close)

    return asyncio.run(run())


def test_two_threads_draw_at_the_same_time():
    together, sizes = threading.Barrier(2, timeout=20), []

    def draw(_group, prompts, _seeds):
        if prompts[0] == "p":
            sizes.append(len(prompts))
            together.wait()
        return blank(prompts)

    batcher = Batcher(draw, [Group("m")], 8, 64, lambda *_: None, threads=2)

    async def ask():
        asked = batcher.submit(Group("m"), "p", range(8), "me")
        await asked.future
        return asked

    assert sorted(asked_of(batcher, ask).images) == list(range(8)) and sizes == [4, 4]


def test_who_was_answered_together_is_drawn_together_again():
    sizes, clients = [], 12

    def draw(_group, prompts, _seeds):
        if prompts[0] == "p":  # and no size that is warmed or timed
            sizes.append(len(prompts))
        return blank(prompts)

    batcher = Batcher(draw, [Group("m")], 64, 64, lambda *_: None)

    async def client(number):
        for _ in range(5):
            await batcher.submit(Group("m"), "p", [number], str(number)).future
            for _ in range(number % 2):  # some ask a turn of the event loop later than others
                await asyncio.sleep(0)

    async def ask():
        while batcher._to_time:  # or the thread is not at rest
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.05)
        await asyncio.gather(*map(client, range(clients)))

    asked_of(batcher, ask)
    assert sizes == [clients] * 5


def test_a_client_alone_waits_for_nobody():
    batcher, turns = Batcher(lambda _, prompts, __: blank(prompts), [Group("m")], 8, 64, lambda *_: None), []
    wake = batcher._wake_soon
    batcher._wake_soon = lambda number: (turns.append(number), wake(number))

    async def ask():
        for _ in range(3):
            await batcher.submit(Group("m"), "p", range(5), "me").future

    asked_of(batcher, ask)
    assert set(turns) == {1}


def test_captions_are_encoded_once_as_long_as_they_are_remembered():
    asked = []

    def encode(captions):
        asked.append(list(captions))
        return np.array([[len(caption)] for caption in captions], np.float32), np.ones((len(captions), 1), bool)

    remembered = EncodedCaptions(encode, most_bytes=3 * 5)  # three rows of 5 bytes
    lengths, mask = remembered.of(["a", "bb", "a"])
    assert lengths[:, 0].tolist() == [1, 2, 1] and mask.shape == (3, 1)
    assert remembered.of(["bb", "a", "ccc"])[0][:, 0].tolist() == [2, 1, 3]
    assert asked == [["a", "bb"], ["ccc"]]
    remembered.of(["dddd"])  # in the place of "bb", which was asked for before the others
    remembered.of(["a", "ccc", "bb"])
    assert asked[2:] == [["dddd"], ["bb"]]
    for _ in range(2):
        remembered.of(["e" * (LONGEST_REMEMBERED + 1)])
    assert len(asked) == 6


def test_one_long_work_at_a_time_and_pictures_beside_it():
    release, at_work, most = threading.Event(), [], []

    def work(_progress):
        at_work.append(1)
        most.append(len(at_work))
        assert release.wait(20)
        return at_work.pop()

    batcher = Batcher(lambda _group, prompts, _seeds: blank(prompts), [Group("m")], 8, 64, lambda *_: None, threads=3)

    async def ask():
        works = [batcher.submit(Group("m", work=work), "", [0], client) for client in "abc"]
        while not at_work:
            await asyncio.sleep(0.01)
        await batcher.submit(Group("m"), "p", range(5), "me").future
        assert not any(one.future.done() for one in works)
        release.set()
        await asyncio.gather(*(one.future for one in works))

    asked_of(batcher, ask)
    assert most == [1, 1, 1]


def test_all_that_waits_is_drawn_before_several_threads_end():
    def slowly(_progress):
        time.sleep(0.02)
        return 1

    batcher = Batcher(lambda _group, prompts, _seeds: blank(prompts), [Group("m")], 8, 64, lambda *_: None, threads=3)

    async def ask():
        works = [batcher.submit(Group("m", work=slowly), "", [0], str(i)) for i in range(3)]
        pictures = [batcher.submit(Group("m"), "p", range(7), str(i)) for i in range(5)]
        await asyncio.to_thread(batcher.close)
        with pytest.raises(Full):
            batcher.submit(Group("m"), "p", [0], "late")
        await asyncio.gather(*(one.future for one in works + pictures))

    asked_of(batcher, ask)


def test_while_a_size_is_compiled_the_thread_that_may_draw_is_woken():
    release = threading.Event()
    compiles = lambda _group, size: size == 1 or release.wait(20)
    batcher = Batcher(lambda _, prompts, __: blank(prompts), [Group("m")], 8, 64, lambda *_: None, compiles, threads=4)

    async def ask():
        batcher.start(asyncio.get_running_loop())
        while batcher._to_warm[0][0] == 1:
            await asyncio.sleep(0.01)
        try:
            for _ in range(4):  # whichever waits in front of the others
                await asyncio.sleep(0.05)
                await asyncio.wait_for(batcher.submit(Group("m"), "p", [0], "me").future, 10)
                await asyncio.sleep(0.05)
                with batcher._condition:
                    batcher._condition.notify()  # has nothing to do, and waits behind the others
            assert not batcher.warm
        finally:
            release.set()
            await asyncio.to_thread(batcher.close)

    asyncio.run(ask())


def test_what_was_compiled_is_drawn_without_another_compilation():
    model, events = from_snapshot(random_snapshot(["a red one", "a blue one"])), []
    listen = lambda event, *_, **__: events.append(event)
    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        for images in (2, 8):  # pictures, and captions that differ
            model.compile(images)
        assert any("jaxpr_to_mlir" in event for event in events)
        events.clear()
        encoded = model.encoded(["a red one", "a blue one"])
        images = model.sample_encoded(encoded, np.arange(2, dtype=np.uint32))
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)
    assert not [event for event in events if "compil" in event or "jaxpr" in event]
    drawn = model.sample(["a red one", "a blue one"], seed=[0, 1]).astype(int)
    assert np.abs(images - drawn).max() <= 1  # in one program
