//! The command line of Beam's Prism runner, so that SDKs can start this program in its place.
//!
//! Flags as Go programs take them: one dash or two, values joined by `=` or apart. Flags we do not know are passed over: a
//! newer SDK may send them, and none changes what a pipeline computes.
//! Source: `apache_beam/runners/portability/prism_runner.py`, `sdks/go/cmd/prism`.

use super::logs::LogKind;

/// Prism's flags that we act on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Flags {
    /// Where to listen on the loopback interface.
    pub port: u16,
    /// `debug`, `info`, `warn`, `error`.
    pub level: String,
    /// How to log.
    pub kind: LogKind,
    /// Flags that were passed over.
    pub ignored: Vec<String>,
}

impl Default for Flags {
    fn default() -> Self {
        Self { port: 8073, level: "info".to_owned(), kind: LogKind::Text, ignored: Vec::new() }
    }
}

/// Flags by which Prism's command line is recognised.
const KNOWN: [&str; 7] =
    ["job_port", "log_level", "log_kind", "serve_http", "web_port", "idle_shutdown_timeout", "worker_pool_port"];

/// Reads Prism's flags; `None` if the arguments are not Prism's.
pub fn parse(arguments: &[String]) -> Option<Flags> {
    let first = arguments.first()?;
    if !first.starts_with('-') || !arguments.iter().any(|a| KNOWN.contains(&split(a).0)) {
        return None;
    }
    let mut flags = Flags::default();
    let mut rest = arguments.iter().map(String::as_str).peekable();
    while let Some(argument) = rest.next() {
        let (name, joined) = split(argument);
        let boolean = name == "serve_http";
        // a value stands apart if nothing is joined and the next argument is not a flag; Go's booleans are always joined
        let value = joined.or_else(|| if boolean { None } else { rest.next_if(|next| !next.starts_with('-')) });
        match (name, value) {
            ("job_port", Some(port)) => flags.port = port.parse().ok()?,
            ("log_level", Some(level)) => flags.level = level.to_lowercase(),
            ("log_kind", Some("json")) => flags.kind = LogKind::Json,
            // Prism has two kinds for people, `dev` and `text`
            ("log_kind", Some(_)) => flags.kind = LogKind::Text,
            ("serve_http", _) => {} // there is no web page to serve
            _ => flags.ignored.push(argument.to_owned()),
        }
    }
    Some(flags)
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
    use super::*;

    fn parsed(line: &str) -> Option<Flags> {
        parse(&line.split(' ').map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn flags_may_be_joined_or_apart_with_one_dash_or_two() {
        let wanted = Flags { port: 50123, level: "warn".to_owned(), kind: LogKind::Json, ignored: Vec::new() };
        for line in [
            "--job_port=50123 --log_level=warn --log_kind=json --serve_http=false",
            "--job_port 50123 --log_level WARN --log_kind json --serve_http=false",
            "-serve_http=false -job_port=50123 -log_level warn -log_kind=json",
            "--serve_http --job_port 50123 --log_level warn --log_kind json",
        ] {
            assert_eq!(parsed(line).as_ref(), Some(&wanted), "{line}");
        }
    }

    #[test]
    fn unknown_flags_are_passed_over_with_their_values() {
        let flags = parsed("--idle_shutdown_timeout=5m --web_port 0 --new_flag x --job_port 7");
        let ignored = ["--idle_shutdown_timeout=5m", "--web_port", "--new_flag"].map(str::to_owned).to_vec();
        assert_eq!(flags.map(|f| (f.port, f.ignored)), Some((7, ignored)));
    }

    #[test]
    fn other_command_lines_are_not_prisms() {
        for line in ["run --job_port=1", "--help", "--version", "--no-such-flag", ""] {
            assert_eq!(parsed(line), None, "{line}");
        }
        assert_eq!(parsed("--job_port=many"), None, "the usage of this program is shown then");
    }
}
