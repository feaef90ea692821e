//! Counting tokens where no channel of the model can: by the vocabulary, off the threads that serve, or by an estimate.

use std::sync::{Arc, LazyLock};

use ai_api_converter::count::{estimate, exact, has_vocabulary};
use ai_api_converter::{Error, Format};

use bytes::Bytes;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

/// Prompts counted by the vocabulary at the same time; more are estimated, so that a flood of them takes no processor from others.
const AT_ONCE: usize = 2;

static PLACES: LazyLock<Arc<Semaphore>> = LazyLock::new(|| Arc::new(Semaphore::new(AT_ONCE)));

/// The answer to a counting request of a client's format. `model` is the upstream's name of the model, `factor` what it has been found
/// to count for each estimated token.
pub(crate) async fn counted(
    body: &Bytes,
    format: Format,
    model: &str,
    factor: f64,
) -> Result<Vec<u8>, Error> {
    match by_vocabulary(body, format, model).await {
        Some(answer) => Ok(answer),
        None => estimate(body, format, factor),
    }
}

/// `None`: it is to be estimated.
async fn by_vocabulary(body: &Bytes, format: Format, model: &str) -> Option<Vec<u8>> {
    if !has_vocabulary(model) {
        return None;
    }
    let place = Arc::clone(&PLACES).try_acquire_owned().ok()?;
    let (body, model) = (body.clone(), model.to_owned());
    let task = spawn_blocking(move || {
        let answer = exact(&body, format, &model);
        drop(place);
        answer
    });
    // What it says of a broken request, the estimate says too.
    task.await.ok()?.ok()?
}
