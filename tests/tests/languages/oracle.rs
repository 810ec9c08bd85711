//! What the programs of `tests/languages` must write, worked out here without Beam. The programs in Go and Java are the same ones: most
//! of them take the numbers from 0 to 99, each at its second, and the keys `k0` to `k6` by the rest of a division by 7.

use acceptance::lines::Lines;
use std::collections::BTreeMap;

/// Programs that count what they see.
pub const COUNTING: [&str; 8] = ["windowed", "sessions", "sides", "cogroup", "combine", "flatten", "state", "timers"];

/// The lines of a program, or nothing if there is none of that name.
pub fn lines(program: &str) -> Option<Lines> {
    let found = match program {
        "windowed" => windowed(10, |n| format!("k{}", n % 7)),
        "checkpoint" | "sequence" => windowed(25, |_| "all".to_owned()),
        "sessions" => (0..100).map(|n| format!("k{} {n} {} {n}", n % 7, n + 5)).collect(),
        "sides" => (0..100).map(|n| format!("{n} 4950 {}", sum(&of(n % 7, 100)))).collect(),
        "cogroup" => per_key(|rest| {
            let all = of(rest, 100);
            let even: Vec<i64> = all.iter().copied().filter(|n| n % 2 == 0).collect();
            vec![format!("{} {}", all.len(), sum(&even))]
        }),
        "combine" => combined(),
        "flatten" => per_key(|rest| {
            let mut both = of(rest, 100);
            both.extend((100..200).filter(|n| n % 7 == rest));
            vec![format!("{} {}", both.len(), sum(&both))]
        }),
        "state" => per_key(state),
        "timers" => per_key(|_| {
            let of_window = |start| [r#"first "x""#, r#"first "y""#, r#"second """#].map(|t| format!("{start} {t}"));
            [of_window(0), of_window(50)].concat()
        }),
        "processing" => per_key(|_| (0..3).map(|round| round.to_string()).collect()),
        "wasm" => {
            let sums = (0..7).flat_map(|n| [format!("k{n} {}", 10 + n), format!("k{n} Some({n})")]);
            sums.chain(["to 2".to_owned(), "or 1".to_owned()]).collect()
        }
        "windows" => {
            let spans = [0, 4, 8].iter().flat_map(|at| [5, 10].map(|long| format!("a {at} {} 5", at + long)));
            let both = ["a 0 18 15", "b 50 60 20", "b 50 70 20", "b 50 90 20"].map(str::to_owned);
            spans.chain(both).collect()
        }
        "sdf" => (0..50).chain(1000..1050).map(|n| n.to_string()).collect(),
        _ => return None,
    };
    Some(Lines::of(&(found.join("\n") + "\n")))
}

/// The panes of the program `test_stream`, whose trigger asks for two elements before the end of the window and is asked after each.
pub fn panes() -> Lines {
    Lines::of("EARLY 0 2 ++\nON_TIME 1 3 +++\nLATE 2 4 ++++\n")
}

/// Words, `[A-Za-z0-9_']+`, each with its count.
pub fn words(text: &str) -> BTreeMap<&str, u32> {
    let mut words = BTreeMap::new();
    let part = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '\'';
    for word in text.split(|c| !part(c)).filter(|word| !word.is_empty()) {
        *words.entry(word).or_default() += 1;
    }
    words
}

/// Words with their counts as lines.
pub fn counted(words: &BTreeMap<&str, u32>) -> Lines {
    Lines::of(&words.iter().map(|(word, count)| format!("{word}: {count}\n")).collect::<String>())
}

fn of(rest: i64, end: i64) -> Vec<i64> {
    (0..end).filter(|n| n % 7 == rest).collect()
}

fn sum(numbers: &[i64]) -> i64 {
    numbers.iter().sum()
}

/// What is said of each key, behind its name.
fn per_key(say: impl Fn(i64) -> Vec<String>) -> Vec<String> {
    (0..7).flat_map(|rest| say(rest).into_iter().map(move |said| format!("k{rest} {said}"))).collect()
}

/// The sums by window and key.
fn windowed(seconds: i64, key: impl Fn(i64) -> String) -> Vec<String> {
    let mut sums: BTreeMap<(i64, String), i64> = BTreeMap::new();
    for n in 0..100 {
        *sums.entry((n - n % seconds, key(n))).or_default() += n;
    }
    sums.iter().map(|((start, key), sum)| format!("{start} {key} {sum}")).collect()
}

fn combined() -> Vec<String> {
    let mut lines = vec!["sum 4950".to_owned()];
    lines.extend((0..7).map(|rest| format!("max k{rest} {}", of(rest, 100).iter().max().copied().unwrap_or_default())));
    lines
}

fn state(rest: i64) -> Vec<String> {
    let all = of(rest, 100);
    let count = |slot| format!("{slot}={}", all.iter().filter(|n| **n % 5 == slot).count());
    let counts: Vec<String> = (0..5).map(count).collect();
    let most = all.iter().max().copied().unwrap_or_default();
    vec![format!("sum {} all {} kinds [0 1 2] counts {} most {most}", sum(&all), all.len(), counts.join(","))]
}
