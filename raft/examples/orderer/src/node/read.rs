//! Streams blocks and headers out of the ledger, a few at a time on a thread where reads may block.

use std::pin::Pin;

use futures::Stream;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use crate::ledger::{LedgerError, Reader};

/// Blocks that are read at once, and wait for a slow reader, at most: they may have 1.5 MiB each.
pub const BLOCKS_MAX: u64 = 8;
/// The same of headers, which are small.
pub const HEADERS_MAX: u64 = 1024;

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
    batch_max: u64,
    read: fn(&Reader, u64) -> Result<T, LedgerError>,
) -> Items<T> {
    let (out, items) = mpsc::channel(1);
    tokio::spawn(async move {
        let mut next = from;
        while through.is_none_or(|through| next <= through) {
            let grown = tokio::select! {
                grown = height.wait_for(|height| *height > next) => grown.map(|height| *height),
                () = out.closed() => return,
            };
            // The orderer ends.
            let Ok(height) = grown else { return };
            let last = through.unwrap_or(u64::MAX).min(height - 1).min(next + batch_max - 1);
            let reader = reader.clone();
            // Nobody waits for a slow client on such a thread: the ledger's writes need them.
            let reading = tokio::task::spawn_blocking(move || {
                let mut items = Vec::new();
                for number in next..=last {
                    items.push(read(&reader, number).map_err(status));
                    if items.last().is_some_and(Result::is_err) {
                        break;
                    }
                }
                items
            });
            for item in reading.await.unwrap_or_default() {
                let failed = item.is_err();
                if out.send(item).await.is_err() || failed {
                    return;
                }
            }
            next = last + 1;
        }
    });
    Box::pin(ReceiverStream::new(items))
}
