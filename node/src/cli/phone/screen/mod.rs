//! `farhelm phone` without a command: the phone in the whole terminal.
//!
//! ```text
//!  keys, hosts, threads ─► Event ─► State::update ─► Effect ─► hands ─► hosts
//!                                      └─► draw, at most forty times a second
//! ```
//! | room | holds |
//! |---|---|
//! | `state` | what is known, and what happens to it |
//! | `keys` | what keys do |
//! | `draw`, `paint` | the state as a frame |
//! | `hands` | what the phone's client does for it |
//! | this file | the terminal, and the loop |
//!
//! # What isn't here yet
//! Images, devices and settings of owners, a choice of folder, the history before what the host first shows. The commands
//! have these.

mod draw;
mod hands;
mod keys;
mod paint;
mod state;
#[cfg(test)]
mod tests;

use std::io::Write;
use std::time::Duration;

use farhelm_phone::{Client, ThreadWatch};
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, DisableBracketedPaste, EnableBracketedPaste};
use ratatui::crossterm::execute;
use tokio::sync::mpsc;
use tokio::time::Instant;
use zeroize::Zeroizing;

use super::{Context, Exit, Failure, open};
use hands::Hands;
use paint::Palette;
use state::{Effect, Event, State};

/// Time between two frames at the least: no eye sees more, and a stream of deltas costs no more.
const FRAME: Duration = Duration::from_millis(25);

/// Events that wait to be drawn; whoever brings one more waits.
const EVENTS: usize = 256;

/// How often the keyboard's thread looks whether anybody still listens.
const LISTENS: Duration = Duration::from_millis(200);

/// Opens the phone, shows it until the person leaves, and says goodbye.
pub(super) async fn run(context: &Context) -> Result<(), Failure> {
    if context.json() || !context.screen.attended || !crate::terminal::ask::is_possible() {
        return Err(Failure::new(Exit::Usage, "the phone's screen needs a terminal, and there is none here")
            .next("name what to do, as `farhelm phone threads`; `farhelm phone --help` lists it"));
    }
    let client = open(context, None).await?;
    let shown = show(&client, context).await;
    client.shutdown().await;
    shown
}

async fn show(client: &Client, context: &Context) -> Result<(), Failure> {
    let palette = match (context.screen.colour(), crate::terminal::screen::is_light()) {
        (false, _) => Palette::Plain,
        (true, true) => Palette::Light,
        (true, false) => Palette::Dark,
    };
    let (tell, events) = mpsc::channel(EVENTS);
    let mut hands = Hands::new(client.clone(), tell.clone());
    hands.meet_hosts().await?;
    let failed = |error: std::io::Error| Failure::new(Exit::Failed, error);
    let mut terminal = ratatui::try_init().map_err(failed)?;
    let _ = execute!(std::io::stdout(), EnableBracketedPaste);
    std::thread::spawn(move || read_keys(&tell));
    let size = terminal.size().map_err(failed)?;
    let state = State::new((size.width, size.height), palette);
    let ended = turn(&mut terminal, state, events, hands, context).await;
    let _ = execute!(std::io::stdout(), DisableBracketedPaste);
    ratatui::restore();
    ended.map_err(failed)
}

async fn turn(
    terminal: &mut DefaultTerminal,
    mut state: State,
    mut events: mpsc::Receiver<Event>,
    mut hands: Hands,
    context: &Context,
) -> std::io::Result<()> {
    loop {
        terminal.draw(|frame| draw::draw(&mut state, frame))?;
        let next = Instant::now() + FRAME;
        let happened = tokio::select! {
            event = events.recv() => event,
            () = changed(&mut hands.watch) => None,
            Some(found) = hands.found.recv() => {
                hands.take(found);
                None
            }
            () = context.stop.cancelled() => return Ok(()),
        };
        let mut effects = happened.map(|event| state.update(event)).unwrap_or_default();
        tokio::time::sleep_until(next).await;
        while effects.is_empty()
            && let Ok(event) = events.try_recv()
        {
            effects.extend(state.update(event));
        }
        if let Some(watch) = &mut hands.watch {
            state.show(&watch.borrow_and_update());
        }
        for effect in effects {
            match effect {
                Effect::Quit => return Ok(()),
                Effect::Bell(about) => ring(&about)?,
                other => hands.act(other),
            }
        }
    }
}

/// Waits for a change of the open thread; forever where none is open, or its host was let go.
async fn changed(watch: &mut Option<ThreadWatch>) {
    let over = match watch {
        Some(watch) => watch.changed().await.is_err(),
        None => true,
    };
    if over {
        std::future::pending::<()>().await;
    }
}

/// The bell, and the notifications that terminals know (OSC 9 and 777). The text was made safe.
fn ring(about: &str) -> std::io::Result<()> {
    let about = about.replace(';', ",");
    let mut out = std::io::stdout();
    write!(out, "\x07\x1b]9;farhelm: {about}\x1b\\\x1b]777;notify;farhelm;{about}\x1b\\")?;
    out.flush()
}

/// On a thread of its own, as reading a terminal blocks.
fn read_keys(tell: &mpsc::Sender<Event>) {
    while !tell.is_closed() {
        match event::poll(LISTENS) {
            Ok(true) => {}
            Ok(false) => continue,
            Err(_) => return,
        }
        let event = match event::read() {
            Ok(event::Event::Key(key)) => Event::Key(key),
            Ok(event::Event::Paste(text)) => Event::Paste(Zeroizing::new(text)),
            Ok(event::Event::Resize(columns, rows)) => Event::Resize(columns, rows),
            Ok(_) => continue,
            Err(_) => return,
        };
        if tell.blocking_send(event).is_err() {
            return;
        }
    }
}
