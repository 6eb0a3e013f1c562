//! `ls`, `inspect` and `rm`, which are alike for every kind of object.

use serde_json::Value;

use crate::{
    commands::Session,
    errors::Failure,
    input::pairs,
    objects::{Selection, Stored},
    output::{Column, InspectOptions, ListOptions},
    resolve::resolve,
};

/// List objects.
#[derive(Debug, clap::Args)]
pub struct List {
    /// Show only what matches: id=PREFIX, name=PREFIX, label=KEY[=VALUE]
    #[arg(short, long, value_name = "KEY=VALUE")]
    pub filter: Vec<String>,
    #[command(flatten)]
    pub options: ListOptions,
}

/// Print objects in full.
#[derive(Debug, clap::Args)]
pub struct Inspect {
    /// IDs, beginnings of IDs, or names
    #[arg(required = true)]
    pub names: Vec<String>,
    #[command(flatten)]
    pub options: InspectOptions,
}

/// Remove objects.
#[derive(Debug, clap::Args)]
pub struct Remove {
    /// IDs, beginnings of IDs, or names
    #[arg(required = true)]
    pub names: Vec<String>,
}

/// How a kind of object is printed.
pub trait Shown: Stored {
    /// The columns of a listing.
    const COLUMNS: &'static [Column];

    /// Its row: a value for each column, and "ID".
    fn row(&self) -> Value;
    /// It in full, in Docker's shape.
    fn inspected(&self) -> Value;
}

/// Lists the objects of a kind, in the order of their names.
pub async fn list<S: Shown>(command: List, mut session: Session) -> Result<(), Failure> {
    let selection = selection(&command.filter)?;
    let found = S::list(&session.connection, selection).await;
    let mut found = found.map_err(Failure::call(format!("list {}s", S::NOUN)))?;
    found.sort_by(|a, b| (a.name(), a.id()).cmp(&(b.name(), b.id())));
    let rows: Vec<Value> = found.iter().map(S::row).collect();
    session.output.list(S::COLUMNS, &rows, &command.options)
}

/// Prints the named objects. What is found is printed also when others are not.
pub async fn inspect<S: Shown>(command: Inspect, mut session: Session) -> Result<(), Failure> {
    let mut found = Vec::new();
    let mut failures = Vec::new();
    for name in &command.names {
        match resolve::<S>(&session.connection, name).await {
            Ok(object) => found.push(object.inspected()),
            Err(failure) => failures.push(failure),
        }
    }
    session.output.inspect(&found, &command.options)?;
    all_done(failures)
}

/// Removes the named objects, and prints each name when it is done. One that fails does not keep the others.
pub async fn remove<S: Stored>(
    names: &[String],
    force: bool,
    mut session: Session,
) -> Result<(), Failure> {
    let mut failures = Vec::new();
    for name in names {
        let removed = async {
            let object: S = resolve(&session.connection, name).await?;
            let doing = format!("remove {} {name}", S::NOUN);
            S::remove(&session.connection, object.id(), force).await.map_err(Failure::call(doing))
        };
        match removed.await {
            Ok(()) => session.output.line(name)?,
            Err(failure) => failures.push(failure),
        }
    }
    all_done(failures)
}

/// Success if nothing failed; one failure as it is; several as a list.
pub fn all_done(mut failures: Vec<Failure>) -> Result<(), Failure> {
    match failures.len() {
        0 => Ok(()),
        1 => Err(failures.remove(0)),
        _ => Err(Failure::Several(failures)),
    }
}

/// What the `--filter` options ask for.
pub fn selection(filters: &[String]) -> Result<Selection, Failure> {
    let mut selection = Selection::default();
    for filter in filters {
        let Some((key, value)) = filter.split_once('=') else {
            return Err(Failure::Usage(format!("--filter {filter}: write KEY=VALUE")));
        };
        match key {
            "id" => selection.id_prefixes.push(value.to_owned()),
            "name" => selection.name_prefixes.push(value.to_owned()),
            "label" => selection.labels.extend(pairs(&[value.to_owned()])),
            _ => {
                return Err(Failure::Usage(format!(
                    "--filter {filter}: the keys are id, name and label"
                )));
            }
        }
    }
    Ok(selection)
}
