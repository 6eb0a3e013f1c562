//! What the orchestrator does to tasks, as values: deciding gives them, and the transaction that it decided in makes them.

use skep_proto::{
    ids::TaskId,
    swarmkit::{Task, TaskState},
};
use skep_store::{StoreError, Tx};

use crate::allocator::{self, Book};

/// A change of one task.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Change {
    /// A new task.
    Create(Box<Task>),
    /// The task is to be in this state.
    Desire(TaskId, TaskState),
    /// The task is not needed any more.
    Delete(TaskId),
}

/// Makes the changes. They were decided on these very tables, so none can be refused but for a broken object.
pub(super) fn make(tx: &mut Tx, book: &Book, changes: Vec<Change>) -> Result<(), StoreError> {
    for change in changes {
        match change {
            Change::Create(task) => {
                // Most tasks lack nothing, and need not be new first.
                allocator::create(tx, book, *task)?;
            }
            Change::Desire(id, state) => {
                drop(tx.modify::<Task>(&id, |task| task.desired_state = state.into())?);
            }
            Change::Delete(id) => drop(tx.remove::<Task>(&id)?),
        }
    }
    Ok(())
}
