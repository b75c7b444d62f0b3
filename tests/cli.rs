//! The program as a script or a person runs it: arguments in; output, exit code and files out.

use std::os::unix::process::CommandExt;
use std::process::{Command, Output, Stdio};

/// A run of the program with nothing from this environment: no HOME, no colours, no terminal.
fn farhelm(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_farhelm"));
    command.args(arguments).env_clear().stdin(Stdio::null());
    command.process_group(0);
    command
}

fn run(arguments: &[&str]) -> Output {
    farhelm(arguments).output().expect("the program starts")
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("output is text")
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("output is text")
}

#[test]
fn a_wrong_command_line_exits_2() {
    for arguments in [&[][..], &["fly"], &["man", "--out"], &["completions", "cobol"]] {
        assert_eq!(run(arguments).status.code(), Some(2), "{arguments:?}");
    }
}

#[test]
fn the_long_help_names_the_exit_codes_and_works_without_home() {
    let help = run(&["--help"]);
    assert_eq!(help.status.code(), Some(0));
    assert!(stdout(&help).contains("Exit codes:") && stdout(&help).contains("130  interrupted"));
}

#[test]
fn help_in_a_dumb_terminal_has_no_escape_sequences() {
    let help = farhelm(&["--help"]).env("TERM", "dumb").output().expect("the program starts");
    assert!(!stdout(&help).contains('\x1b'));
}

#[test]
fn completions_are_printed_for_every_shell() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = run(&["completions", shell]);
        assert_eq!(script.status.code(), Some(0), "{shell}");
        assert!(stdout(&script).contains("state-dir"), "{shell}");
    }
}

#[test]
fn bash_accepts_its_completions() {
    let script = stdout(&run(&["completions", "bash"]));
    let checked = Command::new("bash").args(["-n", "-c", &script]).status().expect("bash is there");
    assert!(checked.success());
}

#[test]
fn the_manual_has_the_exit_codes() {
    let page = run(&["man"]);
    assert_eq!(page.status.code(), Some(0));
    let page = stdout(&page);
    for section in [".TH farhelm 1", ".SH ENVIRONMENT\n", ".SH \"EXIT STATUS\"\n    0  done"] {
        assert!(page.contains(section), "{section} is missing in {page}");
    }
    assert!(!page.contains("EXTRA"));
}

#[test]
fn a_manual_page_is_written_for_every_command() {
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().join("man1");
    let written = run(&["man", "--out", out.to_str().expect("a path")]);
    assert_eq!(written.status.code(), Some(0), "{}", stderr(&written));
    for page in ["farhelm.1", "farhelm-completions.1", "farhelm-man.1"] {
        let text = std::fs::read_to_string(out.join(page)).expect("the page is there");
        assert!(!text.contains("EXTRA"), "{text}");
    }
}

#[test]
fn a_failure_names_the_next_step_and_is_json_when_asked() {
    let arguments = ["man", "--out", "/proc/nowhere"];
    let failed = run(&arguments);
    assert_eq!(failed.status.code(), Some(1));
    let said = stderr(&failed);
    assert!(said.starts_with("error: can't write") && said.contains("\n  → choose another directory"), "{said}");

    let failed = run(&[&arguments[..], &["--json"]].concat());
    assert_eq!(failed.status.code(), Some(1));
    let json: serde_json::Value = serde_json::from_slice(&failed.stdout).expect("one JSON object");
    assert_eq!(json["error"]["code"], 1);
    assert_eq!(json["error"]["name"], "failed");
}

#[test]
fn output_that_cannot_be_written_is_a_failure() {
    let full = std::fs::File::options().write(true).open("/dev/full").expect("Linux has it");
    let failed = farhelm(&["man"]).stdout(full).output().expect("the program starts");
    assert_eq!(failed.status.code(), Some(1));
    assert!(stderr(&failed).starts_with("error: can't write to standard output"), "{}", stderr(&failed));
}

#[test]
fn a_reader_that_has_left_is_not_worth_a_word() {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let failed = farhelm(&["man"]).stdout(writer).output().expect("the program starts");
    assert_eq!((failed.status.code(), stderr(&failed)), (Some(1), String::new()));
}
