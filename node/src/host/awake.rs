//! Keeps the machine awake while a turn runs, if the owner has switched `mobile_keep_awake` on.
//!
//! The system's own program holds the machine for as long as a `cat` runs below it, and that `cat` ends with the pipe
//! from us: by our drop of it, and just as well when we are killed. Where the program is missing or refuses (a
//! container, a session without a seat), that is said in `farhelm host settings` and nothing else happens.
//!
//! # Why no crate
//! For one call, `keepawake` 0.6.1 brings a D-Bus implementation and its macros: on Linux 34 crates that we have no
//! other use for; zbus 5.19 alone, on tokio, 18. Windows counterpart: `PowerSetRequest`.

use std::io;
use std::mem::replace;
use std::process::Stdio;
use std::time::Duration;

use farhelm_core::policy::Rules;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::watch;
use tokio::time::timeout;

/// Linux: an inhibitor of logind. `block`, as `delay` only puts sleep off by seconds.
const LINUX: &[&str] =
    &["systemd-inhibit", "--what=idle:sleep", "--who=farhelm", "--why=a turn runs", "--mode=block", "cat"];
/// macOS: no idle sleep, and with mains no sleep at all.
const MACOS: &[&str] = &["caffeinate", "-i", "-s", "cat"];

/// For the last words of a program that ended.
const READING: Duration = Duration::from_secs(1);
/// How much of them.
const WORDS: u64 = 500;

/// Whether the machine is kept awake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Awake {
    /// Nobody wants it.
    Idle,
    /// It is.
    Held,
    /// It should be, and can't: why.
    Unavailable(String),
}

/// Whether it should be: pure.
pub fn is_wanted(rules: &Rules, is_working: bool) -> bool {
    rules.mobile_keep_awake && is_working
}

/// Keeps the machine awake while it is wanted, until one of its sources is gone.
pub async fn run(mut rules: watch::Receiver<Rules>, mut working: watch::Receiver<bool>, said: watch::Sender<Awake>) {
    let program = if cfg!(target_os = "macos") { MACOS } else { LINUX };
    hold_with(program, &mut rules, &mut working, &said).await;
    said.send_replace(Awake::Idle);
}

async fn hold_with(
    program: &[&str],
    rules: &mut watch::Receiver<Rules>,
    working: &mut watch::Receiver<bool>,
    said: &watch::Sender<Awake>,
) {
    let (mut held, mut is_tried) = (None, false);
    loop {
        let wanted = is_wanted(&rules.borrow_and_update(), *working.borrow_and_update());
        if !wanted {
            (held, is_tried) = (None, false);
            // What couldn't be done is worth knowing until it is tried again.
            said.send_if_modified(|said| *said == Awake::Held && replace(said, Awake::Idle) == Awake::Held);
        } else if !is_tried {
            is_tried = true;
            match Hold::start(program) {
                Ok(hold) => {
                    held = Some(hold);
                    said.send_replace(Awake::Held);
                }
                Err(error) => unavailable(said, format!("{} can't be started: {error}", program[0])),
            }
        }
        tokio::select! {
            changed = rules.changed() => if changed.is_err() { return },
            changed = working.changed() => if changed.is_err() { return },
            why = ended(&mut held) => {
                held = None;
                unavailable(said, format!("{} ended: {why}", program[0]));
            }
        }
    }
}

fn unavailable(said: &watch::Sender<Awake>, why: String) {
    tracing::warn!(why, "this machine can't be kept awake");
    said.send_replace(Awake::Unavailable(why));
}

/// The running program. Ends when dropped.
#[derive(Debug)]
struct Hold {
    child: Child,
    /// Apart from the child, whose `wait` would close it.
    _pipe: Option<ChildStdin>,
}

impl Hold {
    fn start(program: &[&str]) -> io::Result<Self> {
        let mut command = Command::new(program[0]);
        command.args(&program[1..]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        // In a group of its own: a Ctrl-C is the host's to act upon.
        let mut child = command.process_group(0).kill_on_drop(true).spawn()?;
        let pipe = child.stdin.take();
        Ok(Self { child, _pipe: pipe })
    }
}

/// Waits until a running one ends, which it does by itself only where it can't do its work; gives what it said.
async fn ended(held: &mut Option<Hold>) -> String {
    let Some(Hold { child, .. }) = held else { return std::future::pending().await };
    let status = child.wait().await;
    let words = match child.stderr.take() {
        Some(words) => timeout(READING, last_words(words)).await.unwrap_or_default(),
        None => String::new(),
    };
    match (words.as_str(), status) {
        ("", Ok(status)) => status.to_string(),
        ("", Err(error)) => error.to_string(),
        (words, _) => words.to_owned(),
    }
}

async fn last_words(words: impl AsyncRead + Unpin) -> String {
    let mut bytes = Vec::new();
    let _ = words.take(WORDS).read_to_end(&mut bytes).await;
    String::from_utf8_lossy(&bytes).trim().to_owned()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use tokio::net::unix::pipe;
    use tokio::task::JoinHandle;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(20);

    /// A host whose switch is on, and a program that stands in for the system's: no logind runs where tests do.
    struct World {
        folder: tempfile::TempDir,
        rules: watch::Sender<Rules>,
        working: watch::Sender<bool>,
        said: watch::Receiver<Awake>,
        task: JoinHandle<()>,
    }

    impl World {
        fn new(program: impl FnOnce(&Path) -> Vec<String>) -> Self {
            let folder = tempfile::tempdir().unwrap();
            let program = program(folder.path());
            let on = Rules { mobile_keep_awake: true, ..Rules::default() };
            let (rules, working) = (watch::channel(on).0, watch::channel(false).0);
            let (say, said) = watch::channel(Awake::Idle);
            let (mut hears_rules, mut hears_working) = (rules.subscribe(), working.subscribe());
            let task = tokio::spawn(async move {
                let program: Vec<&str> = program.iter().map(String::as_str).collect();
                hold_with(&program, &mut hears_rules, &mut hears_working, &say).await;
            });
            Self { folder, rules, working, said, task }
        }

        async fn is(&mut self, wanted: impl Fn(&Awake) -> bool) -> Awake {
            let said = timeout(PATIENCE, self.said.wait_for(|said| wanted(said))).await;
            said.unwrap().unwrap().clone()
        }

        fn starts(&self) -> usize {
            fs::read_to_string(self.folder.path().join("starts")).unwrap().lines().count()
        }
    }

    fn script(text: String) -> Vec<String> {
        ["sh", "-c", &text].map(str::to_owned).to_vec()
    }

    /// Says that it runs, and holds a FIFO open for as long as it does.
    fn holding(folder: &Path) -> Vec<String> {
        let fifo = folder.join("alive");
        assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
        script(format!("exec 3>'{}'; echo up >&3; exec cat", fifo.display()))
    }

    /// The program's life, as its FIFO tells it.
    struct Life(pipe::Receiver);

    impl Life {
        /// Has a turn run, and waits until the program does.
        async fn begins(world: &World) -> Self {
            let fifo = world.folder.path().join("alive");
            // For reading and writing: else there would be an end before the program has come.
            let mut life = pipe::OpenOptions::new().read_write(true).open_receiver(&fifo).unwrap();
            world.working.send_replace(true);
            let mut up = [0; 3];
            timeout(PATIENCE, life.read_exact(&mut up)).await.unwrap().unwrap();
            Self(pipe::OpenOptions::new().open_receiver(&fifo).unwrap())
        }

        async fn ends(mut self) {
            let rest = timeout(PATIENCE, self.0.read_to_end(&mut Vec::new())).await;
            assert_eq!(rest.unwrap().unwrap(), 0);
        }
    }

    fn refusing(folder: &Path) -> Vec<String> {
        script(format!("echo started >>'{}'; echo 'no seat' >&2; exit 1", folder.join("starts").display()))
    }

    #[test]
    fn it_is_wanted_only_with_the_switch_on_and_a_turn_running() {
        let on = Rules { mobile_keep_awake: true, ..Rules::default() };
        let off = Rules::default();
        let wanted = [(&on, true), (&on, false), (&off, true), (&off, false)].map(|(r, w)| is_wanted(r, w));
        assert_eq!(wanted, [true, false, false, false]);
    }

    #[tokio::test]
    async fn it_is_held_while_a_turn_runs_and_let_go_after_it() {
        let mut world = World::new(holding);
        let life = Life::begins(&world).await;
        world.is(|said| *said == Awake::Held).await;
        world.working.send_replace(false);
        life.ends().await;
        world.is(|said| *said == Awake::Idle).await;
    }

    #[tokio::test]
    async fn it_is_let_go_when_the_owner_switches_it_off_in_the_middle_of_a_turn() {
        let world = World::new(holding);
        let life = Life::begins(&world).await;
        world.rules.send_replace(Rules::default());
        life.ends().await;
    }

    #[tokio::test]
    async fn it_ends_with_us() {
        let world = World::new(holding);
        let life = Life::begins(&world).await;
        world.task.abort();
        life.ends().await;
    }

    #[tokio::test]
    async fn a_program_that_refuses_is_quoted_and_tried_again_only_for_the_next_turn() {
        let mut world = World::new(refusing);
        world.working.send_replace(true);
        let said = world.is(|said| matches!(said, Awake::Unavailable(_))).await;
        assert_eq!(said, Awake::Unavailable("sh ended: no seat".into()));
        assert_eq!(world.starts(), 1);
        world.working.send_replace(false);
        // The task has nothing to say to that, and has seen it when we run again.
        tokio::task::yield_now().await;
        world.said.mark_unchanged();
        world.working.send_replace(true);
        // The same words again are a change all the same.
        while world.starts() < 2 {
            timeout(PATIENCE, world.said.changed()).await.unwrap().unwrap();
        }
    }

    #[tokio::test]
    async fn a_program_that_is_not_there_is_named() {
        let mut world = World::new(|_| vec!["farhelm-no-such-program".into()]);
        world.working.send_replace(true);
        let said = world.is(|said| matches!(said, Awake::Unavailable(_))).await;
        assert!(
            matches!(said, Awake::Unavailable(why) if why.starts_with("farhelm-no-such-program can't be started: "))
        );
    }
}
