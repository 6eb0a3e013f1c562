//! Streams blocks and headers out of the ledger, a few at a time on a thread where reads may block.

use std::pin::Pin;

use futures::Stream;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use crate::ledger::{LedgerError, Reader};

/// Read at once at most.
const BATCH_MAX: u64 = 32;
/// Waits for a slow reader at most: as many blocks of up to 1.5 MiB.
const WAITING_MAX: usize = 4;

/// Blocks or headers.
pub type Items<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

fn status(error: LedgerError) -> Status {
    match error {
        LedgerError::Missing { .. } => Status::out_of_range(error.to_string()),
        _ => Status::data_loss(error.to_string()),
    }
}

/// What `read` gives for each block from a height on, through a last one or for ever: then it waits for the ledger to grow. The stream
/// ends with an error when the ledger cannot be read.
pub fn stream<T: Send + 'static>(
    reader: Reader,
    mut height: watch::Receiver<u64>,
    from: u64,
    through: Option<u64>,
    read: fn(&Reader, u64) -> Result<T, LedgerError>,
) -> Items<T> {
    let (out, items) = mpsc::channel(WAITING_MAX);
    tokio::spawn(async move {
        let mut next = from;
        while through.is_none_or(|through| next <= through) {
            let grown = tokio::select! {
                grown = height.wait_for(|height| *height > next) => grown.map(|height| *height),
                () = out.closed() => return,
            };
            // The orderer ends.
            let Ok(height) = grown else { return };
            let last = through.unwrap_or(u64::MAX).min(height - 1).min(next + BATCH_MAX - 1);
            let (reader, sender) = (reader.clone(), out.clone());
            let reading = tokio::task::spawn_blocking(move || {
                for number in next..=last {
                    let item = read(&reader, number).map_err(status);
                    let failed = item.is_err();
                    if sender.blocking_send(item).is_err() || failed {
                        return false;
                    }
                }
                true
            });
            if !reading.await.unwrap_or(false) {
                return;
            }
            next = last + 1;
        }
    });
    Box::pin(ReceiverStream::new(items))
}
