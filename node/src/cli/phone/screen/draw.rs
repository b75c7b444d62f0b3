//! The state as a frame: the inbox, a page, what is typed, and what the keys do.

use farhelm_phone::view::text::lines;
use farhelm_phone::view::{Line, Role, Span, composer};
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::{Modifier, Style};
use ratatui::text::Line as Drawn;
use ratatui::widgets::Paragraph;
use unicode_width::UnicodeWidthStr;

use super::paint::{Palette, wrap};
use super::state::{Answering, Page, Pairing, State, Step};

/// Columns of the list where it stands beside the page.
pub(super) const LIST: u16 = 40;
/// Lines of a message that is being typed.
const TYPED: usize = 4;

/// Rows that aren't content: the head, and what is typed, asked or said; on a tiny screen one of each.
pub(super) const fn around(rows: u16) -> u16 {
    if rows < 10 { 2 } else { 5 }
}

/// Draws everything.
pub(super) fn draw(state: &mut State, frame: &mut Frame<'_>) {
    let area = frame.area();
    if area.height < 3 || area.width < 10 {
        return;
    }
    let (columns, rows) = state.room();
    head(state, frame, Rect { height: 1, ..area });
    let middle = Rect { y: 1, height: u16::try_from(rows).unwrap_or(1).min(area.height - 2), ..area };
    let page = Rect { x: area.width - u16::try_from(columns).unwrap_or(area.width), width: columns as u16, ..middle };
    if state.is_wide() {
        inbox(state, frame, Rect { width: LIST - 2, ..middle });
    }
    content(state, frame, page);
    let below = Rect { y: middle.y + middle.height, height: area.height - middle.height - 1, ..area };
    foot(state, frame, below);
}

fn head(state: &State, frame: &mut Frame<'_>, area: Rect) {
    let waiting = state.inbox.waiting();
    let role = if waiting > 0 { Role::Warning } else { Role::Dim };
    let waits = match waiting {
        0 => "nothing waits for you".into(),
        1 => "1 waits for you".into(),
        many => format!("{many} wait for you"),
    };
    let mut line = Line::new(Role::Strong, "farhelm ");
    line.spans.push(Span::new(role, &waits));
    for host in &state.inbox.hosts {
        line.spans.push(Span::new(Role::Plain, &format!("  {}: ", host.name)));
        line.spans.push(Span { text: host.state.clone(), role: host.role });
    }
    one(frame, &line, state.palette, area);
}

fn content(state: &mut State, frame: &mut Frame<'_>, area: Rect) {
    let (columns, palette, is_wide) = (usize::from(area.width), state.palette, state.is_wide());
    match &mut state.page {
        Page::Inbox if !is_wide => inbox(state, frame, area),
        Page::Inbox => {
            put(frame, &[Line::new(Role::Dim, "Enter opens a thread, i starts one, ? shows all keys.")], palette, area)
        }
        Page::Thread => thread(state, frame, area),
        Page::Approval(deciding) => {
            let all = wrap(&deciding.view.lines(), columns, palette);
            let shown = all.into_iter().skip(deciding.scroll).take(area.height.into()).collect::<Vec<_>>();
            frame.render_widget(Paragraph::new(shown), area);
        }
        Page::Question(answering) => {
            let all = question(answering);
            answering.scroll = put_from(frame, &all, answering.scroll, palette, area);
        }
        Page::Pair(pairing) => put(frame, &pair(pairing), palette, area),
        Page::Help(from) => *from = put_from(frame, &help(), *from, palette, area),
    }
}

/// The list, scrolled so that the selected row is on the screen.
fn inbox(state: &State, frame: &mut Frame<'_>, area: Rect) {
    let mut drawn: Vec<Drawn<'_>> = Vec::new();
    let (mut section, mut at) = (None, 0);
    for (number, row) in state.inbox.rows.iter().enumerate() {
        if section.replace(row.section) != Some(row.section) {
            drawn.push(Drawn::styled(row.section.title(), state.palette.style(Role::Heading)));
        }
        let is_selected = number == state.selected;
        let sign = if is_selected { "▸ " } else { "  " };
        let host = if state.hosts.len() > 1 { format!("{}: ", row.host_name) } else { String::new() };
        let style = if is_selected { Style::new().add_modifier(Modifier::REVERSED) } else { Style::new() };
        at = if is_selected { drawn.len() } else { at };
        let columns = area.width.into();
        drawn.push(Drawn::styled(cut(format!("{sign}{host}{}", row.title), columns), style));
        drawn.push(Drawn::styled(cut(format!("    {}", row.detail), columns), state.palette.style(Role::Dim)));
    }
    if drawn.is_empty() {
        let text = if state.hosts.is_empty() {
            "No host yet. Show a code with `farhelm pair` at the desk, then press p here."
        } else {
            "No thread yet. i starts one."
        };
        return put(frame, &[Line::new(Role::Dim, text)], state.palette, area);
    }
    let height = usize::from(area.height);
    let skip = (at + 2).saturating_sub(height).min(drawn.len().saturating_sub(1));
    frame.render_widget(Paragraph::new(drawn.into_iter().skip(skip).take(height).collect::<Vec<_>>()), area);
}

/// So much of a line as fits, and that there is more.
fn cut(mut text: String, columns: usize) -> String {
    if text.width() <= columns {
        return text;
    }
    while text.width() >= columns && text.pop().is_some() {}
    text + "…"
}

fn thread(state: &mut State, frame: &mut Frame<'_>, area: Rect) {
    let palette = state.palette;
    let Some(open) = &mut state.open else { return };
    let head = &open.view.head;
    let mut title = Line { spans: vec![Span { text: head.title.clone(), role: Role::Strong }], ..Line::default() };
    let about = [head.state, &head.model, &head.usage, &head.folder].into_iter().filter(|part| !part.is_empty());
    title.spans.push(Span::new(Role::Dim, &format!("  {}", about.collect::<Vec<_>>().join(" · "))));
    one(frame, &title, palette, Rect { height: 1, ..area });
    let body = Rect { y: area.y + 1, height: area.height.saturating_sub(1), ..area };
    let height = usize::from(body.height);
    let back = open.back;
    let all = open.lines(area.width.into(), palette);
    let back = back.min(all.len().saturating_sub(height));
    let end = all.len() - back;
    let shown: Vec<Drawn<'_>> = all[end.saturating_sub(height)..end].iter().map(|line| (*line).clone()).collect();
    frame.render_widget(Paragraph::new(shown), body);
    open.back = back;
}

fn question(answering: &Answering) -> Vec<Line> {
    let mut all = vec![Line::new(Role::Warning, "Codex has a question")];
    for ask in &answering.shown.asks {
        all.extend(lines(Role::Strong, "  ", &ask.question));
        for (number, option) in (1..).zip(&ask.options) {
            all.extend(lines(Role::Plain, &format!("  {number}. "), &option.label));
            all.extend(
                lines(Role::Dim, "     ", &option.description).into_iter().filter(|_| !option.description.is_empty()),
            );
        }
        if answering.given.contains_key(&ask.id) {
            all.push(Line::new(Role::Good, "✓ answered").below("  "));
        }
    }
    all
}

fn pair(pairing: &Pairing) -> Vec<Line> {
    let text = match pairing {
        Pairing::Ticket(ticket) => {
            let typed =
                if ticket.is_empty() { String::new() } else { format!("\n\n{} characters so far.", ticket.len()) };
            format!(
                "Paste the text of the code that `farhelm pair` shows at the desk, then press Enter.\nIt holds a secret and isn't shown.{typed}"
            )
        }
        Pairing::Reaching => "Reaching the host …".into(),
        Pairing::Comparing { host, words } => {
            format!(
                "These words must be the same at the desk of “{host}”:\n\n    {}\n\nWaiting for the desk …",
                words.join("   ")
            )
        }
    };
    lines(Role::Plain, "", &text)
}

fn help() -> Vec<Line> {
    const KEYS: [(&str, &str); 14] = [
        ("d", "the first thing that waits for you"),
        ("Enter", "open; in a thread: write"),
        ("i", "write: to the open thread, or to start one"),
        ("/", "write a command; Tab completes it"),
        ("Alt-Enter, Ctrl-J", "a new line in what you write"),
        ("j k, arrows", "down and up"),
        ("space b", "a page down, a page up"),
        ("g G", "the beginning, the end"),
        ("o, Tab", "unfold and fold outputs and reasoning"),
        ("a s", "accept, accept for the session: once read to the end, then type yes"),
        ("n w", "decline, decline with words of yours"),
        ("p", "pair with a host"),
        ("Esc", "back"),
        ("q, Ctrl-C", "leave"),
    ];
    let row = |name: &str, about: &str| {
        let mut line = Line::new(Role::Strong, &format!("{name:<18}"));
        line.spans.push(Span::new(Role::Plain, about));
        line.wrapped = " ".repeat(18);
        line
    };
    let commands = composer::COMMANDS.iter().map(|slash| row(&format!("{} {}", slash.name, slash.takes), slash.about));
    KEYS.iter().map(|(name, about)| row(name, about)).chain([Line::default()]).chain(commands).collect()
}

/// What is typed or asked, what was said, and what the keys do.
fn foot(state: &State, frame: &mut Frame<'_>, area: Rect) {
    let mut foot: Vec<Line> = Vec::new();
    if let Some((role, text)) = &state.said {
        foot.push(Line { spans: vec![Span { text: text.clone(), role: *role }], ..Line::default() });
    }
    match &state.page {
        Page::Approval(deciding) => foot.extend(step(&deciding.step, state.was_read())),
        Page::Question(answering) => {
            if let Some(ask) = answering.next() {
                let typed =
                    if ask.secret { "•".repeat(answering.typed.chars().count()) } else { answering.typed.clone() };
                foot.push(Line::new(Role::Person, &format!("{}{typed}▏", crate::terminal::question::prompt(ask))));
            }
        }
        Page::Inbox | Page::Thread if state.typing => {
            let names: Vec<_> = composer::completions(&state.typed).iter().map(|slash| slash.name).collect();
            foot.extend((!names.is_empty()).then(|| Line::new(Role::Dim, &names.join("  "))));
            let typed = lines(Role::Person, "› ", &format!("{}▏", state.typed));
            let skip = typed.len().saturating_sub(TYPED.min(area.height.into()));
            foot.extend(typed.into_iter().skip(skip));
        }
        Page::Thread => foot.push(Line::new(Role::Dim, "Enter write · o unfold · d decide · Esc back · ? keys")),
        Page::Inbox => foot.push(Line::new(Role::Dim, "Enter open · i new · d decide · p pair · ? keys · q leave")),
        Page::Pair(_) | Page::Help(_) => foot.push(Line::new(Role::Dim, "Esc back")),
    }
    let drawn = wrap(&foot, area.width.into(), state.palette);
    // The last is what is typed.
    let skip = drawn.len().saturating_sub(area.height.into());
    let above = usize::from(area.height).saturating_sub(drawn.len());
    let padded = (0..above).map(|_| Drawn::default()).chain(drawn.into_iter().skip(skip));
    frame.render_widget(Paragraph::new(padded.collect::<Vec<_>>()), area);
}

fn step(step: &Step, read: bool) -> Vec<Line> {
    match step {
        Step::Reading if read => {
            vec![Line::new(Role::Dim, "a accept · s for the session · n decline · w decline with words · Esc back")]
        }
        Step::Reading => vec![Line::new(
            Role::Dim,
            "space shows more, to the end before it can be accepted · n decline · w with words",
        )],
        Step::Accepting { typed, wanted, .. } => {
            vec![Line::new(Role::Warning, &format!("Type {wanted} and Enter to accept exactly this: {typed}▏"))]
        }
        Step::Declining => {
            vec![Line::new(Role::Warning, "n declines it and Codex goes on · x also ends the turn · Esc back")]
        }
        Step::Instructing { typed } => vec![Line::new(Role::Person, &format!("Instead, do: {typed}▏"))],
    }
}

fn put(frame: &mut Frame<'_>, lines: &[Line], palette: Palette, area: Rect) {
    frame.render_widget(Paragraph::new(wrap(lines, area.width.into(), palette)), area);
}

/// The same from a line on; gives which that was, as there is nothing to see below the end.
fn put_from(frame: &mut Frame<'_>, lines: &[Line], from: usize, palette: Palette, area: Rect) -> usize {
    let drawn = wrap(lines, area.width.into(), palette);
    let from = from.min(drawn.len().saturating_sub(area.height.into()));
    frame
        .render_widget(Paragraph::new(drawn.into_iter().skip(from).take(area.height.into()).collect::<Vec<_>>()), area);
    from
}

/// One line, cut where the screen ends.
fn one(frame: &mut Frame<'_>, line: &Line, palette: Palette, area: Rect) {
    let first = wrap(std::slice::from_ref(line), usize::from(u16::MAX), palette).into_iter().next();
    frame.render_widget(Paragraph::new(first.unwrap_or_default()), area);
}
