//! Links with a delay, as the kernel's own emulation isn't everywhere: two virtual network cards each, and a thread that
//! hands what one sends to the other a while later.

use std::collections::VecDeque;
use std::env;
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use tun_rs::{DeviceBuilder, Layer, SyncDevice};

/// The names of the links, in the environment of the process that makes them.
pub(crate) const LINKS: &str = "FARHELM_TEST_NAT_LINKS";
/// Each way.
pub(crate) const DELAY: Duration = Duration::from_micros(12_500);
/// Frames under way on a link; what is beyond is lost, as on any line.
const QUEUE: usize = 4096;
/// The largest frame.
const FRAME: usize = 65_536;

/// Makes a link for each name, with the ends `NAME-n` and `NAME-f`, says so, and carries frames until it is killed.
pub(crate) fn run() {
    let names = env::var(LINKS).expect("the names of links");
    let ends = |name: &str| ["n", "f"].map(|end| Arc::new(card(&format!("{name}-{end}"))));
    for [near, far] in names.split(' ').map(ends) {
        carry(near.clone(), far.clone());
        carry(far, near);
    }
    println!("ready");
    loop {
        thread::park();
    }
}

fn card(name: &str) -> SyncDevice {
    DeviceBuilder::new().name(name).layer(Layer::L2).mtu(1500).build_sync().expect("a virtual network card")
}

#[derive(Default)]
struct Line {
    frames: Mutex<VecDeque<(Instant, Vec<u8>)>>,
    arrived: Condvar,
}

fn carry(from: Arc<SyncDevice>, to: Arc<SyncDevice>) {
    let line = Arc::new(Line::default());
    let end = line.clone();
    thread::spawn(move || {
        let mut frame = vec![0; FRAME];
        // A card that isn't up yet refuses.
        loop {
            let Ok(length) = from.recv(&mut frame) else {
                thread::sleep(Duration::from_millis(1));
                continue;
            };
            let mut frames = line.frames.lock().expect("no panic");
            if frames.len() < QUEUE {
                frames.push_back((Instant::now() + DELAY, frame[..length].to_vec()));
                line.arrived.notify_one();
            }
        }
    });
    thread::spawn(move || {
        loop {
            let (due, frame) = {
                let mut frames = end.frames.lock().expect("no panic");
                loop {
                    match frames.pop_front() {
                        Some(next) => break next,
                        None => frames = end.arrived.wait(frames).expect("no panic"),
                    }
                }
            };
            thread::sleep(due.saturating_duration_since(Instant::now()));
            let _ = to.send(&frame);
        }
    });
}
