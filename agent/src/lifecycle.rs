//! The life of a task on its node: which step comes next, and what its failure means. Pure; what a step does and how long
//! it takes is the executor's.
//!
//! ```text
//! ASSIGNED → ACCEPTED → PREPARING → READY → STARTING → RUNNING → COMPLETE
//!                                     │ waits here until RUNNING is wanted
//! ```
//!
//! A failure before STARTING is REJECTED, later it is FAILED. What is to be shut down becomes SHUTDOWN from any state
//! that has not ended. No state is ever left for an earlier one.

use skep_proto::swarmkit::TaskState;

/// Where a task stands and where it is to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifecycle {
    state: TaskState,
    desired: TaskState,
}

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Only the state changes: to this one.
    Enter(TaskState),
    /// Something is to be done, and then said to [`Lifecycle::done`] or [`Lifecycle::failed`].
    Work(Work),
    /// Nothing until more is wanted of the task.
    Wait,
    /// Nothing ever again.
    Ended,
}

/// What an executor does with a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// Gets all that the task needs.
    Prepare,
    /// Starts it.
    Start,
    /// Waits until it ends by itself.
    Run,
    /// Stops it, if it was started.
    Stop,
}

impl Lifecycle {
    /// A task that managers see in `state` and want in `desired`.
    pub fn new(state: TaskState, desired: TaskState) -> Lifecycle {
        Lifecycle { state: state.max(TaskState::Assigned), desired }
    }

    /// Where it stands.
    pub fn state(&self) -> TaskState {
        self.state
    }

    /// Where it is to go.
    pub fn desired(&self) -> TaskState {
        self.desired
    }

    /// Whether it has ended.
    pub fn ended(&self) -> bool {
        self.state > TaskState::Running
    }

    /// Takes note of what is wanted; what was wanted once is never taken back.
    pub fn desire(&mut self, desired: TaskState) {
        self.desired = self.desired.max(desired);
    }

    /// What comes next.
    pub fn step(&self) -> Step {
        use TaskState::*;
        if self.ended() {
            return Step::Ended;
        }
        if self.desired >= Shutdown {
            return Step::Work(Work::Stop);
        }
        match self.state {
            // What has begun goes on to the next rest, also beyond what is wanted.
            Preparing => Step::Work(Work::Prepare),
            Starting => Step::Work(Work::Start),
            Running => Step::Work(Work::Run),
            _ if self.state >= self.desired => Step::Wait,
            Accepted => Step::Enter(Preparing),
            Ready => Step::Enter(Starting),
            _ => Step::Enter(Accepted),
        }
    }

    /// Enters the state that [`Lifecycle::step`] named.
    pub fn enter(&mut self, state: TaskState) {
        debug_assert!(state > self.state, "{:?} comes after {state:?}", self.state);
        self.state = self.state.max(state);
    }

    /// A work was done: gives the state that follows from it.
    pub fn done(&mut self, work: Work) -> TaskState {
        self.enter(match work {
            Work::Prepare => TaskState::Ready,
            Work::Start => TaskState::Running,
            Work::Run => TaskState::Complete,
            Work::Stop => TaskState::Shutdown,
        });
        self.state
    }

    /// The task cannot go on: gives the state that follows from it.
    pub fn failed(&mut self) -> TaskState {
        let started = self.state >= TaskState::Starting;
        self.enter(if started { TaskState::Failed } else { TaskState::Rejected });
        self.state
    }
}

/// The text that goes with a state when nothing else is to be said, in the words of stock nodes.
pub fn message(state: TaskState) -> &'static str {
    match state {
        TaskState::Accepted => "accepted",
        TaskState::Preparing => "preparing",
        TaskState::Ready => "prepared",
        TaskState::Starting => "starting",
        TaskState::Running => "started",
        TaskState::Complete => "finished",
        TaskState::Shutdown => "shutdown",
        TaskState::Failed => "failed",
        TaskState::Rejected => "rejected",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_has_its_next_step() {
        use Step::{Ended, Enter, Wait};
        use TaskState::*;
        let work = Step::Work;
        // State, desired state, step.
        let table = [
            (Assigned, Running, Enter(Accepted)),
            (Assigned, Ready, Enter(Accepted)),
            (Accepted, Running, Enter(Preparing)),
            (Preparing, Running, work(Work::Prepare)),
            (Ready, Ready, Wait),
            (Ready, Running, Enter(Starting)),
            (Ready, Complete, Enter(Starting)),
            (Starting, Ready, work(Work::Start)),
            (Starting, Running, work(Work::Start)),
            (Running, Running, work(Work::Run)),
            (Running, Complete, work(Work::Run)),
            (Assigned, Shutdown, work(Work::Stop)),
            (Ready, Remove, work(Work::Stop)),
            (Running, Shutdown, work(Work::Stop)),
            (Complete, Shutdown, Ended),
            (Failed, Running, Ended),
            (Rejected, Running, Ended),
            (Shutdown, Remove, Ended),
        ];
        for (state, desired, step) in table {
            assert_eq!(Lifecycle::new(state, desired).step(), step, "{state:?} {desired:?}");
        }
    }

    #[test]
    fn a_failure_is_a_rejection_until_the_start() {
        use TaskState::*;
        let table = [
            (Assigned, Rejected),
            (Preparing, Rejected),
            (Ready, Rejected),
            (Starting, Failed),
            (Running, Failed),
        ];
        for (state, after) in table {
            assert_eq!(Lifecycle::new(state, Running).failed(), after, "{state:?}");
        }
    }

    #[test]
    fn what_was_wanted_is_not_taken_back() {
        let mut task = Lifecycle::new(TaskState::Running, TaskState::Shutdown);
        task.desire(TaskState::Running);
        assert_eq!(task.desired(), TaskState::Shutdown);
        task.desire(TaskState::Remove);
        assert_eq!(task.desired(), TaskState::Remove);
    }

    #[test]
    fn a_task_that_nobody_disturbs_completes() {
        let mut task = Lifecycle::new(TaskState::Assigned, TaskState::Complete);
        let mut states = vec![];
        loop {
            match task.step() {
                Step::Enter(state) => task.enter(state),
                Step::Work(work) => drop(task.done(work)),
                Step::Wait | Step::Ended => break,
            }
            states.push(message(task.state()));
        }
        let all = ["accepted", "preparing", "prepared", "starting", "started", "finished"];
        assert_eq!(states, all);
    }
}
