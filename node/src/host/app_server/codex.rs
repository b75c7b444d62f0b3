//! The `codex` program: where it is, which CODEX_HOME it uses, how it is started.

use std::env;
use std::ffi::{OsStr, OsString};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

use super::Options;
use super::command::{self, CommandError};
use super::version::Version;

/// Why there is no `codex` to start.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Missing {
    /// It isn't installed, or not where this process looks.
    #[error("there is no `codex` on PATH")]
    NotOnPath,
    /// The program that was named isn't there or can't be executed.
    #[error("{} is no program", .0.display())]
    NotAProgram(PathBuf),
}

/// An installed `codex`.
#[derive(Debug, Clone)]
pub struct Codex {
    program: PathBuf,
    home: Option<PathBuf>,
    environment: Vec<(String, String)>,
}

impl Codex {
    /// The one that was named, else the first on PATH.
    pub fn find(options: &Options) -> Result<Self, Missing> {
        let program = match &options.codex {
            Some(program) if is_program(program) => program.clone(),
            Some(program) => return Err(Missing::NotAProgram(program.clone())),
            None => on_path(env::var_os("PATH").as_deref()).ok_or(Missing::NotOnPath)?,
        };
        Ok(Self { program, home: options.codex_home.clone(), environment: options.environment.clone() })
    }

    /// The program's path.
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// What `codex --version` says.
    pub async fn version(&self) -> Result<Version, CommandError> {
        let said = command::run(self.command(["--version"]), ANSWERING).await?;
        Ok(Version::of_command_line(&said.stdout))
    }

    /// `codex` with these arguments. It gets no terminal.
    pub(super) fn command<I: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = I>) -> Command {
        let mut command = Command::new(&self.program);
        command.args(arguments).stdin(Stdio::null());
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.envs(self.home.iter().map(|home| ("CODEX_HOME", home)));
        command
    }
}

/// CODEX_HOME: the one that was named, else the one Codex itself would use. `None` if there is no home at all.
pub fn codex_home(named: Option<&Path>) -> Option<PathBuf> {
    named.map(Path::to_owned).or_else(|| usual_home(env::var_os("CODEX_HOME"), env::home_dir()))
}

fn usual_home(variable: Option<OsString>, user: Option<PathBuf>) -> Option<PathBuf> {
    let named = variable.filter(|home| !home.is_empty()).map(PathBuf::from);
    named.or_else(|| user.filter(|home| home.is_absolute()).map(|home| home.join(".codex")))
}

fn on_path(path: Option<&OsStr>) -> Option<PathBuf> {
    // Relative entries would mean another program in every folder.
    let folders = env::split_paths(path?).filter(|folder| folder.is_absolute());
    folders.map(|folder| folder.join("codex")).find(|program| is_program(program))
}

fn is_program(path: &Path) -> bool {
    path.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

/// `codex --version`; measured 0.1 s.
const ANSWERING: Duration = Duration::from_secs(15);

#[cfg(test)]
pub(super) mod tests {
    use std::fs;

    use super::*;

    /// A `codex` that is this shell script, with the folder as its CODEX_HOME.
    pub(in crate::host::app_server) fn scripted(folder: &Path, script: &str) -> Codex {
        let program = folder.join("codex");
        // Another process writes it: a file that this one has open for writing, as a child of a test beside this one
        // may inherit it, can't be executed.
        let write = "printf '#!/bin/sh\\n%s\\n' \"$1\" >\"$0\" && chmod 755 \"$0\"";
        let written = std::process::Command::new("sh").args(["-c", write]).arg(&program).arg(script).status();
        assert!(written.unwrap().success());
        Codex::find(&Options { codex_home: Some(folder.to_owned()), ..options(program) }).unwrap()
    }

    fn options(codex: PathBuf) -> Options {
        Options { codex: Some(codex), codex_home: None, runtime_dir: "/nonexistent".into(), environment: Vec::new() }
    }

    #[test]
    fn the_first_program_of_that_name_on_path_is_found() {
        let folders = tempfile::tempdir().unwrap();
        let [plain, relative, found] = ["plain", "relative", "found"].map(|name| folders.path().join(name));
        for folder in [&plain, &relative, &found] {
            fs::create_dir(folder).unwrap();
            fs::write(folder.join("codex"), "").unwrap();
        }
        assert_eq!(on_path(Some(plain.as_os_str())), None);
        fs::set_permissions(found.join("codex"), fs::Permissions::from_mode(0o755)).unwrap();
        let path = env::join_paths([Path::new("relative"), &plain, &found]).unwrap();
        assert_eq!(on_path(Some(&path)), Some(found.join("codex")));
        assert_eq!(on_path(None), None);
    }

    #[test]
    fn a_named_program_that_is_not_there_is_not_replaced_by_another() {
        let program = PathBuf::from("/nonexistent/codex");
        assert_eq!(Codex::find(&options(program.clone())).unwrap_err(), Missing::NotAProgram(program));
    }

    #[test]
    fn codex_home_is_where_codex_itself_would_look() {
        let usual = |variable: &str, user: &str| usual_home(Some(variable.into()), Some(user.into()));
        assert_eq!(usual("/srv/codex", "/home/ann"), Some("/srv/codex".into()));
        assert_eq!(usual("", "/home/ann"), Some("/home/ann/.codex".into()));
        assert_eq!((usual("", ""), usual_home(None, None)), (None, None));
    }

    #[tokio::test]
    async fn its_version_is_what_it_says() {
        let folder = tempfile::tempdir().unwrap();
        let codex = scripted(folder.path(), "echo codex-cli 0.169.0");
        assert_eq!(codex.version().await.unwrap().to_string(), "0.169.0");
    }

    #[tokio::test]
    async fn it_runs_with_the_home_it_was_given() {
        let folder = tempfile::tempdir().unwrap();
        let said = command::run(scripted(folder.path(), "echo $CODEX_HOME").command([""]), ANSWERING).await.unwrap();
        assert_eq!(Path::new(said.stdout.trim()), folder.path());
    }
}
