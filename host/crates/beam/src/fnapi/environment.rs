//! Environments: how a worker of a pipeline is started and stopped.
//!
//! In: a Beam `Environment`. Out: a worker that was ordered and connects to the given endpoints, or an error that names what
//! cannot be had and what to do instead. Knows nothing of bundles; `pool` and `process` know how to order.
//!
//! Source: `beam:env:{external,process,docker,default,anyof}:v1`.

use super::config::FnApiConfig;
use super::pool;
use super::process::{self, Process};
use prost::Message;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use thalweg_core::error::{Error, Result};
use thalweg_proto::pipeline::{
    AnyOfEnvironmentPayload, ArtifactInformation, DockerPayload, Environment as EnvironmentProto, ExternalPayload,
    ProcessPayload,
};

/// How to start a worker.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Environment {
    /// A worker pool is asked to start it. LOOPBACK is this, with the pool in the submitting program.
    External {
        /// Where the pool listens, `host:port`.
        pool: String,
        /// Handed through to the pool.
        params: BTreeMap<String, String>,
    },
    /// A command of this machine.
    Process {
        /// The program, which may be followed by arguments.
        command: String,
        /// Its environment variables, beside those of this process.
        env: BTreeMap<String, String>,
    },
    /// A container.
    Docker {
        /// Its image.
        image: String,
    },
}

/// What of this machine submitters may use for workers. By default nothing: who submits a command or an image runs it with
/// the rights of the server.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Allowed {
    /// Commands (PROCESS).
    pub process: bool,
    /// Images (DOCKER).
    pub docker: bool,
}

/// An environment that can be started here, and what its workers need of files.
#[derive(Clone, PartialEq, Debug)]
pub struct Chosen {
    /// How it is started.
    pub environment: Environment,
    /// Its artifacts.
    pub dependencies: Vec<ArtifactInformation>,
}

/// What a worker must be told when it is started.
#[derive(Clone, Debug, Default)]
pub(super) struct Endpoints {
    /// Control, data, state, logging, provision and status.
    pub services: String,
    /// Artifact retrieval, served by somebody else.
    pub artifacts: String,
}

/// A worker that was ordered.
pub(super) enum Ordered {
    /// From this pool.
    Pooled(String),
    /// A process of ours.
    Process(Box<Process>),
}

impl Environment {
    /// Chooses how the workers of an environment are started: of alternatives the first that can be. Asked when a job is
    /// prepared, so that nobody waits to be refused.
    ///
    /// # Errors
    /// `ENVIRONMENT_UNSUPPORTED` for what cannot be started here, `ENVIRONMENT_NOT_ALLOWED` for what the server was not
    /// allowed to start, `ENVIRONMENT_INVALID` for a payload that cannot be read; of several alternatives the first one's.
    pub fn choose(proto: &EnvironmentProto, allowed: Allowed) -> Result<Chosen> {
        if proto.urn != "beam:env:anyof:v1" {
            let environment = Self::from_proto(proto)?;
            environment.supported(allowed)?;
            return Ok(Chosen { environment, dependencies: proto.dependencies.clone() });
        }
        let payload = AnyOfEnvironmentPayload::decode(proto.payload.clone()).map_err(|e| invalid(proto, &e))?;
        let mut first = None;
        for inner in &payload.environments {
            match Self::choose(inner, allowed) {
                Ok(mut chosen) => {
                    chosen.dependencies.extend(proto.dependencies.iter().cloned());
                    return Ok(chosen);
                }
                Err(error) => first = first.or(Some(error)),
            }
        }
        Err(first.unwrap_or_else(|| unsupported("an environment without alternatives")))
    }

    /// Reads an environment that is not one of alternatives.
    fn from_proto(proto: &EnvironmentProto) -> Result<Self> {
        match proto.urn.as_str() {
            "beam:env:external:v1" => {
                let payload = ExternalPayload::decode(proto.payload.clone()).map_err(|e| invalid(proto, &e))?;
                let pool = payload.endpoint.map(|e| e.url).unwrap_or_default();
                Ok(Self::External { pool, params: payload.params })
            }
            "beam:env:process:v1" => {
                let payload = ProcessPayload::decode(proto.payload.clone()).map_err(|e| invalid(proto, &e))?;
                Ok(Self::Process { command: payload.command, env: payload.env })
            }
            "beam:env:docker:v1" => {
                let payload = DockerPayload::decode(proto.payload.clone()).map_err(|e| invalid(proto, &e))?;
                Ok(Self::Docker { image: payload.container_image })
            }
            other => Err(unsupported(&format!("the environment {other}"))),
        }
    }

    /// Whether it can be started here.
    fn supported(&self, allowed: Allowed) -> Result<()> {
        match self {
            Self::External { pool, .. } if pool.is_empty() => {
                Err(Error::user("ENVIRONMENT_INVALID", "an external environment has no endpoint of a worker pool")
                    .help("set --environment_config=localhost:50000, or use --environment_type=LOOPBACK"))
            }
            Self::External { .. } => Ok(()),
            Self::Process { command, .. } if !allowed.process => {
                Err(not_allowed(&format!("worker processes (`{command}`)"), "--allow-process-workers"))
            }
            Self::Process { command, .. } => process::words(command).map(drop),
            Self::Docker { image } if find("docker").is_none() => Err(unsupported(&format!(
                "a Docker worker ({image}): there is no docker on this machine's PATH, so it"
            ))),
            Self::Docker { image } if !allowed.docker => {
                Err(not_allowed(&format!("Docker workers ({image})"), "--allow-docker-workers"))
            }
            Self::Docker { .. } => Ok(()),
        }
    }

    /// Asks for a worker. Returns when it is ordered, which is before it is connected.
    pub(super) async fn start(&self, worker: &str, endpoints: &Endpoints, config: &FnApiConfig) -> Result<Ordered> {
        match self {
            Self::External { pool, params } => {
                pool::start(pool, params, worker, endpoints, config).await?;
                Ok(Ordered::Pooled(pool.clone()))
            }
            Self::Process { command, env } => {
                let (program, mut arguments) = process::words(command)?;
                arguments.extend(boot_arguments(worker, endpoints));
                Ok(Ordered::Process(Box::new(Process::start(&program, &arguments, env, worker)?)))
            }
            Self::Docker { image } => {
                let program = find("docker").unwrap_or_else(|| PathBuf::from("docker"));
                let arguments = docker_arguments(image, worker, endpoints);
                Ok(Ordered::Process(Box::new(Process::start(&program, &arguments, &BTreeMap::new(), worker)?)))
            }
        }
    }
}

impl Ordered {
    /// Waits until the worker has ended, as far as that can be seen from here, and says how.
    pub async fn over(&mut self) -> Error {
        match self {
            Self::Pooled(_) => std::future::pending().await,
            Self::Process(process) => process.over().await,
        }
    }

    /// Has it stopped. Failing is no harm: a worker ends when its control stream does.
    pub async fn stop(self, worker: &str, config: &FnApiConfig) {
        match self {
            Self::Pooled(pool) => pool::stop(&pool, worker, config).await,
            Self::Process(process) => process.stop(config.stop_timeout).await,
        }
    }
}

/// What Beam's boot programs are told. Source: `sdks/{python,java,go}/container/boot.go`.
fn boot_arguments(worker: &str, endpoints: &Endpoints) -> Vec<String> {
    let Endpoints { services, artifacts } = endpoints;
    vec![
        format!("--id={worker}"),
        format!("--logging_endpoint={services}"),
        format!("--artifact_endpoint={artifacts}"),
        format!("--provision_endpoint={services}"),
        format!("--control_endpoint={services}"),
    ]
}

/// A container that sees this machine's loopback interface, where the services are, and goes when it ends. In the
/// foreground, so that it has a life that can be watched; the signals that end it are passed on by docker.
fn docker_arguments(image: &str, worker: &str, endpoints: &Endpoints) -> Vec<String> {
    let name = format!("--name=thalweg-{}-{worker}", std::process::id());
    let mut arguments = vec!["run".to_owned(), "--rm".to_owned(), "--network=host".to_owned(), name];
    arguments.push(image.to_owned());
    arguments.extend(boot_arguments(worker, endpoints));
    arguments
}

/// A program of the PATH.
pub(super) fn find(name: &str) -> Option<PathBuf> {
    use std::os::unix::fs::PermissionsExt as _;
    let runs = |path: &Path| path.metadata().is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0);
    std::env::split_paths(&std::env::var_os("PATH")?).map(|dir| dir.join(name)).find(|path| runs(path))
}

fn invalid(proto: &EnvironmentProto, why: &prost::DecodeError) -> Error {
    Error::user("ENVIRONMENT_INVALID", format!("the payload of environment {} cannot be read: {why}", proto.urn)).help(
        "this is a fault of the SDK that built the pipeline, or its version is not the one of the server's protocol",
    )
}

fn unsupported(what: &str) -> Error {
    Error::user("ENVIRONMENT_UNSUPPORTED", format!("{what} cannot be started here"))
        .help("use --environment_type=LOOPBACK, or EXTERNAL with a running worker pool")
}

fn not_allowed(what: &str, flag: &str) -> Error {
    Error::user("ENVIRONMENT_NOT_ALLOWED", format!("this server does not start {what}")).help(format!(
        "use --environment_type=LOOPBACK; or start the server with {flag}, which lets whoever can submit run commands on it"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use thalweg_proto::pipeline::ApiServiceDescriptor;

    const ALL: Allowed = Allowed { process: true, docker: true };

    fn proto(urn: &str, payload: &impl Message) -> EnvironmentProto {
        EnvironmentProto { urn: urn.to_owned(), payload: payload.encode_to_vec().into(), ..Default::default() }
    }

    fn external(url: &str) -> EnvironmentProto {
        let endpoint = Some(ApiServiceDescriptor { url: url.to_owned(), ..Default::default() });
        proto("beam:env:external:v1", &ExternalPayload { endpoint, ..Default::default() })
    }

    fn process(command: &str) -> EnvironmentProto {
        proto("beam:env:process:v1", &ProcessPayload { command: command.to_owned(), ..Default::default() })
    }

    fn docker() -> EnvironmentProto {
        proto("beam:env:docker:v1", &DockerPayload { container_image: "apache/beam_python3.11_sdk:2.77.0".to_owned() })
    }

    fn any(environments: Vec<EnvironmentProto>) -> EnvironmentProto {
        proto("beam:env:anyof:v1", &AnyOfEnvironmentPayload { environments })
    }

    fn chosen(proto: &EnvironmentProto, allowed: Allowed) -> Environment {
        Environment::choose(proto, allowed).expect("one can be started").environment
    }

    #[test]
    fn a_docker_environment_is_refused_with_the_way_out() {
        let refused = Environment::choose(&docker(), Allowed::default()).expect_err("not allowed, or no docker");
        assert!(["ENVIRONMENT_UNSUPPORTED", "ENVIRONMENT_NOT_ALLOWED"].contains(&refused.code), "{refused}");
        assert!(refused.message.contains("beam_python") && refused.help.contains("LOOPBACK"), "{refused:?}");
    }

    #[test]
    fn a_command_runs_only_where_the_server_allows_it() {
        let refused = Environment::choose(&process("sh"), Allowed::default()).expect_err("not allowed");
        assert_eq!(refused.code, "ENVIRONMENT_NOT_ALLOWED");
        assert!(
            refused.help.contains("--allow-process-workers") && refused.help.contains("LOOPBACK"),
            "{}",
            refused.help
        );
        assert!(matches!(chosen(&process("sh"), ALL), Environment::Process { .. }));
        let refused = Environment::choose(&process("no-such-program-anywhere"), ALL).expect_err("not there");
        assert_eq!(refused.code, "ENVIRONMENT_INVALID");
    }

    #[test]
    fn of_alternatives_the_first_that_can_be_started_is_taken_with_its_own_artifacts() {
        let artifact = |name: &str| ArtifactInformation { role_urn: name.to_owned(), ..Default::default() };
        let mut pool = external("localhost:5");
        pool.dependencies = vec![artifact("of the pool")];
        let mut command = process("sh");
        command.dependencies = vec![artifact("of the command")];
        let unknown = EnvironmentProto { urn: "beam:env:moon:v1".to_owned(), ..Default::default() };
        let all = any(vec![unknown, command, any(vec![pool])]);
        let strict = Environment::choose(&all, Allowed::default()).expect("the pool");
        assert!(matches!(&strict.environment, Environment::External { pool, .. } if pool == "localhost:5"));
        assert_eq!(strict.dependencies, [artifact("of the pool")]);
        let lenient = Environment::choose(&all, ALL).expect("the command");
        assert_eq!(lenient.dependencies, [artifact("of the command")]);
    }

    #[test]
    fn when_no_alternative_can_be_started_the_first_one_says_why() {
        let refused = Environment::choose(&any(vec![process("sh"), external("")]), Allowed::default());
        assert_eq!(refused.expect_err("neither").code, "ENVIRONMENT_NOT_ALLOWED");
        assert_eq!(Environment::choose(&any(vec![]), ALL).expect_err("none").code, "ENVIRONMENT_UNSUPPORTED");
    }

    #[test]
    fn a_container_is_told_what_beams_boot_program_reads() {
        let endpoints = Endpoints { services: "localhost:1".to_owned(), artifacts: "localhost:2".to_owned() };
        let line = docker_arguments("apache/beam_go_sdk:2.77.0", "job-1-0", &endpoints);
        let name = format!("--name=thalweg-{}-job-1-0", std::process::id());
        assert_eq!(
            line,
            [
                "run",
                "--rm",
                "--network=host",
                name.as_str(),
                "apache/beam_go_sdk:2.77.0",
                "--id=job-1-0",
                "--logging_endpoint=localhost:1",
                "--artifact_endpoint=localhost:2",
                "--provision_endpoint=localhost:1",
                "--control_endpoint=localhost:1",
            ]
        );
    }
}
