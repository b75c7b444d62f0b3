//! A phone's request on its way to Codex, and the answer on its way back.
//!
//! ```text
//!  method, params ─► right ─► rebuilt ─► folder of its thread ─► Codex
//!  phone ◄─ filtered ◄─ rows of its folders ◄─ still allowed? ◄── Codex
//! ```
//! Whether a thread is elsewhere or doesn't exist makes no difference to the answer, so ids can't be probed.

use std::collections::BTreeMap;

use farhelm_core::identity::NodeId;
use farhelm_core::policy::{self, Entitlement, Forward, Method, Subject, Verdict};
use farhelm_core::wire::envelope::{CloseReason, FailedBy, Failure};
use farhelm_core::wire::limits;
use serde_json::{Value, json};
use tokio::sync::oneshot;

use super::actor::{Command, Learned, open};
use super::{Bridge, Stopped};
use crate::host::app_server::{Epoch, RequestError};
use crate::host::devices::now_ms;
use crate::host::folders;

impl Bridge {
    /// A device's request: held against its right and its folders, sent to Codex with rebuilt parameters, its result
    /// filtered. All of it by what the device may do at that moment.
    pub async fn request(&self, device: NodeId, method: &str, params: &[u8]) -> Result<Vec<u8>, Failure> {
        let forward = self.prepare(device, method, params).await?;
        let epoch = self.epoch();
        let result = self.forward(&forward).await.map_err(|error| failed(&error))??;
        self.finish(device, forward.method, epoch, result).await
    }

    /// What a request becomes on its way to Codex.
    pub(in crate::host) async fn prepare(
        &self,
        device: NodeId,
        method: &str,
        params: &[u8],
    ) -> Result<Forward, Failure> {
        let params: Value = match params {
            [] => Value::Null,
            text => serde_json::from_slice(text).map_err(|_| refused("the parameters are no JSON"))?,
        };
        let entitlement = self.entitlement(device)?;
        if policy::table::find(method).is_some_and(|known| starts(known) && entitlement.right >= known.right) {
            self.access.look_again().await;
        }
        let defaults = self.access.defaults(&entitlement);
        let mut forward = policy::request(method, &params, entitlement.right, &defaults)
            .map_err(|refusal| refused(&refusal.to_string()))?;
        self.locate(&entitlement, &mut forward).await?;
        self.hold_to_floor(&forward).await?;
        Ok(forward)
    }

    /// Asks Codex, or the host where the method is its own.
    pub(super) async fn forward(&self, forward: &Forward) -> Result<Result<Value, Failure>, RequestError> {
        let (method, params) = (forward.method, forward.params.clone());
        Ok(match method.verdict {
            Verdict::Own => self.own(method, &params).await,
            _ if method.name == "thread/resume" => Ok(open(&self.app_server, params).await?),
            _ => Ok(self.app_server.request(method.name, params).await?),
        })
    }

    /// What of Codex's answer goes to the device.
    pub(super) async fn finish(
        &self,
        device: NodeId,
        method: &Method,
        epoch: Option<Epoch>,
        result: Value,
    ) -> Result<Vec<u8>, Failure> {
        self.read_back(method, &result).await?;
        if let (Some(epoch), "thread/start" | "thread/resume") = (epoch, method.name) {
            let learned = Learned::Subscribed(result.clone());
            let _ = self.command(Command::Learned { epoch, learned }).await;
        }
        // Codex may have taken its time: what the device may see is what it may see now.
        let entitlement = self.entitlement(device)?;
        if entitlement.right < method.right {
            return Err(refused("this phone's right was lowered meanwhile; ask the host's owner"));
        }
        answer(method.name, &self.keep_covered(&entitlement, method, result).await?)
    }

    /// What the host answers itself.
    async fn own(&self, method: &Method, params: &Value) -> Result<Value, Failure> {
        match method.name {
            "farhelm/image/read" => self.images.read(&self.app_server, params).await,
            other => Err(refused(&format!("this host can't do {other}; update farhelm on it"))),
        }
    }

    pub(in crate::host) fn entitlement(&self, device: NodeId) -> Result<Entitlement, Failure> {
        self.access.entitlement(device, now_ms()).map_err(|reason| {
            refused(match reason {
                CloseReason::Expired => "this phone's time on the host is over; have it prolonged at the desk",
                CloseReason::Frozen => "the host is frozen; thaw it at the desk with `farhelm thaw`",
                CloseReason::SwitchedOff => "the host's owner has switched remote connections off",
                _ => "this phone is not paired any more; pair it again at the desk",
            })
        })
    }

    /// Holds what a request is about against the device's folders. The folder of a new thread becomes the real one, so
    /// that a link that is turned meanwhile leads nowhere else.
    async fn locate(&self, entitlement: &Entitlement, forward: &mut Forward) -> Result<(), Failure> {
        match forward.method.subject {
            Subject::Host | Subject::Threads(_) | Subject::ThreadIds(_) => Ok(()),
            Subject::Thread(_) => {
                let thread = forward.thread().ok_or_else(not_here)?.to_owned();
                let place = self.places(vec![thread]).await?.pop().flatten();
                covered(entitlement, place.as_deref())
            }
            Subject::Folder(field) => {
                let may_start = self.access.start_folders(entitlement);
                let place = match forward.folder() {
                    Some(folder) => real(vec![folder.to_owned()]).await.pop().flatten(),
                    None => None,
                };
                match place.filter(|place| may_start.contains(place)) {
                    Some(place) => forward.params[field] = place.into(),
                    None => return Err(no_start(&may_start)),
                }
                Ok(())
            }
        }
    }

    /// The real folders of threads; `None` for one that Codex doesn't know. Those that the bridge follows are known
    /// here; for others Codex is asked each time, as a thread may have moved while nobody here listened.
    async fn places(&self, threads: Vec<String>) -> Result<Vec<Option<String>>, Failure> {
        let (reply, followed) = oneshot::channel();
        let command = Command::Folders { threads: threads.clone(), reply };
        self.command(command).await.map_err(|Stopped| refused("the host stops"))?;
        let followed = followed.await.map_err(|_| refused("the host stops"))?;
        let mut folders = Vec::with_capacity(threads.len());
        for (thread, followed) in threads.iter().zip(followed) {
            folders.push(match followed {
                Some(folder) => folder,
                None => self.read_folder(thread).await?.unwrap_or_default(),
            });
        }
        Ok(real(folders).await)
    }

    /// The folder that Codex says a thread works in.
    async fn read_folder(&self, thread: &str) -> Result<Option<String>, Failure> {
        match self.app_server.request("thread/read", json!({ "threadId": thread, "includeTurns": false })).await {
            Ok(result) => Ok(folder_of(&result).map(ToOwned::to_owned)),
            Err(RequestError::Codex(_) | RequestError::NoRollout | RequestError::HeldElsewhere) => Ok(None),
            Err(error) => Err(failed(&error)),
        }
    }

    /// What of a result is of threads in the device's folders.
    async fn keep_covered(
        &self,
        entitlement: &Entitlement,
        method: &Method,
        mut result: Value,
    ) -> Result<Value, Failure> {
        match method.subject {
            Subject::Host => {}
            Subject::Thread(_) | Subject::Folder(_) => {
                // Both the thread's own folder and the effective one, where the answer holds them.
                let of_thread = result.get("thread").map(|thread| text(thread, "cwd").unwrap_or_default());
                let effective = result.get("thread").and_then(|_| text(&result, "cwd"));
                let folders = of_thread.into_iter().chain(effective).map(ToOwned::to_owned).collect();
                for place in real(folders).await {
                    covered(entitlement, place.as_deref())?;
                }
            }
            Subject::Threads(list) => {
                let Some(rows) = result.get_mut(list).and_then(Value::as_array_mut) else { return Ok(Value::Null) };
                let folders = rows.iter().map(|row| folder_of(row).unwrap_or_default().to_owned()).collect();
                keep(rows, &real(folders).await, entitlement);
            }
            Subject::ThreadIds(list) => {
                let Some(rows) = result.get_mut(list).and_then(Value::as_array_mut) else { return Ok(Value::Null) };
                let ids = rows.iter().map(|row| row.as_str().unwrap_or_default().to_owned()).collect();
                keep(rows, &self.places(ids).await?, entitlement);
            }
        }
        Ok(result)
    }
}

/// Whether a method starts a thread in a folder.
const fn starts(method: &Method) -> bool {
    matches!(method.subject, Subject::Folder(_))
}

/// Keeps the rows that lie in the device's folders.
fn keep(rows: &mut Vec<Value>, places: &[Option<String>], entitlement: &Entitlement) {
    let mut places = places.iter();
    rows.retain(|_| places.next().and_then(Option::as_deref).is_some_and(|place| entitlement.covers(place)));
}

/// The folder of a row, or of the thread that it holds.
fn folder_of(row: &Value) -> Option<&str> {
    text(row, "cwd").or_else(|| text(row.get("thread")?, "cwd"))
}

fn text<'a>(of: &'a Value, field: &str) -> Option<&'a str> {
    of.get(field)?.as_str()
}

/// Where folders really are, their links followed. On a thread that may block, as a file system may.
async fn real(folders: Vec<String>) -> Vec<Option<String>> {
    let nowhere = vec![None; folders.len()];
    let look = move || {
        let mut seen = BTreeMap::new();
        let mut at = |folder: &String| seen.entry(folder.clone()).or_insert_with(|| folders::canonical(folder)).clone();
        folders.iter().map(&mut at).collect()
    };
    tokio::task::spawn_blocking(look).await.unwrap_or(nowhere)
}

fn covered(entitlement: &Entitlement, place: Option<&str>) -> Result<(), Failure> {
    if place.is_some_and(|place| entitlement.covers(place)) { Ok(()) } else { Err(not_here()) }
}

/// The one answer for what is elsewhere and for what isn't at all.
fn not_here() -> Failure {
    refused("there is no such thread here for this phone; look at its list of threads")
}

fn no_start(may_start: &[String]) -> Failure {
    refused(&match may_start {
        [] => "there is no folder in which this phone may start a thread; have one opened at the desk".to_owned(),
        folders => format!("this phone may not start a thread there; it may in {}", folders.join(", ")),
    })
}

/// What of a result goes to the phone. One that fits no envelope would end the session, again after every resume.
pub(in crate::host) fn answer(method: &str, result: &Value) -> Result<Vec<u8>, Failure> {
    let text = policy::result(method, result).to_string().into_bytes();
    if text.len() > limits::CODEX_JSON {
        let size = text.len() >> 20;
        return Err(refused(&format!("the answer has {size} MiB, more than a phone takes; ask for less at once")));
    }
    Ok(text)
}

pub(in crate::host) fn refused(message: &str) -> Failure {
    Failure { by: FailedBy::Policy, message: message.to_owned() }
}

pub(super) fn failed(error: &RequestError) -> Failure {
    let by = match error {
        RequestError::Away => FailedBy::CodexAway,
        RequestError::Busy => FailedBy::Busy,
        RequestError::TooLarge(_) => FailedBy::Policy,
        error if error.outcome_is_unknown() => FailedBy::OutcomeUnknown,
        _ => FailedBy::Codex,
    };
    Failure { by, message: error.to_string() }
}
