//! What tests said, found in the output of a command: of cargo, pytest, `go test`, and Jest or Vitest.
//!
//! A guess from words that the model can make a program print. It is shown beside the exit code and the output, and
//! never decides anything.

use super::sanitize::Sanitized;

/// Failures that are named; the rest is a number.
const NAMED: usize = 32;

/// Lines that are looked at: the last, as results stand at the end.
const LINES: usize = 4_000;

/// What tests said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tests {
    /// Tests that passed.
    pub passed: u64,
    /// Tests that failed.
    pub failed: u64,
    /// Tests that weren't run.
    pub skipped: u64,
    /// The names of those that failed, as far as they are said.
    pub failures: Vec<Sanitized>,
}

impl Tests {
    /// What an output says of tests; `None` if it says nothing.
    pub fn read(output: &str) -> Option<Self> {
        let mut tests = Self::default();
        let mut found = false;
        let skip = output.lines().count().saturating_sub(LINES);
        for line in output.lines().skip(skip).map(str::trim) {
            found |= tests.count(line);
            if let Some(name) = failure(line) {
                tests.name(name);
            }
        }
        // Go counts nothing: its failures are those that are named.
        tests.failed = tests.failed.max(tests.failures.len() as u64);
        (found || !tests.failures.is_empty()).then_some(tests)
    }

    /// `3 failed, 12 passed, 1 skipped`, failures first.
    pub fn words(&self) -> String {
        let counts = [(self.failed, "failed"), (self.passed, "passed"), (self.skipped, "skipped")];
        let said = counts.into_iter().filter(|(count, _)| *count > 0).map(|(count, word)| format!("{count} {word}"));
        let said: Vec<_> = said.collect();
        if said.is_empty() { "no tests".into() } else { said.join(", ") }
    }

    /// Takes a line that sums up; whether it is one.
    fn count(&mut self, line: &str) -> bool {
        let Some(summary) = summary(line) else { return false };
        let words: Vec<&str> = summary.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).collect();
        let mut found = false;
        for pair in words.windows(2) {
            let Ok(count) = pair[0].parse::<u64>() else { continue };
            let sum = match pair[1] {
                "passed" => &mut self.passed,
                "failed" | "errors" | "error" => &mut self.failed,
                "skipped" | "ignored" | "todo" => &mut self.skipped,
                _ => continue,
            };
            *sum = sum.saturating_add(count);
            found = true;
        }
        found
    }

    fn name(&mut self, name: &str) {
        let name = Sanitized::line_within(name, 200);
        if self.failures.len() < NAMED && !self.failures.contains(&name) {
            self.failures.push(name);
        }
    }
}

/// The part of a line that sums up tests.
fn summary(line: &str) -> Option<&str> {
    let cargo = line.strip_prefix("test result:");
    // `=== 1 failed, 5 passed in 0.12s ===`
    let pytest = || Some(line.strip_prefix('=')?.trim_matches('=').trim()).filter(|rest| rest.contains(" in "));
    let jest = || line.strip_prefix("Tests:").or_else(|| line.strip_prefix("Tests  "));
    cargo.or_else(pytest).or_else(jest)
}

/// The name of a test that a line says has failed.
fn failure(line: &str) -> Option<&str> {
    let cargo = || line.strip_prefix("test ")?.strip_suffix(" ... FAILED");
    let go = || line.strip_prefix("--- FAIL: ")?.split(' ').next();
    let pytest = || line.strip_prefix("FAILED ")?.split(" - ").next();
    let jest = || line.strip_prefix("● ").filter(|name| name.contains(" › "));
    cargo().or_else(go).or_else(pytest).or_else(jest).filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(output: &str) -> (u64, u64, u64, Vec<String>) {
        let Tests { passed, failed, skipped, failures } = Tests::read(output).expect("tests");
        (failed, passed, skipped, failures.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn results_of_cargo_are_summed_over_its_programs() {
        let output = "test a::one ... ok\ntest a::two ... FAILED\n\ntest result: FAILED. 1 passed; 1 failed; 2 ignored; 0 measured; 0 filtered out; finished in 0.00s\n\
            test result: ok. 4 passed; 0 failed; 0 ignored; 0 measured; 3 filtered out; finished in 0.10s\n";
        assert_eq!(read(output), (1, 5, 2, vec!["a::two".into()]));
        assert_eq!(Tests::read(output).expect("tests").words(), "1 failed, 5 passed, 2 skipped");
    }

    #[test]
    fn results_of_other_runners_are_known() {
        let pytest =
            "FAILED tests/test_a.py::test_x - assert 1 == 2\n==== 1 failed, 5 passed, 1 skipped in 0.12s ====\n";
        assert_eq!(read(pytest), (1, 5, 1, vec!["tests/test_a.py::test_x".into()]));
        assert_eq!(read("--- FAIL: TestCart (0.00s)\nFAIL\n"), (1, 0, 0, vec!["TestCart".into()]));
        let jest = "  ● cart › adds\nTests:       1 failed, 2 passed, 3 total\n";
        assert_eq!(read(jest), (1, 2, 0, vec!["cart › adds".into()]));
    }

    #[test]
    fn other_output_says_nothing_of_tests() {
        for output in ["", "hello\n", "5 passed\n", "Compiling a v0.1.0\n==== done ====\n"] {
            assert_eq!(Tests::read(output), None, "{output}");
        }
    }

    proptest! {
        #[test]
        fn any_output_is_taken(output in "(test result: |FAILED |=+ |[0-9]{1,20}| passed| failed|;|\n|\u{1b}){0,40}") {
            let _ = Tests::read(&output).map(|tests| tests.words());
        }
    }
}
