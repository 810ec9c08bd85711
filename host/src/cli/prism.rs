//! The command line of Beam's Prism runner, so that SDKs can start this program in its place.
//!
//! In: the process's arguments. Out: the same as arguments of `thalweg serve`, whose own parser judges the values. Flags
//! are written as Go programs take them: one dash or two, values joined by `=` or apart, booleans as Go spells them. Flags that neither
//! knows are passed over: a newer SDK may send them, and none changes what a pipeline computes.
//! Source: `apache_beam/runners/portability/prism_runner.py`, `sdks/go/cmd/prism`.

use super::args::Arguments;
use clap::CommandFactory as _;

/// A command line of Prism's.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Translated {
    /// The same for `thalweg serve`, from the name of the program on.
    pub arguments: Vec<String>,
    /// Names of flags that were passed over. Their values may be secrets.
    pub ignored: Vec<String>,
}

/// Flags by which Prism's command line is recognised.
const KNOWN: [&str; 7] =
    ["job_port", "log_level", "log_kind", "serve_http", "web_port", "idle_shutdown_timeout", "worker_pool_port"];
/// What stands for something that belongs to no flag.
const STRAY: &str = "(a value without a flag)";
/// Flags of `thalweg serve` that may stand beside them, and whether they take a value. Properties of Kafka clients, `-X`, may too.
const OURS: [(&str, bool); 28] = [
    ("shards", true),
    ("epoch-ms", true),
    ("outputs-mib", true),
    ("state-dir", true),
    ("fsync", true),
    ("state-cache-mib", true),
    ("state-buffer-mib", true),
    ("disk-reserve-mib", true),
    ("disk-wait-seconds", true),
    ("state-ttl", true),
    ("advertise", true),
    ("allow-capability", true),
    ("jobs-max", true),
    ("bundle-retries", true),
    ("message-mib-max", true),
    ("worker-start-seconds", true),
    ("grace-seconds", true),
    ("standby-replicas", true),
    ("bootstrap", true),
    ("cluster", true),
    ("process-id", true),
    ("partitions", true),
    ("session-timeout-ms", true),
    ("max-poll-interval-ms", true),
    ("savepoint-dir", true),
    ("allow-process-workers", false),
    ("allow-docker-workers", false),
    ("hide-elements", false),
];

/// Reads Prism's flags; `None` if the arguments are not Prism's. Values that `thalweg serve` does not take are left to its parser.
pub fn parse(arguments: &[String]) -> Option<Translated> {
    let first = arguments.first()?;
    if !first.starts_with('-') || !arguments.iter().any(|a| KNOWN.contains(&split(a).0)) {
        return None;
    }
    let mut translated = Translated { arguments: vec!["thalweg".to_owned(), "serve".to_owned()], ignored: Vec::new() };
    let mut rest = arguments.iter().map(String::as_str).peekable();
    while let Some(argument) = rest.next() {
        if !argument.starts_with('-') {
            if is_command(argument) {
                return None;
            }
            translated.ignored.push(STRAY.to_owned());
            continue;
        }
        let (name, joined) = split(argument);
        let ours = OURS.iter().find(|(known, _)| *known == name.replace('_', "-"));
        let lone = name == "serve_http" || ours.is_some_and(|(_, takes)| !takes);
        let known = ours.is_some() || KNOWN.contains(&name) || name == "X";
        // a value stands apart if nothing is joined and the next argument is not a flag; Go's booleans are always joined
        let follows = |next: &&str| !next.starts_with('-') && (known || !is_command(next));
        let value = joined.or_else(|| if lone { None } else { rest.next_if(follows) });
        let serve = &mut translated.arguments;
        match (name, value) {
            ("job_port", Some(port)) => serve.push(format!("--port={port}")),
            ("log_level", Some(level)) => serve.push(format!("--log-level={level}")),
            ("log_kind", Some("json")) => serve.push("--log-kind=json".to_owned()),
            // Prism has two kinds for people, `dev` and `text`
            ("log_kind", Some(_)) => serve.push("--log-kind=text".to_owned()),
            ("serve_http", _) => {} // there is no web page to serve
            ("X", property) => serve.extend(["-X"].into_iter().chain(property).map(str::to_owned)),
            (_, value) => match (ours, value) {
                (Some((name, false)), value) => match value.map(boolean) {
                    None | Some(Some(true)) => serve.push(format!("--{name}")),
                    Some(Some(false)) => {}
                    // a value that a lone flag does not take, which its parser says
                    Some(None) => serve.push(format!("--{name}={}", value.unwrap_or_default())),
                },
                (Some((name, true)), Some(value)) => serve.push(format!("--{name}={value}")),
                (Some((name, true)), None) => serve.push(format!("--{name}")),
                // of Kafka's properties it may be that the letter and the value are one
                (None, _) if argument.starts_with("-X") => serve.push(argument.to_owned()),
                (None, _) => {
                    let named = argument.split_once('=').map_or(argument, |(named, _)| named);
                    translated.ignored.push(named.to_owned());
                }
            },
        }
    }
    Some(translated)
}

/// Whether it is a command of this program: what stands behind is for that.
fn is_command(word: &str) -> bool {
    Arguments::command().find_subcommand(word).is_some()
}

/// A boolean as Go's package `flag` reads it.
fn boolean(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// Name without dashes, and the joined value.
fn split(argument: &str) -> (&str, Option<&str>) {
    let Some(flag) = argument.strip_prefix("--").or_else(|| argument.strip_prefix('-')) else { return ("", None) };
    match flag.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (flag, None),
    }
}

#[cfg(test)]
mod tests {
    use super::super::args::Command;
    use super::*;
    use clap::Parser as _;

    fn parsed(line: &str) -> Option<(String, Vec<String>)> {
        let given: Vec<String> = line.split(' ').map(str::to_owned).collect();
        parse(&given).map(|t| (t.arguments.get(2..).unwrap_or_default().join(" "), t.ignored))
    }

    #[test]
    fn flags_may_be_joined_or_apart_with_one_dash_or_two() {
        assert!(parsed("--job_port 7 --cluster serve").is_some(), "a value that is also a command");
        for line in [
            "--job_port=50123 --log_level=warn --log_kind=json --serve_http=false",
            "--job_port 50123 --log_level warn --log_kind json --serve_http=false",
            "-serve_http=false -job_port=50123 -log_level warn -log_kind=json",
            "--serve_http --job_port 50123 --log_level warn --log_kind json",
        ] {
            let wanted = ("--port=50123 --log-level=warn --log-kind=json".to_owned(), Vec::new());
            assert_eq!(parsed(line), Some(wanted), "{line}");
        }
    }

    #[test]
    fn unknown_flags_are_passed_over_with_their_values() {
        let flags = parsed("--idle_shutdown_timeout=5m --web_port 0 --new_flag x --job_port 7");
        let ignored = ["--idle_shutdown_timeout", "--web_port", "--new_flag"].map(str::to_owned).to_vec();
        assert_eq!(flags, Some(("--port=7".to_owned(), ignored)));
        // nor is a value told that seems to have no flag
        let flags = parsed("--job_port 7 --serve_http secret --new_flag=secret");
        let ignored = vec![STRAY.to_owned(), "--new_flag".to_owned()];
        assert_eq!(flags, Some(("--port=7".to_owned(), ignored)));
    }

    #[test]
    fn our_own_flags_may_stand_beside_them() {
        let flags =
            parsed("--job_port 7 --serve_http=false --state-dir X --shards=4 --allow_process_workers --epoch-ms 20");
        let wanted = "--port=7 --state-dir=X --shards=4 --allow-process-workers --epoch-ms=20";
        assert_eq!(flags, Some((wanted.to_owned(), Vec::new())));
    }

    #[test]
    fn properties_of_kafka_reach_the_server_however_they_are_written() {
        for flag in ["-X a.b=c", "-X=a.b=c", "--X a.b=c", "-Xa.b=c"] {
            let line = format!("--job_port=7 {flag} -X ssl.key=d=e");
            let translated = parse(&line.split(' ').map(str::to_owned).collect::<Vec<_>>());
            let translated = translated.filter(|t| t.ignored.is_empty()).map(|t| t.arguments).unwrap_or_default();
            let Ok(Arguments { command: Command::Serve(serve) }) = Arguments::try_parse_from(&translated) else {
                unreachable!("{translated:?}")
            };
            let wanted = [("a.b", "c"), ("ssl.key", "d=e")].map(|(k, v)| (k.to_owned(), v.to_owned()));
            assert_eq!(serve.kafka, wanted, "{line}");
        }
    }

    #[test]
    fn booleans_are_spelled_as_in_go_and_anything_else_is_refused() {
        let flags = |value: &str| parsed(&format!("--job_port=7 --hide_elements{value}"));
        for value in ["", "=1", "=t", "=T", "=TRUE", "=true", "=True"] {
            assert_eq!(flags(value), Some(("--port=7 --hide-elements".to_owned(), Vec::new())), "{value}");
        }
        for value in ["=0", "=f", "=F", "=FALSE", "=false", "=False"] {
            assert_eq!(flags(value), Some(("--port=7".to_owned(), Vec::new())), "{value}");
        }
        for value in ["=no", "=off", "=", "=2"] {
            let (arguments, _) = flags(value).unwrap_or_default();
            let refused = Arguments::try_parse_from(["thalweg", "serve"].into_iter().chain(arguments.split(' ')));
            assert!(refused.is_err(), "{value}");
        }
    }

    #[test]
    fn every_option_of_serve_is_known_here() {
        let command = Arguments::command();
        let serve = command.find_subcommand("serve").map(clap::Command::get_opts).into_iter().flatten();
        let named = serve.filter_map(clap::Arg::get_long);
        let elsewhere = ["port", "serve_http", "log-level", "log-kind"];
        let missing: Vec<&str> =
            named.filter(|n| !elsewhere.contains(n) && !OURS.iter().any(|(name, _)| name == n)).collect();
        assert!(missing.is_empty(), "{missing:?}");
    }

    #[test]
    fn other_command_lines_are_not_prisms() {
        for line in [
            "run --job_port=1",
            "--help",
            "--version",
            "--no-such-flag",
            "",
            "--hide-elements serve --job_port=1",
            "--no-such-flag serve --job_port=1",
        ] {
            assert_eq!(parsed(line), None, "{line}");
        }
    }
}
