//! `thalweg job`: submits pipeline files to a server, and looks after jobs there.

use super::args::JobCommand;
use super::exit::{Failed, print};
use super::table::table;
use crate::compose::{ComponentStore, Composer, Settings, StateTtl, ttl};
use crate::native::Registry;
use crate::savepoint::{self, said};
use crate::yaml;
use std::process::ExitCode;
use thalweg_beam::job::JobClient;
use thalweg_core::error::Result;
use thalweg_proto::life::SavepointRequest;
use thalweg_proto::pipeline::Pipeline;

/// Submits, lists, follows, pauses, saves, drains or cancels.
pub fn job(command: &JobCommand) -> Result<ExitCode, Failed> {
    // read before anybody is asked
    let pipeline = match command {
        JobCommand::Submit(args) => {
            StateTtl::of(&args.state_ttl.state_ttl)?;
            Some(load(args)?)
        }
        _ => None,
    };
    let ended = super::asked(ask(command, pipeline))?;
    Ok(if ended == Some("FAILED") { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn load(args: &super::args::SubmitArgs) -> Result<Pipeline> {
    let settings =
        Settings { cache_dir: ComponentStore::default_cache_dir(), compiler: super::compiler(), ..Settings::default() };
    let composer = Composer::new(settings, Registry::standard())?;
    yaml::load_file(&args.file.file, &args.file.values(), composer.components().as_ref())
}

/// Gives the state in which a job that was followed ended.
async fn ask(command: &JobCommand, pipeline: Option<Pipeline>) -> Result<Option<&'static str>> {
    match command {
        JobCommand::Submit(args) => {
            let stem = args.file.file.file_stem().map(|stem| stem.to_string_lossy().into_owned());
            let name = args.name.clone().or(stem).unwrap_or_else(|| "job".to_owned());
            let mut client = JobClient::connect(&args.server.server).await?;
            let update = args.update.then(|| ("update".to_owned(), "true".to_owned()));
            let savepoint = args.from_savepoint.as_deref().map(said).transpose()?;
            let savepoint = savepoint.map(|place| (savepoint::FROM_SAVEPOINT.to_owned(), place));
            let ttl = &args.state_ttl.state_ttl;
            let ttl = (!ttl.is_empty()).then(|| (ttl::OPTION.to_owned(), ttl.join(",")));
            let options = args.options.iter().cloned().chain(ttl).chain(update).chain(savepoint).collect();
            let id = client.submit(&name, pipeline.unwrap_or_default(), &options).await?;
            print(&format!("{id}\n"))?;
            if args.wait { follow(&mut client, &id).await.map(Some) } else { Ok(None) }
        }
        JobCommand::List(server) => {
            let jobs = JobClient::connect(&server.server).await?.jobs().await?;
            let rows: Vec<_> = jobs.into_iter().map(|job| vec![job.id, job.name, job.state.to_owned()]).collect();
            print(&table(&rows, &[]))?;
            Ok(None)
        }
        JobCommand::Wait(args) => {
            let mut client = JobClient::connect(&args.server.server).await?;
            follow(&mut client, &args.job).await.map(Some)
        }
        JobCommand::Cancel(args) => {
            let state = JobClient::connect(&args.server.server).await?.cancel(&args.job).await?;
            print(&format!("{state}\n"))?;
            Ok(None)
        }
        JobCommand::Pause(args) => {
            let state = JobClient::connect(&args.server.server).await?.pause(&args.job).await?;
            print(&format!("{state}\n"))?;
            Ok(None)
        }
        JobCommand::Resume(args) => {
            let state = JobClient::connect(&args.server.server).await?.resume(&args.job).await?;
            print(&format!("{state}\n"))?;
            Ok(None)
        }
        JobCommand::Savepoint(args) => {
            let (job_id, to) = (args.job.job.clone(), said(&args.to)?);
            let directory = std::env::current_dir().map(|here| here.display().to_string()).unwrap_or_default();
            let mut client = JobClient::connect(&args.job.server.server).await?;
            let place = client.savepoint(SavepointRequest { job_id, to, stop: args.stop, directory }).await?;
            print(&format!("{place}\n"))?;
            if args.stop { follow(&mut client, &args.job.job).await.map(Some) } else { Ok(None) }
        }
        JobCommand::Drain(args) => {
            let state = JobClient::connect(&args.server.server).await?.drain(&args.job).await?;
            print(&format!("{state}\n"))?;
            Ok(None)
        }
    }
}

async fn follow(client: &mut JobClient, job: &str) -> Result<&'static str> {
    let state = client.follow(job, |said| eprintln!("{said}")).await?;
    print(&format!("{state}\n"))?;
    Ok(state)
}
