//! A guest's context, and how it computes.

use crate::backend::{ExecutionContext, Steps};
use crate::{Error, ErrorCode};

/// A context in the table of a store. It is away while it computes on another thread.
pub(crate) struct Held {
    context: Option<Box<dyn ExecutionContext>>,
}

impl Held {
    pub(crate) fn new(context: Box<dyn ExecutionContext>) -> Self {
        Self {
            context: Some(context),
        }
    }

    pub(crate) fn get(&self) -> Result<&dyn ExecutionContext, Error> {
        self.context.as_deref().ok_or_else(away)
    }

    pub(crate) fn get_mut(&mut self) -> Result<&mut (dyn ExecutionContext + 'static), Error> {
        self.context.as_deref_mut().ok_or_else(away)
    }

    /// Has the context compute while other guests run on this thread.
    pub(crate) async fn compute(&mut self, steps: Steps) -> Result<(), Error> {
        let done = match self.get_mut()?.compute_async(steps) {
            Some(computing) => Some(computing.await),
            None => None,
        };
        match done {
            Some(result) => result,
            None => {
                self.elsewhere(move |context| match steps {
                    Steps::All => context.compute(),
                    Steps::One => context.compute_step(),
                })
                .await
            }
        }
    }

    /// Calls `function` with the context on a thread where it may block.
    pub(crate) async fn elsewhere<V: Send + 'static>(
        &mut self,
        function: impl FnOnce(&mut dyn ExecutionContext) -> Result<V, Error> + Send + 'static,
    ) -> Result<V, Error> {
        let mut context = self.context.take().ok_or_else(away)?;
        let (context, result) = blocking(move || {
            let result = function(context.as_mut());
            Ok((context, result))
        })
        .await?;
        self.context = Some(context);
        result
    }
}

/// Calls `function` on a thread where it may block; on this one, if it runs without Tokio.
pub(crate) async fn blocking<V: Send + 'static>(
    function: impl FnOnce() -> Result<V, Error> + Send + 'static,
) -> Result<V, Error> {
    if tokio::runtime::Handle::try_current().is_err() {
        return function();
    }
    tokio::task::spawn_blocking(function)
        .await
        .unwrap_or_else(|error| {
            Err(Error::new(
                ErrorCode::RuntimeError,
                format!("the backend has failed in an unexpected way: {error}"),
            ))
        })
}

fn away() -> Error {
    Error::new(
        ErrorCode::RuntimeError,
        "the context is computing, or was lost when its backend failed: make a new one",
    )
}
