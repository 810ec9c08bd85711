//! A broker that wants TLS and logins: pipelines and clusters work there as elsewhere, and whoever is turned away is told why once, in
//! time, and without a secret.

use acceptance::broker::{Broker, Secure};
use acceptance::child::{Ended, Run};
use acceptance::cluster::{Counting, Member};
use acceptance::server::free_port;
use acceptance::tokens::Tokens;
use acceptance::watchdog;
use anyhow::{Context as _, Result, anyhow, ensure};
use serde_json::json;
use std::fs;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

const SIGABRT: i32 = 6;
/// What is in every password of the broker's users.
const SECRET: &str = "secret of";
/// How long a client may try that is turned away: ten seconds per question, on a machine that does other things.
const TOLD_WITHIN: Duration = Duration::from_secs(45);
/// How long a job may take to read all that is there.
const SETTLED_WITHIN: Duration = Duration::from_secs(120);

fn broker() -> Result<&'static Secure> {
    static ONE: OnceLock<Result<Secure, String>> = OnceLock::new();
    ONE.get_or_init(|| Broker::secure().map_err(|e| format!("{e:#}"))).as_ref().map_err(|e| anyhow!("{e}"))
}

/// A pipeline that copies a topic.
fn copying(bootstrap: &str, from: &str, to: &str, more: &str) -> Result<PathBuf> {
    let file = watchdog::folder("secure")?.join("pipeline.yaml");
    let text = format!(
        "pipeline:
  type: chain
  transforms:
  - type: ReadFromKafka
    config: {{topic: {from}, bootstrap_servers: '{bootstrap}', format: STRING, auto_offset_reset_config: earliest, stop_at: end_offsets, consumer_config: {{{more}}}}}
  - type: WriteToKafka
    config: {{topic: {to}, bootstrap_servers: '{bootstrap}', format: STRING, producer_config_updates: {{{more}}}}}
"
    );
    fs::write(&file, text)?;
    Ok(file)
}

/// Properties as arguments.
fn set(properties: &[(&str, &str)]) -> Vec<String> {
    properties.iter().flat_map(|(name, value)| ["-X".to_owned(), format!("{name}={value}")]).collect()
}

/// Properties of a login by certificate.
fn certificate(broker: &Secure) -> Vec<String> {
    set(&[
        ("security.protocol", "SSL"),
        ("ssl.ca.location", &broker.key("ca.pem")),
        ("ssl.keystore.location", &broker.key("client.p12")),
        ("ssl.keystore.password", "changeit"),
    ])
}

#[test]
fn a_topic_is_copied_exactly_once_over_tls_whatever_is_killed() -> Result<()> {
    let broker = broker()?;
    broker.plain.create(&["copied-in:3", "copied-out:2"])?;
    let records: Vec<_> = (0..500).map(|n| json!({"key": format!("{n}"), "value": format!("value {n}")})).collect();
    broker.plain.produce("copied-in", &records)?;
    let file = copying(broker.login.bootstrap(), "copied-in", "copied-out", "")?;
    let state = watchdog::folder("state")?;
    let run = |login: &[(&str, &str)]| -> Result<Run> {
        Ok(Run::thalweg()?
            .args(["run", "--epoch-ms", "20", "--app-id", "copied", "--state-dir"])
            .arg(&state)
            .args(set(&[("security.protocol", "SASL_SSL"), ("ssl.truststore.type", "PEM")]))
            .args(set(&[("ssl.truststore.location", &broker.key("ca.pem"))]))
            .args(set(login))
            .arg(&file))
    };
    // as Confluent Cloud has it, then as MSK does
    let module =
        "org.apache.kafka.common.security.plain.PlainLoginModule required username='plain' password='secret of plain';";
    let crashed = run(&[("sasl.mechanism", "PLAIN"), ("sasl.jaas.config", module)])?
        .env("THALWEG_FAULT", "before_commit:1")
        .end()?;
    ensure!(crashed.signal == Some(SIGABRT), "the fault point was not reached\n{crashed}");
    let login =
        |mechanism| [("sasl.mechanism", mechanism), ("sasl.username", "scram"), ("sasl.password", "secret of scram")];
    let crashed = run(&login("SCRAM-SHA-512"))?.env("THALWEG_FAULT", "after_commit:1").end()?;
    ensure!(crashed.signal == Some(SIGABRT), "the fault point was not reached\n{crashed}");
    run(&login("SCRAM-SHA-256"))?.ok()?;
    let found: Vec<_> = broker.plain.dump("copied-out")?.iter().map(|r| r["value"].to_string()).collect();
    let mut wanted: Vec<_> = records.iter().map(|r| r["value"].to_string()).collect();
    wanted.sort();
    ensure!(found == wanted, "{} records of {}", found.len(), wanted.len());
    Ok(())
}

#[test]
fn a_cluster_lives_on_brokers_that_want_certificates() -> Result<()> {
    let broker = broker()?;
    let args = certificate(broker);
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let mut one = Member::new(&broker.certificate, "one", &args)?;
    one.start()?;
    let mut job = Counting::new(&broker.certificate, "certified", 5)?;
    job.give(200)?;
    let id = job.submit(&one)?;
    job.settle(SETTLED_WITHIN).with_context(|| one.log())?;
    // its consumers, producers and admin clients again, from what they had stored
    one.stop()?;
    one.forget()?;
    one.start()?;
    job.give(100)?;
    job.settle(SETTLED_WITHIN).with_context(|| one.log())?;
    one.job(&["drain", &id])?;
    ensure!(one.job(&["wait", &id])? == "DRAINED", "{}", one.log());
    job.check_minutes()
}

/// One error with this code that says these words, in time, without a secret.
fn told(ended: &Ended, code: &str, words: &[&str]) -> Result<()> {
    ensure!(ended.code.is_some_and(|code| code != 0), "it did not fail\n{ended}");
    ensure!(ended.err.matches("error[").count() == 1, "one error is enough\n{ended}");
    for word in words.iter().chain(&[format!("error[{code}]").as_str(), "help: "]) {
        ensure!(ended.err.contains(word), "it does not say {word:?}\n{ended}");
    }
    ensure!(!ended.err.contains(SECRET) && !ended.out.contains(SECRET), "a secret was told\n{ended}");
    ensure!(ended.took < TOLD_WITHIN, "it took {:?}", ended.took);
    Ok(())
}

/// What is wrong, where, with which properties, and the error's code and words.
type Case<'a> = (&'a str, &'a str, Vec<String>, &'a str, &'a [&'a str]);

#[test]
fn who_is_turned_away_is_told_why_in_time() -> Result<()> {
    let broker = broker()?;
    broker.plain.create(&["turned-in:1", "turned-out:1"])?;
    let (ca, other) = (broker.key("ca.pem"), broker.key("other.pem"));
    let (login, tls) = (broker.login.bootstrap(), broker.certificate.bootstrap());
    let elsewhere = login.replace("localhost", "127.0.0.1");
    let user = |name: &'static str, ca: &str| {
        let pairs = [("security.protocol", "SASL_SSL"), ("sasl.mechanism", "SCRAM-SHA-512"), ("sasl.username", name)];
        [set(&pairs), set(&[("sasl.password", "secret of scram"), ("ssl.ca.location", ca)])].concat()
    };
    let cases: [Case<'_>; 9] = [
        ("another user", login, user("nobody", &ca), "KAFKA_AUTH", &["sasl.password", login]),
        ("an unknown authority", login, user("scram", &other), "KAFKA_TLS", &["ssl.ca.location=", login]),
        ("the system's authorities", tls, set(&[("security.protocol", "SSL")]), "KAFKA_TLS", &["ca-certificates"]),
        ("another name", &elsewhere, user("scram", &ca), "KAFKA_TLS", &["name the host", &elsewhere]),
        (
            "no certificate",
            tls,
            set(&[("security.protocol", "SSL"), ("ssl.ca.location", &ca)]),
            "KAFKA_TLS",
            &["ssl.keystore.location="],
        ),
        ("no TLS", tls, Vec::new(), "KAFKA_UNREACHABLE", &["security.protocol=SSL"]),
        (
            "a listener without TLS",
            broker.plain.bootstrap(),
            certificate(broker),
            "KAFKA_UNREACHABLE",
            &["without TLS"],
        ),
        ("no login", login, set(&[("security.protocol", "SASL_SSL")]), "KAFKA_CONFIG", &["sasl.mechanism=PLAIN"]),
        (
            "no such file",
            tls,
            set(&[("security.protocol", "SSL"), ("ssl.ca.location", "/no/ca")]),
            "KAFKA_CONFIG",
            &["ssl.ca.location"],
        ),
    ];
    are_told(&cases)
}

/// Runs a pipeline for each of these.
fn are_told(cases: &[Case<'_>]) -> Result<()> {
    std::thread::scope(|scope| {
        let run = |(what, bootstrap, properties, code, words): &Case<'_>| -> Result<()> {
            let file = copying(bootstrap, "turned-in", "turned-out", "")?;
            let ended = Run::thalweg()?.arg("run").args(properties).arg(file).end()?;
            told(&ended, code, words).with_context(|| (*what).to_owned())
        };
        let running: Vec<_> = cases.iter().map(|case| scope.spawn(move || run(case))).collect();
        running.into_iter().try_for_each(|case| case.join().map_err(|_| anyhow!("a case panicked"))?)
    })
}

/// The secret of a client of OAuth, and what a form makes of it.
const OAUTH: [&str; 2] =
    ["secret of oauth: 100% & \u{fc}", "thal%20weg:secret%20of%20oauth%3A%20100%25%20%26%20%C3%BC"];

/// Properties of a login by OAUTHBEARER, as librdkafka has them.
fn oauth(broker: &Secure, url: &str, secret: &str) -> Vec<String> {
    set(&[
        ("security.protocol", "SASL_SSL"),
        ("ssl.ca.location", &broker.key("ca.pem")),
        ("sasl.mechanism", "OAUTHBEARER"),
        ("sasl.oauthbearer.method", "oidc"),
        ("sasl.oauthbearer.token.endpoint.url", url),
        ("sasl.oauthbearer.client.id", "thal weg"),
        ("sasl.oauthbearer.client.secret", secret),
        ("sasl.oauthbearer.scope", "kafka all"),
        ("sasl.oauthbearer.extensions", "logicalCluster=lkc-1"),
    ])
}

#[test]
fn a_topic_is_copied_by_who_has_a_token() -> Result<()> {
    let broker = broker()?;
    let tokens = Tokens::start(OAUTH[1], Duration::from_secs(600))?;
    broker.plain.create(&["token-in:2", "token-out:1"])?;
    let records: Vec<_> = (0..50).map(|n| json!({"key": format!("{n}"), "value": format!("value {n}")})).collect();
    broker.plain.produce("token-in", &records)?;
    let handler = "org.apache.kafka.common.security.oauthbearer.secured.OAuthBearerLoginCallbackHandler";
    let module = "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required clientId='thal weg' clientSecret=";
    let java = set(&[
        ("security.protocol", "SASL_SSL"),
        ("ssl.ca.location", &broker.key("ca.pem")),
        ("sasl.mechanism", "OAUTHBEARER"),
        ("sasl.login.callback.handler.class", handler),
        ("sasl.oauthbearer.token.endpoint.url", &tokens.url("/token")),
        ("sasl.jaas.config", &format!("{module}'{}' extension_logicalCluster='lkc-1';", OAUTH[0])),
    ]);
    Run::thalweg()?.arg("run").args(java).arg(copying(broker.login.bootstrap(), "token-in", "token-out", "")?).ok()?;
    let found = broker.plain.dump("token-out")?.len();
    ensure!(found == records.len(), "{found} records of {}", records.len());
    // one for all clients of the process
    ensure!(tokens.asked() == [("grant_type=client_credentials".to_owned(), 200)], "{:?}", tokens.asked());
    Ok(())
}

#[test]
fn a_cluster_lives_longer_than_its_tokens() -> Result<()> {
    const LIVES: Duration = Duration::from_secs(10);
    let broker = broker()?;
    let tokens = Tokens::start(OAUTH[1], LIVES)?;
    let args = oauth(broker, &tokens.url("/token"), OAUTH[0]);
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let mut one = Member::new(&broker.login, "tokens", &args)?.of("tokens");
    let begun = Instant::now();
    one.start()?;
    let mut job = Counting::new(&broker.login, "tokens", 5)?;
    job.give(100)?;
    let id = job.submit(&one)?;
    // the broker ends connections whose token has ended
    for lives in [0, 2] {
        while begun.elapsed() < LIVES * lives {
            std::thread::sleep(Duration::from_millis(50));
        }
        job.give(50)?;
        job.settle(SETTLED_WITHIN).with_context(|| one.log())?;
    }
    one.job(&["drain", &id])?;
    ensure!(one.job(&["wait", &id])? == "DRAINED", "{}", one.log());
    job.check_minutes()?;
    // admin clients, consumers and producers share each token
    let (asked, most) = (tokens.asked(), begun.elapsed().as_secs() / (LIVES.as_secs() * 4 / 5) + 1);
    let wanted = ("grant_type=client_credentials&scope=kafka%20all".to_owned(), 200);
    ensure!(asked.iter().all(|asked| *asked == wanted), "{asked:?}");
    ensure!((3..=most).contains(&(asked.len() as u64)), "{} questions, at most {most}", asked.len());
    Ok(())
}

#[test]
fn who_gets_no_token_or_a_wrong_one_is_told_why_in_time() -> Result<()> {
    let broker = broker()?;
    let tokens = Tokens::start(OAUTH[1], Duration::from_secs(60))?;
    let login = broker.login.bootstrap();
    let with = |path: &str, secret: &str| oauth(broker, &tokens.url(path), secret);
    let loud = [vec!["--log-level".to_owned(), "debug".to_owned()], with("/token", "secret of nobody")].concat();
    are_told(&[
        ("a wrong secret", login, loud, "KAFKA_AUTH", &["invalid_client", "sasl.oauthbearer.client.secret"]),
        ("no token", login, with("/nonsense", OAUTH[0]), "KAFKA_TOKEN", &["no JSON", "token.endpoint.url"]),
        (
            "nobody gives tokens",
            login,
            oauth(broker, "http://127.0.0.1:1/token", OAUTH[0]),
            "KAFKA_TOKEN",
            &["http://127.0.0.1:1/token", "token.endpoint.url"],
        ),
        ("a token of nobody", login, with("/nobody", OAUTH[0]), "KAFKA_AUTH", &["sasl.oauthbearer.scope", login]),
    ])?;
    let refused = tokens.asked().iter().filter(|(_, status)| *status == 401).count();
    ensure!(refused == 1, "a wrong secret was shown {refused} times");
    Ok(())
}

#[test]
fn a_process_of_a_cluster_that_is_turned_away_ends() -> Result<()> {
    let broker = broker()?;
    let serve = |bootstrap: &str, properties: &[(&str, &str)]| -> Result<Ended> {
        Run::thalweg()?
            .args(["serve", "--cluster", "turned", "--bootstrap", bootstrap, "--state-dir"])
            .arg(watchdog::folder("turned")?)
            .arg(format!("--port={}", free_port()?))
            .args(set(properties))
            .limit(180)
            .end()
    };
    let (ca, login) = (broker.key("ca.pem"), broker.login.bootstrap());
    let ended = serve(
        login,
        &[
            ("security.protocol", "SASL_SSL"),
            ("sasl.mechanism", "PLAIN"),
            ("ssl.ca.location", &ca),
            ("sasl.jaas.config", "PlainLoginModule required username=plain password='secret of another';"),
        ],
    )?;
    told(&ended, "KAFKA_AUTH", &["sasl.password"])?;
    let ended = serve(broker.certificate.bootstrap(), &[("security.protocol", "SSL")])?;
    told(&ended, "KAFKA_TLS", &["ssl.ca.location"])
}

#[test]
fn secrets_of_a_pipeline_are_not_shown() -> Result<()> {
    let login = "security.protocol: SASL_SSL, sasl.mechanism: SCRAM-SHA-512, sasl.username: scram, sasl.password: secret of nobody";
    let file = copying("localhost:1", "a", "b", login)?;
    let plan = Run::thalweg()?.arg("plan").arg(&file).ok()?;
    ensure!(plan.out.contains("***") && plan.out.contains("sasl.username"), "{plan}");
    let ended = Run::thalweg()?.args(["run", "--log-level", "debug"]).arg(&file).end()?;
    told(&ended, "KAFKA_UNREACHABLE", &[])?;
    let login = "security.protocol: SASL_SSL, sasl.jaas.config: Module required password='secret of nobody'";
    let ended = Run::thalweg()?.arg("run").arg(copying("localhost:1", "a", "b", login)?).end()?;
    told(&ended, "KAFKA_PROPERTY_REFUSED", &["sasl.jaas.config"])?;
    for text in [plan.out, ended.out, ended.err] {
        ensure!(!text.contains(SECRET), "{text}");
    }
    Ok(())
}
