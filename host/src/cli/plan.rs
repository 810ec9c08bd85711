//! `thalweg plan`: what a pipeline file becomes.

use super::args::PlanArgs;
use super::exit::{Failed, print};
use super::table::table;
use crate::compose::payload::WasmCall;
use crate::compose::{ComponentStore, Composer, Settings, StateTtl, ttl};
use crate::native::Registry;
use crate::pipeline::show;
use crate::yaml;
use std::process::ExitCode;
use thalweg_beam::translate::{Role, Translation, translate};
use thalweg_core::graph::{Plan, Route, Stage, StageKind};

/// Shows transforms and stages.
pub fn plan(args: &PlanArgs) -> Result<ExitCode, Failed> {
    let settings = Settings {
        cache_dir: ComponentStore::default_cache_dir(),
        compiler: super::compiler(),
        state_ttl: StateTtl::of(&args.state_ttl.state_ttl)?,
        ..Settings::default()
    };
    let composer = Composer::new(settings, Registry::standard())?;
    let pipeline = yaml::load_file(&args.file.file, &args.file.values(), composer.components().as_ref())?;
    let mut text = "transforms\n\n".to_owned();
    for line in show(&pipeline).lines() {
        text.push_str(&format!("  {line}\n"));
    }
    print(&text)?;
    let mut translation = translate(pipeline)?;
    let plan = composer.plan(&mut translation)?;
    let rows: Vec<Vec<String>> =
        plan.stages.iter().map(|stage| row(&translation, &plan, stage, composer.components())).collect();
    print(&format!("\nstages\n\n{}", table(&rows, &[true])))?;
    let lives = ttl::lines(&plan);
    if !lives.is_empty() {
        print(&format!("\nstate\n\n  {}\n", lives.join("\n  ")))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn row(translation: &Translation, plan: &Plan, stage: &Stage, components: &ComponentStore) -> Vec<String> {
    let edges = stage.outputs.iter().flat_map(|port| &port.edges).filter_map(|id| plan.edges.get(id.0 as usize));
    let feeds: Vec<String> = edges.map(|edge| format!("{} {}", route(edge.route), edge.to.0)).collect();
    let arrow = if feeds.is_empty() { String::new() } else { format!("-> {}", feeds.join(", ")) };
    let what = match &stage.kind {
        StageKind::Worker(worker) => {
            let infos: Vec<_> = worker.transforms.iter().filter_map(|id| translation.transform(*id)).collect();
            let names: Vec<&str> = infos.iter().map(|i| i.name.as_str()).collect();
            let names = names.join(", ");
            match infos.first() {
                Some(info) if matches!(info.role, Role::Wasm(_)) => component(&info.payload, components),
                Some(info) if info.role == Role::Native => format!("native: {names}"),
                _ => format!("SDK worker: {names}"),
            }
        }
        _ => runner(stage),
    };
    vec![stage.id.0.to_string(), stage.name.clone(), what, arrow]
}

/// Function, file and digest of a component, and what of the machine it may see.
fn component(payload: &[u8], components: &ComponentStore) -> String {
    let Ok(call) = serde_json::from_slice::<WasmCall>(payload) else { return "component".to_owned() };
    let digest = components.load(&call).map(|c| c.digest().to_string()).unwrap_or_default();
    let short = digest.get(..12).unwrap_or_default();
    format!("component: `{}` of {} (sha256:{short}..), granted {}", call.function, call.component, call.grant)
}

/// What the engine itself does in a stage.
fn runner(stage: &Stage) -> String {
    match &stage.kind {
        StageKind::Source(_) => "source",
        StageKind::Impulse => "impulse",
        StageKind::Script(_) => "script",
        StageKind::Worker(_) => "worker",
        StageKind::Group(_) => "group by key and window",
        StageKind::View(_) => "side input",
        StageKind::Sink(_) => "sink",
    }
    .to_owned()
}

fn route(route: Route) -> &'static str {
    match route {
        Route::Local => "stage",
        Route::Keyed => "by key to stage",
        Route::Spread => "spread to stage",
        Route::Broadcast => "to all of stage",
        Route::Single => "to one of stage",
    }
}
