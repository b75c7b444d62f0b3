//! The threads on which everything runs, and the wall at which panics end.
//!
//! # Why not the caller's
//! An app's event loop polls our futures on threads that tokio doesn't know. So the work is spawned here, and the app
//! awaits only its result. When the app drops that (a coroutine is cancelled), the work is cancelled with it.

use std::sync::Arc;

use tokio::runtime::Builder;
use tokio::task::{AbortHandle, JoinHandle};

/// Enough for a network that mostly waits.
const WORKERS: usize = 2;

/// The work panicked, or its runtime is gone. The app gets an error; nothing unwinds into it.
#[derive(Debug)]
pub(crate) struct Broken;

/// Cheap to clone; the threads end with the last clone.
#[derive(Clone)]
pub(crate) struct Runtime(Arc<Inner>);

struct Inner(Option<tokio::runtime::Runtime>);

impl Drop for Inner {
    /// Without waiting: the last clone may go on one of the runtime's own threads, where waiting is not allowed.
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

impl Runtime {
    pub(crate) fn new() -> std::io::Result<Self> {
        let mut builder = Builder::new_multi_thread();
        let runtime = builder.worker_threads(WORKERS).thread_name("farhelm").enable_all().build()?;
        Ok(Self(Arc::new(Inner(Some(runtime)))))
    }

    /// Runs it here and gives its result to whoever polls; dropped, it is cancelled.
    pub(crate) async fn run<T, E>(&self, work: impl Future<Output = Result<T, E>> + Send + 'static) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<Broken> + Send + 'static,
    {
        let mut task = self.spawn(work).ok_or(Broken)?;
        let _cancel = CancelOnDrop(task.abort_handle());
        (&mut task).await.unwrap_or_else(|_| Err(Broken.into()))
    }

    pub(crate) fn spawn<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Option<JoinHandle<T>> {
        Some(self.0.0.as_ref()?.spawn(work))
    }
}

/// Ends a task with itself.
pub(crate) struct CancelOnDrop(pub(crate) AbortHandle);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;

    impl From<Broken> for &'static str {
        fn from(_: Broken) -> Self {
            "broken"
        }
    }

    /// Polls on a thread without a runtime, as an app does.
    fn wait<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
    }

    #[test]
    fn a_panic_becomes_an_error_and_the_next_call_works() {
        let runtime = Runtime::new().unwrap();
        let bad = async { if true { panic!("on purpose") } else { Ok::<(), _>(()) } };
        assert_eq!(wait(runtime.run(bad)), Err::<(), _>("broken"));
        assert_eq!(wait(runtime.run(async { Ok::<_, &str>(7) })), Ok(7));
    }

    #[test]
    fn a_dropped_call_is_cancelled() {
        struct Tells(mpsc::Sender<()>);
        impl Drop for Tells {
            fn drop(&mut self) {
                let _ = self.0.send(());
            }
        }
        let (ended, heard) = mpsc::channel();
        let runtime = Runtime::new().unwrap();
        let tells = Tells(ended);
        let endless = async move {
            let _tells = tells;
            std::future::pending::<Result<(), &str>>().await
        };
        wait(async {
            let mut call = std::pin::pin!(runtime.run(endless));
            assert!(still_pending(call.as_mut()).await);
        });
        heard.recv_timeout(Duration::from_secs(60)).expect("the work is cancelled");
    }

    /// Polls once; whether it is still pending.
    async fn still_pending(mut future: std::pin::Pin<&mut impl Future>) -> bool {
        std::future::poll_fn(|cx| std::task::Poll::Ready(future.as_mut().poll(cx).is_pending())).await
    }

    #[test]
    fn the_last_clone_may_go_on_its_own_thread() {
        let runtime = Runtime::new().unwrap();
        let (ended, heard) = mpsc::channel();
        let clone = runtime.clone();
        let task = runtime.spawn(async move {
            tokio::time::sleep(Duration::from_millis(20)).await;
            drop(clone);
            ended.send(()).expect("the test waits");
        });
        drop((runtime, task));
        heard.recv_timeout(Duration::from_secs(60)).expect("no panic");
    }
}
