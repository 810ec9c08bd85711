//! Beam's own examples in Python: as they are, or with a TestStream where they ask for Pub/Sub.

use crate::endpoint;
use acceptance::child::Run;
use acceptance::lines::Lines;
use acceptance::{place, watchdog};
use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;

fn options() -> Result<[String; 3]> {
    let endpoint = format!("--job_endpoint={}", endpoint()?);
    Ok(["--runner=PortableRunner".to_owned(), endpoint, "--environment_type=LOOPBACK".to_owned()])
}

/// Runs one of Beam's streaming examples on a script of messages and advances, and gives the lines it would have published.
fn streamed(example: &str, script: &Value, more: &[&str]) -> Result<Lines> {
    let folder = watchdog::folder(example)?;
    let (file, lines) = (folder.join("script.json"), folder.join("lines"));
    fs::write(&file, script.to_string())?;
    Run::python()?
        .arg(place::file("tests/languages/python/streamed.py"))
        .arg(example)
        .arg(format!("--script={}", file.display()))
        .arg(format!("--lines={}", lines.display()))
        .args(options()?)
        .args(more)
        .env("TZ", "UTC")
        .ok()?;
    Lines::read(&lines)
}

#[test]
fn streaming_wordcount_counts_in_windows_and_drops_what_is_late() -> Result<()> {
    let script = json!([
        {"messages": [[1, "to be or"], [14, "not to be"], [16, "that is"]]},
        {"watermark": 10},
        {"messages": [[3, "or not"]]},
        {"watermark": 15},
        {"messages": [[5, "late words"], [29, "that was"]]},
    ]);
    let wanted = "to: 2\nbe: 2\nor: 2\nnot: 2\nthat: 2\nis: 1\nwas: 1\n";
    let found = streamed("streaming_wordcount", &script, &["--input_topic=in", "--output_topic=out"])?;
    found.same_as(&Lines::of(wanted), "the counts of the windows")
}

#[test]
fn the_leader_board_tells_early_sums_and_those_of_whole_windows() -> Result<()> {
    let game = |user: &str, team: &str, score: u32, second: u64| {
        json!([second, format!("{user},{team},{score},{second}000,-")])
    };
    let hour = 360_000;
    let ten: Vec<Value> = (1..=10).map(|n| game("ann", "red", n, hour + u64::from(n))).collect();
    let three: Vec<Value> = (0..3).map(|n| game("ann", "red", 100, hour + 600 + n)).collect();
    let seven: Vec<Value> = (0..7).map(|n| game("ann", "red", 1, hour + 3700 + n)).collect();
    let script = json!([
        {"watermark": hour},
        {"messages": ten},
        {"messages": [game("bob", "blue", 5, hour + 20), game("bob", "blue", 7, hour + 30), [hour + 40, "no event"]]},
        {"messages": three},
        {"watermark": hour + 3600},
        {"messages": [game("cat", "green", 1000, hour + 100)]},
        {"messages": seven},
    ]);
    // teams, by the hour: at ten elements, and at the end of the hour; green came late
    let teams = "red 55 1970-01-05 04:00:00.000\nred 355 1970-01-05 04:00:00.000\nblue 12 1970-01-05 04:00:00.000\n\
                 red 7 1970-01-05 05:00:00.000\n";
    // users, for ever: at ten more elements, and at the end of all where something is new
    let users = "55 ann\n362 ann\n12 bob\n1000 cat\n";
    let found = streamed("leader_board", &script, &["--topic=t", "--dataset=d", "--project=p"])?;
    found.same_as(&Lines::of(&format!("{teams}{users}")), "the leader board")
}

#[test]
fn tf_idf_weighs_words_by_document() -> Result<()> {
    let folder = watchdog::folder("tfidf")?;
    let documents = ["a rose is a rose is a rose", "a war is no rose", "no news is good news"];
    for (n, text) in documents.iter().enumerate() {
        fs::write(folder.join(format!("doc{n}.txt")), text)?;
    }
    Run::python()?
        .args(["-m", "apache_beam.examples.complete.tfidf"])
        .args(options()?)
        .arg(format!("--uris={}/doc*.txt", folder.display()))
        .arg(format!("--output={}/weights", folder.display()))
        .ok()?;
    let mut found: BTreeMap<(String, String), f64> = BTreeMap::new();
    for entry in fs::read_dir(&folder)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with("weights") {
            for line in fs::read_to_string(entry.path())?.lines() {
                // ('rose', ('file:///.../doc0.txt', 0.152))
                let [word, uri, weight] = line.split(", ").collect::<Vec<_>>()[..] else {
                    anyhow::bail!("odd: {line}")
                };
                let document = uri.rsplit('/').next().unwrap_or_default().trim_matches(['(', '\'']);
                let key = (word.trim_matches(['(', '\'']).to_owned(), document.to_owned());
                let weight = weight.trim_end_matches(')').parse()?;
                ensure!(found.insert(key, weight).is_none(), "twice: {line}");
            }
        }
    }
    let wanted = weights(&documents);
    ensure!(found.keys().eq(wanted.keys()), "{found:?} instead of {wanted:?}");
    for (key, weight) in &wanted {
        let of = found.get(key).context("no weight")?;
        ensure!((of - weight).abs() < 1e-12, "{key:?} weighs {of} instead of {weight}");
    }
    Ok(())
}

/// A word's share of its document, times the logarithm of all documents per document that has it.
fn weights(documents: &[&str]) -> BTreeMap<(String, String), f64> {
    let words: Vec<Vec<&str>> = documents.iter().map(|text| text.split(' ').collect()).collect();
    let mut weights = BTreeMap::new();
    for (n, all) in words.iter().enumerate() {
        for word in all.iter().collect::<BTreeSet<_>>() {
            let share = all.iter().filter(|w| *w == word).count() as f64 / all.len() as f64;
            let having = words.iter().filter(|document| document.contains(word)).count();
            let weight = share * (documents.len() as f64 / having as f64).ln();
            weights.insert(((*word).to_owned(), format!("doc{n}.txt")), weight);
        }
    }
    weights
}

#[test]
fn run_inference_asks_a_model_of_scikit_learn() -> Result<()> {
    let folder = watchdog::folder("inference")?;
    let path = |name: &str| folder.join(name).display().to_string();
    let points: [[i64; 3]; 4] = [[0, 0, 0], [100, 0, 0], [0, 100, 0], [0, 0, 100]];
    fs::write(path("points.csv"), points.map(|p| p.map(|x| x.to_string()).join(",")).join("\n") + "\n")?;
    Run::python()?
        .arg(place::file("tests/languages/python/make_model.py"))
        .args([path("points.csv"), path("model.pickle")])
        .ok()?;
    // the label of a row is its number: each must come back, with the nearest point
    let rows: Vec<[i64; 3]> = (0..200).map(|n| [n * 37 % 101, n * 53 % 103, n * 71 % 107]).collect();
    let (mut text, mut wanted) = (String::new(), String::new());
    for (n, row) in rows.iter().enumerate() {
        let far = |point: &[i64; 3]| row.iter().zip(point).map(|(a, b)| (a - b) * (a - b)).sum::<i64>();
        let mut order: Vec<(i64, usize)> = points.iter().enumerate().map(|(p, point)| (far(point), p)).collect();
        order.sort_unstable();
        if let [(nearest, point), (second, _), ..] = order[..]
            && nearest < second
        {
            text.push_str(&format!("{n},{}\n", row.map(|x| x.to_string()).join(",")));
            wanted.push_str(&format!("{n},{point}\n"));
        }
    }
    fs::write(path("rows.csv"), text)?;
    Run::python()?
        .arg(place::file("tests/languages/python/inference.py"))
        .args(options()?)
        .args([format!("--input={}", path("rows.csv")), format!("--output={}", path("found"))])
        .arg(format!("--model_path={}", path("model.pickle")))
        .ok()?;
    Lines::read(&folder.join("found"))?.same_as(&Lines::of(&wanted), "the predictions")
}
