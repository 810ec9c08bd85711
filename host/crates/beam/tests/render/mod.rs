//! Translations, plans and descriptors as text for people.

use std::fmt::Write;
use thalweg_beam::descriptor::StageWire;
use thalweg_beam::translate::{Role, Translation};
use thalweg_core::coder::{Coder, Field};
use thalweg_core::graph::{CollectionId, Op, Plan, ScriptEvent, Stage, StageKind};
use thalweg_core::id::StageId;

/// All of it.
pub fn all(translation: &Translation, plan: &Plan, wires: &[StageWire]) -> String {
    let mut out = String::new();
    graph(translation, &mut out);
    stages(translation, plan, &mut out);
    wires.iter().for_each(|wire| descriptor(wire, &mut out));
    out
}

fn line(out: &mut String, text: std::fmt::Arguments<'_>) {
    let _ = writeln!(out, "{text}"); // a String takes everything
}

fn graph(translation: &Translation, out: &mut String) {
    line(out, format_args!("transforms"));
    for (transform, info) in translation.graph.transforms.iter().zip(&translation.transforms) {
        let (inputs, outputs) = (tagged(translation, &info.inputs), tagged(translation, &info.outputs));
        let role = match info.role {
            Role::Sdk(e) => format!("sdk {}", translation.environment(e).map_or("?", |e| e.proto.urn.as_str())),
            other => format!("{other:?}").to_lowercase(),
        };
        line(out, format_args!("  {} [{role}] {}", transform.name, info.urn));
        line(out, format_args!("    {inputs} -> {outputs}"));
        match &transform.op {
            Op::User(user) => {
                let sides: Vec<_> =
                    user.sides.iter().map(|(n, c, a)| format!("{n}={} {a:?}", name(translation, *c))).collect();
                let states: Vec<_> = info.states.iter().map(|s| format!("{} {:?}", s.name, s.kind)).collect();
                let timers: Vec<_> = user.timers.iter().map(|(n, d)| format!("{n} {d:?}")).collect();
                if user.keyed || !sides.is_empty() || user.begins_stage {
                    line(
                        out,
                        format_args!(
                            "    keyed={} begins={} states={states:?} timers={timers:?} sides={sides:?}",
                            user.keyed, user.begins_stage
                        ),
                    );
                }
            }
            Op::TestStream(events) => events.iter().for_each(|event| script_event(event, out)),
            _ => {}
        }
    }
    line(out, format_args!("collections"));
    for (collection, info) in translation.graph.collections.iter().zip(&translation.collections) {
        let (coder, window) = (coder(&collection.coder), info.wire.window);
        let windowing = &collection.windowing;
        line(
            out,
            format_args!(
                "  {}: {coder}, {window:?}, {:?} {:?}",
                collection.name, windowing.window_fn, windowing.trigger
            ),
        );
    }
}

fn script_event(event: &ScriptEvent, out: &mut String) {
    match event {
        ScriptEvent::Elements { output, batch } => {
            for row in batch.rows() {
                let (key, value) = (batch.key(row).escape_ascii(), batch.value(row).escape_ascii());
                line(out, format_args!("    output {output}: {key} {value} at {:?}", row.time));
            }
        }
        other => line(out, format_args!("    {other:?}")),
    }
}

fn name(translation: &Translation, id: CollectionId) -> &str {
    translation.graph.collection(id).map_or("?", |c| c.name.as_str())
}

fn tagged(translation: &Translation, ends: &[(String, CollectionId)]) -> String {
    let ends: Vec<_> = ends.iter().map(|(tag, c)| format!("{tag}:{}", name(translation, *c))).collect();
    format!("({})", ends.join(", "))
}

fn stages(translation: &Translation, plan: &Plan, out: &mut String) {
    line(out, format_args!("stages"));
    for stage in &plan.stages {
        line(out, format_args!("  {} {}", stage.id.0, kind(translation, stage)));
        for edge in stage.outputs.iter().flat_map(|o| &o.edges) {
            let edge = plan.edge(*edge);
            line(out, format_args!("    -> {} {:?}", edge.to.0, edge.route));
        }
    }
}

fn kind(translation: &Translation, stage: &Stage) -> String {
    match &stage.kind {
        StageKind::Worker(worker) => {
            let names: Vec<_> =
                worker.transforms.iter().map(|t| translation.transform(*t).map_or("?", |t| t.name.as_str())).collect();
            let keyed = if worker.keyed { "keyed " } else { "" };
            let views: Vec<StageId> = worker.sides.iter().map(|s| s.view).collect();
            format!("{keyed}worker {names:?} views {:?}", views.iter().map(|v| v.0).collect::<Vec<_>>())
        }
        StageKind::Group(group) => format!("group {} by {} of {}", stage.name, coder(&group.key), coder(&group.value)),
        StageKind::View(view) => format!("view {} {:?}", stage.name, view.access),
        StageKind::Impulse => format!("impulse {}", stage.name),
        StageKind::Script(_) => format!("script {}", stage.name),
        StageKind::Source(_) => format!("source {}", stage.name),
        StageKind::Sink(_) => format!("sink {}", stage.name),
    }
}

fn descriptor(wire: &StageWire, out: &mut String) {
    let made = &wire.descriptor;
    line(out, format_args!("descriptor {}", made.id));
    for (id, transform) in &made.transforms {
        let urn = transform.spec.as_ref().map_or("", |s| s.urn.as_str());
        line(out, format_args!("  {id} {urn} {:?} -> {:?}", transform.inputs, transform.outputs));
    }
    for (id, collection) in &made.pcollections {
        let windows = made.windowing_strategies.get(&collection.windowing_strategy_id);
        let windows = proto_coder(wire, windows.map_or("", |w| w.window_coder_id.as_str()));
        line(out, format_args!("  {id}: {} in {windows}", proto_coder(wire, &collection.coder_id)));
    }
    for input in &wire.inputs {
        line(out, format_args!("  in {} {} for {:?}", input.source, coder(&input.coder.element), input.consumers));
    }
    for output in &wire.outputs {
        line(out, format_args!("  out {} {}", output.sink, coder(&output.coder.element)));
    }
    for timer in &wire.timers {
        line(
            out,
            format_args!(
                "  timer {} {} {:?} key {}",
                timer.transform,
                timer.family,
                timer.domain,
                coder(&timer.coder.key)
            ),
        );
    }
    for state in &wire.states {
        line(out, format_args!("  state {} {} {:?}", state.transform, state.name, state.kind));
    }
    for side in &wire.sides {
        line(
            out,
            format_args!("  side {} {} {} -> {}", side.transform, side.name, coder(&side.key), coder(&side.value)),
        );
    }
}

fn proto_coder(wire: &StageWire, id: &str) -> String {
    let Some(coder) = wire.descriptor.coders.get(id) else { return format!("missing {id}") };
    let urn = coder.spec.as_ref().map_or("", |s| s.urn.as_str());
    let short = urn.trim_start_matches("beam:coder:").trim_end_matches(":v1");
    let parts: Vec<_> = coder.component_coder_ids.iter().map(|c| proto_coder(wire, c)).collect();
    if parts.is_empty() { short.to_owned() } else { format!("{short}<{}>", parts.join(", ")) }
}

fn coder(of: &Coder) -> String {
    match of {
        Coder::Kv(key, value) => format!("kv<{}, {}>", coder(key), coder(value)),
        Coder::Iterable(element) => format!("iterable<{}>", coder(element)),
        Coder::Nullable(inner) => format!("nullable<{}>", coder(inner)),
        Coder::ShardedKey(key) => format!("sharded_key<{}>", coder(key)),
        Coder::Row(fields) => format!("row{:?}", fields.iter().map(field).collect::<Vec<_>>()),
        simple => format!("{simple:?}"),
    }
}

fn field(of: &Field) -> String {
    format!("{of:?}")
}
