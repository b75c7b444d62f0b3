//! A program at a terminal that nobody sees: keys in, and the screen as a person would read it.

use std::io::{Read, Write};
use std::num::NonZero;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use farhelm_platform::process::Group;
use portable_pty::{Child, CommandBuilder, MasterPty, PtySize, native_pty_system};
use tokio::sync::watch;

const ROWS: NonZero<u16> = NonZero::new(40).expect("not 0");
const COLUMNS: NonZero<u16> = NonZero::new(110).expect("not 0");

/// Ten times what the slowest screen takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(90);

type Keyboard = Arc<Mutex<Box<dyn Write + Send>>>;

/// A terminal and what runs in it; ended with all it started when dropped, also by a test that fails.
pub(crate) struct Terminal {
    child: Box<dyn Child + Send + Sync>,
    keyboard: Keyboard,
    screen: watch::Receiver<String>,
    _master: Box<dyn MasterPty + Send>,
}

impl Terminal {
    /// Starts a program in a folder with these variables beside the inherited ones.
    pub(crate) fn run(program: &Path, arguments: &[&str], folder: &Path, environment: &[(&str, &Path)]) -> Self {
        let size = PtySize { rows: ROWS.get(), cols: COLUMNS.get(), pixel_width: 0, pixel_height: 0 };
        let pair = native_pty_system().openpty(size).expect("a terminal");
        let mut command = CommandBuilder::new(program);
        command.args(arguments);
        command.cwd(folder);
        command.env("TERM", "xterm-256color");
        environment.iter().for_each(|(name, value)| command.env(name, value));
        let child = pair.slave.spawn_command(command).expect("the program starts");
        let keyboard = Arc::new(Mutex::new(pair.master.take_writer().expect("a keyboard")));
        let (draw, screen) = watch::channel(String::new());
        let (output, answers) = (pair.master.try_clone_reader().expect("a screen"), keyboard.clone());
        std::thread::spawn(move || show(output, answers, draw));
        Self { child, keyboard, screen, _master: pair.master }
    }

    /// Waits until the screen looks so; gives it.
    pub(crate) async fn shows(&mut self, what: &str, looks: impl Fn(&str) -> bool) -> String {
        let seen = async { self.screen.wait_for(|screen| looks(screen)).await.map(|screen| screen.clone()) };
        let why = match tokio::time::timeout(PATIENCE, seen).await {
            Ok(Ok(screen)) => return screen,
            Ok(Err(_)) => "the program has ended",
            Err(_) => "it was waited for in vain",
        };
        panic!("the desk doesn't show {what} ({why}), but:\n{}", self.screen.borrow().trim());
    }

    /// Waits for these words on the screen.
    pub(crate) async fn reads(&mut self, words: &str) -> String {
        self.shows(words, |screen| screen.contains(words)).await
    }

    /// Waits until these words are not on the screen.
    pub(crate) async fn loses(&mut self, words: &str) -> String {
        self.shows(&format!("anything but {words}"), |screen| !screen.contains(words)).await
    }

    /// Answers a prompt until it is gone: Codex ignores keys that come too soon for a person to have read it.
    pub(crate) async fn answers(&mut self, key: &str, prompt: &str) {
        let answered = async {
            loop {
                self.press(key);
                let gone = self.screen.wait_for(|screen| !screen.contains(prompt));
                if tokio::time::timeout(Duration::from_secs(1), gone).await.is_ok() {
                    return;
                }
            }
        };
        let answered = tokio::time::timeout(PATIENCE, answered).await;
        assert!(answered.is_ok(), "the prompt {prompt} stays:\n{}", self.screen.borrow().trim());
    }

    /// Presses keys.
    pub(crate) fn press(&self, keys: &str) {
        type_into(&self.keyboard, keys.as_bytes());
    }

    /// Pastes a line, as a terminal does it, and presses enter once it is there.
    pub(crate) async fn says(&mut self, line: &str) {
        self.press(&format!("\x1b[200~{line}\x1b[201~"));
        self.reads(line).await;
        self.press("\r");
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // It leads a session of its own, and with that a group.
        if let Some(group) = self.child.process_id().and_then(Group::led_by) {
            let _ = group.kill();
        }
        let _ = self.child.wait();
    }
}

/// Draws what the program writes until it ends, and answers what it asks its terminal.
fn show(mut output: Box<dyn Read + Send>, keyboard: Keyboard, draw: watch::Sender<String>) {
    let mut parser = vt100::Parser::new_with_callbacks(ROWS, COLUMNS, 0, Questions(keyboard));
    let mut buffer = [0; 8192];
    while let Ok(read @ 1..) = output.read(&mut buffer) {
        parser.process(&buffer[..read]);
        draw.send_replace(parser.screen().contents());
    }
}

/// What a program asks its terminal, and can't go on without.
struct Questions(Keyboard);

impl vt100::Callbacks for Questions {
    fn unhandled_csi(
        &mut self,
        screen: &mut vt100::Screen,
        _: Option<u8>,
        _: Option<u8>,
        parameters: &[&[u16]],
        command: char,
    ) {
        match (command, parameters) {
            ('n', [[6]]) => {
                let (row, column) = screen.cursor_position();
                type_into(&self.0, format!("\x1b[{};{}R", row + 1, column + 1).as_bytes());
            }
            ('c', [] | [[0]]) => type_into(&self.0, b"\x1b[?1;2c"),
            _ => {}
        }
    }
}

fn type_into(keyboard: &Keyboard, keys: &[u8]) {
    let mut keyboard = keyboard.lock().expect("no panic while typing");
    // A program that has ended reads nothing more; what it last showed says why.
    let _ = keyboard.write_all(keys).and_then(|()| keyboard.flush());
}
