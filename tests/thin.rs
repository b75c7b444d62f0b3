//! A thin link: host and relay on one side, a phone on the other, between them 256 kbit/s each way. In network namespaces
//! of their own, by the kernel's shaping; where these aren't permitted, a plain `cargo test` leaves it out and says so.
//!
//! ```text
//!   agent ─ host ── relay 10.77.0.1 ══ 256 kbit/s ══ 10.77.0.2 phone        (host and phone can't reach one another)
//! ```
//! The test starts itself three times: as the one that is judged, inside the namespaces, and as the phone.

#[path = "support/scene.rs"]
#[expect(dead_code, reason = "shared with suites that need more of it")]
mod scene;

use std::env;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use farhelm_core::codex::decision::Decision;
use farhelm_phone::{Client, Config, Host, Paging, key_store};
use scene::Scene;
use tokio::time::{sleep, timeout};

const NAME: &str = "an_approval_on_a_thin_link_does_not_wait_for_what_is_read";
const ROLE: &str = "FARHELM_TEST_THIN";
const TICKET: &str = "FARHELM_TEST_TICKET";

/// How much later an approval may arrive than on the empty link. Machines are noisy: the test fails at ten times that.
const LIMIT: Duration = Duration::from_secs(1);
/// Ten times that for each wait, and for what goes before on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

const LINK: &str = "set -e
ip link set lo up
mount -t tmpfs none /run
mkdir /run/netns
ip netns add phone
ip link add near type veth peer name far netns phone
ip addr add 10.77.0.1/24 dev near
ip link set near up
ip -n phone addr add 10.77.0.2/24 dev far
ip -n phone link set far up
ip -n phone link set lo up";

const THIN: &str = "set -e
tc qdisc add dev near root tbf rate 256kbit burst 4kb latency 1s
tc -n phone qdisc add dev far root tbf rate 256kbit burst 4kb latency 1s";

fn shell(script: &str) -> bool {
    Command::new("sh").args(["-c", script]).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

#[test]
fn an_approval_on_a_thin_link_does_not_wait_for_what_is_read() {
    match env::var(ROLE).as_deref() {
        Ok("phone") => tokio::runtime::Runtime::new().expect("a runtime").block_on(phone()),
        Ok(_) => inside(),
        Err(_) if !shell(&format!("unshare -rnm sh -c '{LINK}\n{THIN}'")) => {
            assert!(
                env::var_os("FARHELM_TEST_ALL").is_none(),
                "no network namespaces, or no ip and tc, on this machine"
            );
            println!("left out: this needs network namespaces, and ip and tc (Debian: iproute2)");
        }
        Err(_) => {
            let again = Command::new("unshare").arg("-rnm").args(ourselves()).env(ROLE, "inside").status();
            assert!(again.expect("it was there a moment ago").success());
        }
    }
}

fn ourselves() -> Vec<String> {
    let program = env::current_exe().expect("we run").to_str().expect("a path of text").to_owned();
    vec![program, "--exact".into(), NAME.into(), "--nocapture".into()]
}

/// Relay and host, and the phone beyond the link.
fn inside() {
    assert!(shell(LINK), "the link");
    let scene = Scene::set();
    let (_relay, relays) = scene.relay_on(&["/ip4/10.77.0.1/tcp/0".into()]);
    let _host = scene.host(&relays);
    let (_desk, ticket) = scene.offer();
    let mut phone = Phone::start(&ticket);
    phone.says("ready");
    assert!(shell(THIN), "the shaping");
    phone.go_on();
    let (empty, full) = (phone.figure("empty"), phone.figure("full"));
    let later = Duration::from_millis(full.saturating_sub(empty));
    let met = if later <= LIMIT { "met" } else { "missed" };
    println!("an approval after {empty} ms on the empty link, after {full} ms beside a read of 2 MB");
    println!("{} ms later (limit {} ms: {met})", later.as_millis(), LIMIT.as_millis());
    assert!(later <= LIMIT * 10);
    assert!(phone.child.wait().expect("it ends").success());
}

struct Phone {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Phone {
    fn start(ticket: &str) -> Self {
        let mut command = Command::new("nsenter");
        command.arg("--net=/run/netns/phone").args(ourselves()).env(ROLE, "phone").env(TICKET, ticket);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it starts");
        let input = child.stdin.take().expect("it was piped");
        let output = BufReader::new(child.stdout.take().expect("it was piped"));
        Self { child, input, output }
    }

    /// The rest of the line that begins like this; the phone's own waits end in time.
    fn says(&mut self, word: &str) -> String {
        let mut line = String::new();
        while self.output.read_line(&mut line).expect("text") > 0 {
            if let Some(rest) = line.trim().strip_prefix(word) {
                return rest.trim().to_owned();
            }
            line.clear();
        }
        panic!("it ended without {word:?}")
    }

    fn figure(&mut self, word: &str) -> u64 {
        self.says(word).parse().expect("milliseconds")
    }

    fn go_on(&mut self) {
        self.input.write_all(b"\n").expect("it listens");
    }
}

impl Drop for Phone {
    fn drop(&mut self) {
        // Commonly it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn phone() {
    let mut config = Config::new("pocket");
    // Nothing that the host could reach.
    config.listen = vec!["/ip4/127.0.0.1/tcp/0".parse().expect("an address")];
    let client = Client::open(config, Arc::new(key_store::Memory::default())).await.expect("a phone");
    let pairing = client.pair(&env::var(TICKET).expect("a ticket")).await.expect("the host answers");
    let host = pairing.finish(PATIENCE).await.expect("a pairing").host;
    host.live(PATIENCE).await.expect("a session");
    let thread = with_much_to_read(&host).await;
    // What the turns said has arrived.
    sleep(Duration::from_secs(3)).await;
    println!("ready");
    tokio::task::spawn_blocking(|| std::io::stdin().read_line(&mut String::new()))
        .await
        .expect("a line")
        .expect("text");

    println!("empty {}", approvals(&host).await.as_millis());
    let read = tokio::spawn({
        let host = host.clone();
        async move {
            host.history(&thread, Paging { limit: Some(20), ..Paging::default() }).await.map(|page| page.rows.len())
        }
    });
    sleep(Duration::from_secs(5)).await;
    let full = approvals(&host).await;
    assert!(!read.is_finished(), "it was under way: {:?}", read.await);
    println!("full {}", full.as_millis());
    client.shutdown().await;
}

/// A thread with more than 2 MB of text.
async fn with_much_to_read(host: &Host) -> String {
    let started = host.start("hello").await.expect("a thread");
    let mut watch = host.watch(&started.thread).await.expect("to follow it");
    for _ in 0..9 {
        let idle = |thread: &farhelm_core::codex::thread::Thread| {
            thread.turns.last().is_some_and(|turn| turn.status != farhelm_core::codex::thread::TurnStatus::InProgress)
        };
        timeout(PATIENCE, watch.wait_for(idle)).await.expect("in time").expect("a thread");
        host.send(&started.thread, "a lot to read ".repeat(18_000).as_str()).await.expect("a turn");
    }
    started.thread
}

/// From a person's wish to the approval that it leads to: the longest of three.
async fn approvals(host: &Host) -> Duration {
    let mut longest = Duration::ZERO;
    for n in 0..3 {
        let mut open = host.approvals();
        timeout(PATIENCE, open.wait_for(Vec::is_empty)).await.expect("in time").expect("a host");
        let wished = Instant::now();
        host.start(format!("ESCALATE cmd=touch {n}").as_str()).await.expect("a thread");
        let asked = timeout(PATIENCE, open.wait_for(|open| !open.is_empty())).await.expect("in time");
        let approval = asked.expect("a host")[0].clone();
        longest = longest.max(wished.elapsed());
        host.decide(&approval, Decision::Decline).await.expect("it counts");
    }
    longest
}
