//! The window and the receipts at both ends of a link with a rate and a delay, whatever these do.

use proptest::prelude::*;

use super::*;

const FRAME: usize = 16 * 1024;

/// A link that carries `rate` bytes a second, one after the other, and takes `delay` each way.
#[derive(Debug, Clone, Copy)]
struct Link {
    rate: f64,
    delay: Duration,
}

impl Link {
    fn time_of(self, bytes: usize) -> Duration {
        Duration::from_secs_f64(bytes as f64 / self.rate)
    }
}

/// Both ends, with all the bulk that the window lets through.
struct World {
    start: Instant,
    now: Instant,
    window: Window,
    receipts: Receipts,
    link: Link,
    /// When the link is free for the next piece.
    free: Instant,
    pieces: VecDeque<(Instant, usize)>,
    credits: VecDeque<(Instant, u64)>,
    received: u64,
    largest: u64,
    steps: u64,
}

impl World {
    fn new(link: Link) -> Self {
        let now = Instant::now();
        Self {
            start: now,
            now,
            window: Window::new(now),
            receipts: Receipts::default(),
            link,
            free: now,
            pieces: VecDeque::new(),
            credits: VecDeque::new(),
            received: 0,
            largest: 0,
            steps: 0,
        }
    }

    fn send(&mut self, bytes: usize) {
        self.window.sent(bytes, self.now);
        self.free = self.free.max(self.now) + self.link.time_of(bytes);
        self.pieces.push_back((self.free + self.link.delay, bytes));
    }

    /// Sends what may be sent, then goes to the next event. Says whether there is one.
    fn step(&mut self, wants: bool) -> bool {
        while wants && self.window.may_send(self.now) {
            let room = self.window.room(FRAME);
            assert!(self.window.in_flight() < self.window.size() as u64, "no more than a piece beyond the window");
            self.send(room);
        }
        self.largest = self.largest.max(self.window.in_flight());
        let next = [
            self.pieces.front().map(|(at, _)| *at),
            self.credits.front().map(|(at, _)| *at),
            self.receipts.deadline(),
            self.window.deadline(self.now),
        ];
        let Some(next) = next.into_iter().flatten().min() else { return false };
        self.steps += 1;
        assert!(self.steps < 10_000_000, "no time passes");
        self.now = self.now.max(next);
        while let Some((_, bytes)) = self.pieces.pop_front_if(|(at, _)| *at <= self.now) {
            self.received += bytes as u64;
            self.receipts.take(bytes, self.now);
            self.confirm();
        }
        self.confirm();
        while let Some((_, credit)) = self.credits.pop_front_if(|(at, _)| *at <= self.now) {
            self.window.confirm(credit, self.now).unwrap();
        }
        assert!(!self.window.is_overdue(self.now), "a peer that confirms is never overdue");
        true
    }

    fn confirm(&mut self) {
        if let Some(credit) = self.receipts.due(self.now) {
            self.credits.push_back((self.now + self.link.delay, credit));
        }
    }

    /// Bytes a second over this long.
    fn run(&mut self, time: Duration) -> f64 {
        let (from, before) = (self.now, self.received);
        while self.now < from + time {
            assert!(self.step(true), "something is always to be waited for");
        }
        (self.received - before) as f64 / (self.now - from).as_secs_f64()
    }
}

fn link() -> impl Strategy<Value = Link> {
    // 8 kB/s to 20 MB/s; up to 400 ms each way.
    (8_000f64.ln()..20e6f64.ln(), 0u64..400)
        .prop_map(|(rate, delay)| Link { rate: rate.exp(), delay: Duration::from_millis(delay) })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn a_link_is_used_and_its_queue_stays_short(link in link()) {
        let mut world = World::new(link);
        world.run(Duration::from_secs(8));
        world.largest = 0;
        let rate = world.run(Duration::from_secs(8));
        prop_assert!(rate > 0.5 * link.rate.min(MOST as f64 / (2.0 * link.delay.as_secs_f64() + 0.06)), "{rate}");
        // A piece and the peer's wait are in what it can measure.
        let round_trip = 2 * link.delay + link.time_of(PROBE) + CONFIRM;
        let bound = link.rate * round_trip.mul_f64(1.5).max(DELAY).as_secs_f64();
        // A piece beyond the window; and one more, as the rate is measured in whole pieces.
        let pieces = 2 * world.window.room(FRAME);
        prop_assert!(world.largest as f64 <= 1.25 * bound.max(LEAST as f64) + pieces as f64,
            "{} of {bound} and {pieces}", world.largest);
    }

    #[test]
    fn whatever_a_link_does_it_never_stalls_for_good(links in proptest::collection::vec((link(), 1u64..20), 1..6), last in link()) {
        let mut world = World::new(links[0].0);
        for (link, seconds) in links {
            world.link = link;
            world.run(Duration::from_secs(seconds));
        }
        // What was sent before it became slow has to go through it.
        while world.step(false) {}
        world.link = last;
        world.run(Duration::from_secs(40));
        let rate = world.run(Duration::from_secs(20));
        prop_assert!(rate > 0.5 * last.rate.min(MOST as f64 / (2.0 * last.delay.as_secs_f64() + 0.06)), "{rate}");
    }

    #[test]
    fn what_is_urgent_is_counted_and_stops_nothing(link in link(), urgent in proptest::collection::vec((1usize..20_000, any::<bool>()), 1..200)) {
        let mut world = World::new(link);
        for (bytes, wants) in urgent {
            world.send(bytes);
            while world.window.in_flight() > 64 * 1024 {
                prop_assert!(world.step(false));
            }
            world.step(wants);
        }
        while world.step(false) {}
        prop_assert_eq!(world.window.in_flight(), 0);
        prop_assert!(world.window.may_send(world.now));
    }
}

#[test]
fn nothing_is_known_at_first_and_little_is_sent() {
    let mut world = World::new(Link { rate: 1e9, delay: Duration::from_secs(1) });
    while world.window.may_send(world.now) {
        let room = world.window.room(FRAME);
        assert!(room <= 4096 && (room <= PROBE || world.window.in_flight() > 0));
        world.send(room);
    }
    assert!(world.window.in_flight() < START as u64 + 4096);
}

#[test]
fn a_fast_link_gets_whole_frames_in_under_a_second() {
    let mut world = World::new(Link { rate: 12e6, delay: Duration::from_millis(10) });
    world.run(Duration::from_secs(1));
    assert_eq!(world.window.room(FRAME), FRAME);
    assert!(world.received > 6_000_000, "{}", world.received);
}

#[test]
fn a_peer_that_confirms_nothing_is_overdue_only_if_something_waits() {
    let now = Instant::now();
    let mut window = Window::new(now);
    window.sent(100, now);
    assert!(!window.is_overdue(now + PATIENCE) && window.deadline(now).is_none());
    window.sent(START, now);
    assert!(!window.may_send(now));
    assert!(window.deadline(now).unwrap() <= now + PATIENCE);
    assert!(!window.is_overdue(now + PATIENCE / 2));
    assert!(window.is_overdue(now + PATIENCE));
}

#[test]
fn what_can_not_have_been_received_is_refused_and_changes_nothing() {
    let now = Instant::now();
    let mut window = Window::new(now);
    window.sent(100, now);
    assert_eq!(window.confirm(101, now), Err(Misconfirmed(101)));
    window.confirm(60, now).unwrap();
    assert_eq!(window.confirm(59, now), Err(Misconfirmed(59)));
    assert_eq!(window.in_flight(), 40);
}

#[test]
fn receipts_are_few_on_a_fast_link_and_soon_on_a_slow_one() {
    let mut fast = World::new(Link { rate: 12e6, delay: Duration::from_millis(10) });
    let mut credits = 0;
    while fast.now < fast.start + Duration::from_secs(2) {
        fast.step(true);
        credits = credits.max(fast.credits.len());
    }
    assert!(credits <= 8, "{credits} on their way at once");
    let (mut receipts, now) = (Receipts::default(), Instant::now());
    receipts.take(1, now);
    assert_eq!((receipts.due(now), receipts.deadline()), (None, Some(now + CONFIRM)));
    assert_eq!(receipts.due(now + CONFIRM), Some(1));
    assert_eq!((receipts.due(now + 2 * CONFIRM), receipts.deadline()), (None, None));
}

#[test]
fn after_a_pause_nothing_is_known() {
    let mut world = World::new(Link { rate: 12e6, delay: Duration::from_millis(1) });
    world.run(Duration::from_secs(1));
    while world.step(false) {}
    world.now += PAUSE;
    world.link.rate = 32e3;
    world.largest = 0;
    world.run(Duration::from_secs(3));
    assert!(world.largest <= (START + 4096) as u64, "{}", world.largest);
}

#[test]
fn what_is_not_used_does_not_grow() {
    let mut world = World::new(Link { rate: 12e6, delay: Duration::from_millis(1) });
    for _ in 0..1000 {
        world.send(1000);
        while world.step(false) {}
    }
    assert_eq!(world.window.size(), START);
}

#[test]
fn a_link_that_becomes_slow_is_noticed_with_the_first_confirmation() {
    let mut world = World::new(Link { rate: 4e6, delay: Duration::from_millis(5) });
    world.run(Duration::from_secs(2));
    assert!(world.window.size() > 256 * 1024);
    world.link.rate = 32e3;
    let in_flight = world.window.in_flight() + world.window.size() as u64;
    world.run(Duration::from_secs_f64(in_flight as f64 / 32e3 + 1.0));
    world.largest = 0;
    world.run(Duration::from_secs(5));
    assert!(world.largest <= 16 * 1024, "{}", world.largest);
}
