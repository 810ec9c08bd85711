//! `thalweg state`: asks for committed state, of a state directory or of a job on a server.

use super::exit::{Failed, print};
use super::log_args::OutputKind;
use super::state_args::{StateCommand, WhoArgs};
use super::table::table;
use crate::query::{Answer, Question, ReadAt};
use crate::yaml::duration;
use crate::{jobs, topics};
use serde_json::{Value, json};
use std::process::ExitCode;
use thalweg_core::error::Result;
use thalweg_state::Options;

/// Asks, and prints the answer.
pub fn state(command: &StateCommand) -> Result<ExitCode, Failed> {
    let (question, who) = match command {
        StateCommand::List(who) => (Question::List, who),
        StateCommand::Get(args) => {
            let (transform, state) = (args.transform.clone(), args.state.clone());
            (Question::Get { transform, state, key: args.key.clone(), window: args.window.clone() }, &args.who)
        }
        StateCommand::Scan(args) => {
            let (transform, state, limit) = (args.transform.clone(), args.state.clone(), args.limit);
            let (prefix, page) = (args.prefix.clone(), args.page.clone());
            (Question::Scan { transform, state, limit, prefix, page }, &args.who)
        }
    };
    let answer = ask(who, &question)?;
    match who.output {
        OutputKind::Json => print(&lines(&answer)),
        OutputKind::Text => print(&text(&answer)),
    }?;
    Ok(ExitCode::SUCCESS)
}

fn ask(who: &WhoArgs, question: &Question) -> Result<Answer> {
    match (&who.state_dir, &who.server) {
        (Some(dir), _) => topics::state(dir, who.job.as_deref(), question, &Options::default()),
        (None, server) => {
            let (server, job) = (server.clone().unwrap_or_default(), who.job.clone().unwrap_or_default());
            super::asked(jobs::ask_state(&server, &job, question))
        }
    }
}

/// A JSON object for each state or entry; the last one says what was read, and where the next page begins.
fn lines(answer: &Answer) -> String {
    let mut all: Vec<Value> = answer.states.iter().map(|state| json!(state)).collect();
    all.extend(answer.entries.iter().map(|entry| json!(entry)));
    all.push(json!({ "read": answer.read, "next": answer.next, "elsewhere": answer.elsewhere }));
    all.iter().map(|value| format!("{value}\n")).collect()
}

fn text(answer: &Answer) -> String {
    let mut rows = Vec::new();
    let ends = answer.states.iter().any(|state| state.ttl_ms.is_some());
    if !answer.states.is_empty() {
        rows.push(["transform", "state", "kind", "key", "coder"].map(str::to_owned).to_vec());
        rows.iter_mut().filter(|_| ends).for_each(|row| row.push("time to live".to_owned()));
    }
    for state in &answer.states {
        let (kind, state) = (state.kind.word().to_owned(), state.clone());
        let mut row = vec![state.transform, state.state, kind, state.key, state.coder];
        row.extend(ends.then(|| state.ttl_ms.map_or_else(String::new, duration::show)));
        rows.push(row);
    }
    for entry in &answer.entries {
        let more = if entry.cut { " ..." } else { "" };
        rows.push(vec![plain(&entry.key), window(&entry.window), format!("{}{more}", entry.value)]);
    }
    let mut text = table(&rows, &[]);
    text.push_str(&read(&answer.read));
    if !answer.elsewhere.is_empty() {
        let partitions: Vec<String> = answer.elsewhere.iter().map(u16::to_string).collect();
        text.push_str(&format!("not here: partitions {}; ask the other processes too\n", partitions.join(", ")));
    }
    if let Some(next) = &answer.next {
        text.push_str(&format!("more: --page {next}\n"));
    }
    text
}

/// A text as it is, anything else as JSON.
fn plain(key: &Value) -> String {
    key.as_str().map_or_else(|| key.to_string(), str::to_owned)
}

/// As `--window` takes it.
fn window(window: &Value) -> String {
    let end = |name: &str| window.get(name).and_then(Value::as_i64);
    match (end("start"), end("end"), window.get("hex").and_then(Value::as_str)) {
        (Some(start), Some(end), _) => format!("{start}..{end}"),
        (_, _, Some(digits)) => format!("hex:{digits}"),
        _ => plain(window),
    }
}

/// Which commits an answer is of.
fn read(read: &[ReadAt]) -> String {
    let one = |at: &ReadAt| match at.partition {
        None => format!("as of epoch {}\n", at.epoch),
        Some(partition) => {
            let copy = if at.standby { ", a standby copy" } else { "" };
            let age = at.age_ms.map(|ms| format!(", {ms} ms ago")).unwrap_or_default();
            format!("partition {partition} as of epoch {}{age}{copy}\n", at.epoch)
        }
    };
    read.iter().map(one).collect()
}
