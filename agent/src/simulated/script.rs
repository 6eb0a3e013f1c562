//! What a simulated task does, in a few words: the language, and where it stands in a service's spec.
//!
//! A script is a list of clauses `name=value`, separated by commas or blanks. All of them may be left out:
//!
//! | clause | meaning | without it |
//! |---|---|---|
//! | `prepare=TIME` | how long pulling and creating takes | no time |
//! | `start=TIME` | how long starting takes | no time |
//! | `stop=TIME` | how long stopping takes | no time |
//! | `run=TIME` | ends by itself after that long | runs until it is stopped |
//! | `exit=CODE` | exit code when it ends by itself: 0 completes, others fail | 0 |
//! | `fail=prepare`, `fail=start` | cannot be prepared (REJECTED), or started (FAILED) | works |
//! | `chance=SHARE` | only this share of the tasks fails or exits with its code, drawn from the fleet's seed and the task | all |
//! | `jitter=SHARE` | every time is up to this share shorter or longer, drawn likewise | exact |
//! | `log=TIME` | prints a line that often while it runs | 1s |
//!
//! Times are written as `200ms`, `1m 5s` or `2h`; with a blank in it, separate clauses by commas.
//!
//! A task's script is the first of these that is there: the container's label `skep.sim`, its environment variable
//! `SKEP_SIM`, its arguments or command if the image begins with `sim:`, and the image itself, if it is one of
//! `sim:run` (no clauses), `sim:job` (`run=1s`), `sim:crash` (`run=1s exit=137`), `sim:fail` (`fail=prepare`) and `sim:slow`
//! (`prepare=5s start=5s stop=5s`). Any other image runs until it is stopped.

use std::time::Duration;

use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use skep_proto::{
    ids::TaskId,
    swarmkit::{TaskSpec, task_spec::Runtime},
};

use crate::lifecycle::Work;

/// The label that holds a script.
pub const LABEL: &str = "skep.sim";
/// The environment variable that holds a script.
pub const VARIABLE: &str = "SKEP_SIM";
/// Images whose arguments are a script begin with it.
pub const IMAGE_PREFIX: &str = "sim:";
/// The longest time in a script: beyond any test, and far from the end of every clock.
const TIME_MAX: Duration = Duration::from_secs(366 * 24 * 3600);
/// The shortest time between two lines: a task that ran for a day has less than a hundred million.
const LOG_INTERVAL_MIN: Duration = Duration::from_millis(1);

/// What a simulated task does.
#[derive(Clone, Debug, PartialEq)]
pub struct Script {
    /// How long preparing takes.
    pub prepare: Duration,
    /// How long starting takes.
    pub start: Duration,
    /// How long stopping takes.
    pub stop: Duration,
    /// After how long it ends by itself; none: never.
    pub run: Option<Duration>,
    /// Its exit code then.
    pub exit: i32,
    /// What cannot be done.
    pub fail: Option<Work>,
    /// The share of tasks that fail as told.
    pub chance: f64,
    /// How much times vary, as a share of each.
    pub jitter: f64,
    /// The time between two lines of its log.
    pub log: Duration,
}

impl Default for Script {
    fn default() -> Script {
        Script {
            prepare: Duration::ZERO,
            start: Duration::ZERO,
            stop: Duration::ZERO,
            run: None,
            exit: 0,
            fail: None,
            chance: 1.0,
            jitter: 0.0,
            log: Duration::from_secs(1),
        }
    }
}

/// Why a text is no script.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{clause}' in the task's script is not valid: {why}")]
pub struct ScriptError {
    clause: String,
    why: &'static str,
}

impl Script {
    /// The script of a task.
    pub fn of(spec: Option<&TaskSpec>) -> Result<Script, ScriptError> {
        let Some(Runtime::Container(container)) = spec.and_then(|spec| spec.runtime.as_ref())
        else {
            return Ok(Script::default());
        };
        if let Some(text) = container.labels.get(LABEL) {
            return Script::parse(text);
        }
        let variable = |v: &String| Some(v.strip_prefix(VARIABLE)?.strip_prefix('=')?.to_owned());
        if let Some(text) = container.env.iter().find_map(variable) {
            return Script::parse(&text);
        }
        let Some(kind) = container.image.strip_prefix(IMAGE_PREFIX) else {
            return Ok(Script::default());
        };
        let words = [&container.command, &container.args].map(|words| words.join(",")).join(",");
        if words.len() > 1 {
            return Script::parse(&words);
        }
        Script::parse(match kind {
            "run" => "",
            "job" => "run=1s",
            "crash" => "run=1s,exit=137",
            "fail" => "fail=prepare",
            "slow" => "prepare=5s,start=5s,stop=5s",
            _ => {
                let why = "the images are sim:run, sim:job, sim:crash, sim:fail and sim:slow";
                return Err(ScriptError { clause: container.image.clone(), why });
            }
        })
    }

    /// From its text.
    pub fn parse(text: &str) -> Result<Script, ScriptError> {
        let mut script = Script::default();
        for clause in clauses(text) {
            let refused = |why| ScriptError { clause: clause.to_owned(), why };
            let (name, value) = clause
                .split_once('=')
                .ok_or_else(|| refused("it is not of the form name=value"))?;
            let time = || match humantime::parse_duration(value) {
                Ok(time) if time <= TIME_MAX => Ok(time),
                Ok(_) => Err(refused("it is longer than a year")),
                Err(_) => Err(refused("its value is not a time such as 200ms or 5s")),
            };
            let share = || match value.parse::<f64>() {
                Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
                _ => Err(refused("its value is not a number from 0 to 1")),
            };
            match name {
                "prepare" => script.prepare = time()?,
                "start" => script.start = time()?,
                "stop" => script.stop = time()?,
                "run" => script.run = Some(time()?),
                "log" => script.log = time()?.max(LOG_INTERVAL_MIN),
                "chance" => script.chance = share()?,
                "jitter" => script.jitter = share()?,
                "exit" => {
                    script.exit = value.parse().map_err(|_| refused("its value is no number"))?;
                }
                "fail" => {
                    script.fail = Some(match value {
                        "prepare" => Work::Prepare,
                        "start" => Work::Start,
                        _ => return Err(refused("its value is neither prepare nor start")),
                    });
                }
                _ => return Err(refused("there is no such clause")),
            }
        }
        Ok(script)
    }

    /// What one task does: the same for the same seed and task.
    pub fn plan(&self, seed: u64, task: TaskId) -> Script {
        if self.jitter == 0.0 && self.chance == 1.0 {
            return self.clone();
        }
        let mut rng = StdRng::seed_from_u64(seed ^ digest(task.as_str()));
        let mut vary = |time: Duration| {
            time.mul_f64(1.0 + rng.random_range(-1.0..=1.0) * self.jitter).min(TIME_MAX)
        };
        let mut plan = Script {
            prepare: vary(self.prepare),
            start: vary(self.start),
            stop: vary(self.stop),
            run: self.run.map(&mut vary),
            ..self.clone()
        };
        if !rng.random_bool(self.chance) {
            plan.fail = None;
            plan.exit = 0;
        }
        plan
    }

    /// How long a work takes; none: it does not end by itself.
    pub fn time(&self, work: Work) -> Option<Duration> {
        match work {
            Work::Prepare => Some(self.prepare),
            Work::Start => Some(self.start),
            Work::Run => self.run,
            Work::Stop => Some(self.stop),
        }
    }
}

/// FNV-1a: the same on every machine and in every build.
fn digest(text: &str) -> u64 {
    let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
    text.bytes().fold(0xcbf2_9ce4_8422_2325, step)
}

/// Separated by commas where there are any, so that a time may have blanks; else by blanks.
fn clauses(text: &str) -> impl Iterator<Item = &str> {
    let comma = text.contains(',');
    text.split(move |c: char| if comma { c == ',' } else { c.is_whitespace() })
        .map(str::trim)
        .filter(|clause| !clause.is_empty())
}

#[cfg(test)]
mod tests {
    use skep_proto::swarmkit::ContainerSpec;

    use super::*;

    fn container(image: &str, args: &[&str], env: &[&str], label: Option<&str>) -> TaskSpec {
        let owned = |words: &[&str]| words.iter().map(|w| (*w).to_owned()).collect();
        let container = ContainerSpec {
            image: image.into(),
            args: owned(args),
            env: owned(env),
            labels: label.map(|l| (LABEL.to_owned(), l.to_owned())).into_iter().collect(),
            ..Default::default()
        };
        TaskSpec { runtime: Some(Runtime::Container(container)), ..Default::default() }
    }

    #[test]
    fn a_script_says_times_and_failures() {
        let script = Script::parse("start=200ms, run=1m 5s, exit=3, chance=0.5").unwrap();
        let expected = Script {
            start: Duration::from_millis(200),
            run: Some(Duration::from_secs(65)),
            exit: 3,
            chance: 0.5,
            ..Script::default()
        };
        assert_eq!(script, expected);
        assert_eq!(Script::parse("fail=start stop=1s").unwrap().fail, Some(Work::Start));
        assert_eq!(Script::parse(" ").unwrap(), Script::default());
    }

    #[test]
    fn what_is_no_script_is_refused_by_its_clause() {
        let table = [
            ("run", "'run' in the task's script is not valid: it is not of the form name=value"),
            (
                "run=soon",
                "'run=soon' in the task's script is not valid: its value is not a time such as 200ms or 5s",
            ),
            (
                "stop=400d",
                "'stop=400d' in the task's script is not valid: it is longer than a year",
            ),
            (
                "chance=2",
                "'chance=2' in the task's script is not valid: its value is not a number from 0 to 1",
            ),
            (
                "fail=run",
                "'fail=run' in the task's script is not valid: its value is neither prepare nor start",
            ),
            ("walk=1s", "'walk=1s' in the task's script is not valid: there is no such clause"),
        ];
        for (text, error) in table {
            assert_eq!(Script::parse(text).unwrap_err().to_string(), error);
        }
    }

    #[test]
    fn a_spec_has_one_place_that_counts() {
        let script = |text: &str| Script::parse(text).unwrap();
        let table = [
            (container("nginx", &["run=1s"], &[], None), script("")),
            (container("sim:run", &[], &[], None), script("")),
            (container("sim:run", &["run=1s", "exit=2"], &[], None), script("run=1s exit=2")),
            (container("sim:crash", &[], &[], None), script("run=1s exit=137")),
            (container("nginx", &[], &["A=1", "SKEP_SIM=stop=1s"], None), script("stop=1s")),
            (
                container("sim:job", &["exit=2"], &["SKEP_SIM=stop=1s"], Some("run=9s")),
                script("run=9s"),
            ),
        ];
        for (spec, expected) in table {
            assert_eq!(Script::of(Some(&spec)).unwrap(), expected, "{spec:?}");
        }
        assert_eq!(Script::of(None).unwrap(), Script::default());
        assert!(Script::of(Some(&container("sim:walk", &[], &[], None))).is_err());
    }

    #[test]
    fn the_same_seed_gives_the_same_plan() {
        let script = Script::parse("start=1s,run=1s,exit=1,jitter=0.5,chance=0.3").unwrap();
        let tasks: Vec<TaskId> = (0..1_000).map(|n| format!("task{n}").parse().unwrap()).collect();
        let plans: Vec<_> = tasks.iter().map(|task| script.plan(7, *task)).collect();
        assert_eq!(plans, tasks.iter().map(|task| script.plan(7, *task)).collect::<Vec<_>>());
        let failing = plans.iter().filter(|plan| plan.exit == 1).count();
        assert!((240..360).contains(&failing), "{failing}");
        let bounds = Duration::from_millis(500)..=Duration::from_millis(1_500);
        assert!(plans.iter().all(|plan| bounds.contains(&plan.start)));
        assert!(plans.iter().any(|plan| plan.start > Duration::from_millis(1_300)));
    }
}
