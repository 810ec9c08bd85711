//! Ground floor: the plan of a job whose partitions run apart, each with an epoch of its own.
//!
//! In: a [`Plan`]. Out: one in which every edge that leaves a partition ends in a sink and begins again at a source: between the
//! two lies a topic of the job, the *exchange*. So a partition hears of others only what they have committed.

use super::order::sort_stages;
use super::plan::{Edge, OutputPort, Plan, Route, Stage, StageKind};
use crate::error::Result;
use crate::id::{EdgeId, SinkId, SourceId, StageId, StateId};

/// An edge through the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exchange {
    /// Name of the edge, stable over plans: the topic is called after it.
    pub state: StateId,
    /// How its elements find their partition.
    pub route: Route,
    /// Its elements are pieces of work, which are dealt out one by one.
    pub pieces: bool,
    /// What writes it.
    pub sink: SinkId,
    /// What reads it.
    pub source: SourceId,
}

/// The plan with an exchange in place of every edge that is not local. Sources and sinks of exchanges stand behind those of the pipeline.
///
/// # Errors
/// `PIPELINE_INVALID` when a stage reads its own output as a side input.
pub fn distribute(plan: &Plan) -> Result<Plan> {
    let mut plan = plan.clone();
    let leaving: Vec<EdgeId> = plan.edges.iter().filter(|e| e.route != Route::Local).map(|e| e.id).collect();
    for id in leaving {
        divide(&mut plan, id);
    }
    sort_stages(&mut plan)?;
    Ok(plan)
}

/// Puts a sink and a source between the ends of an edge.
fn divide(plan: &mut Plan, id: EdgeId) {
    let edge = plan.edge(id).clone();
    let collection = plan.stage(edge.from).outputs.iter().find(|o| o.edges.contains(&id)).map(|o| o.collection);
    let Some(collection) = collection else { return };
    let (pieces, reader) = (plan.splits_work(edge.to), plan.stage(edge.to).name.clone());
    let name = format!("{reader}/exchange/{:016x}", edge.state.0);
    let (sink, source) = (SinkId(plan.sinks.len() as u32), SourceId(plan.sources.len() as u32));
    plan.sinks.push(StateId::derive(&name, "sink"));
    plan.sources.push(StateId::derive(&name, "source"));
    let writes = StageId(plan.stages.len() as u32);
    let reads = StageId(writes.0 + 1);
    let back = EdgeId(plan.edges.len() as u32);
    let stage = |id, part: &str, kind, inputs, outputs| Stage {
        id,
        name: format!("{name}/{part}"),
        kind,
        inputs,
        outputs,
        state: StateId::derive(&name, part),
    };
    let out = OutputPort { collection, edges: vec![back] };
    plan.stages.push(stage(writes, "write", StageKind::Sink(sink), vec![id], Vec::new()));
    plan.stages.push(stage(reads, "read", StageKind::Source(source), Vec::new(), vec![out]));
    plan.edges.push(Edge { id: back, from: reads, route: Route::Local, ..edge.clone() });
    for input in plan.stages.get_mut(edge.to.0 as usize).into_iter().flat_map(|s| &mut s.inputs) {
        if *input == id {
            *input = back;
        }
    }
    if let Some(edge) = plan.edges.get_mut(id.0 as usize) {
        edge.to = writes;
        edge.input = 0;
        edge.route = Route::Local;
        edge.state = StateId::derive(&name, "input");
    }
    plan.exchanges.push(Exchange { state: edge.state, route: edge.route, pieces, sink, source });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::CollectionId;

    #[test]
    fn an_edge_that_leaves_its_partition_goes_through_the_log() -> Result<()> {
        let stage = |id, name: &str, kind, inputs, outputs| Stage {
            id: StageId(id),
            name: name.to_owned(),
            kind,
            inputs,
            outputs,
            state: StateId::derive(name, "stage"),
        };
        let port = |edges| OutputPort { collection: CollectionId(0), edges };
        let edge = |id, to, route, name: &str| Edge {
            id: EdgeId(id),
            from: StageId(0),
            to: StageId(to),
            input: 3,
            route,
            state: StateId::derive(name, "edge"),
        };
        let plan = Plan {
            stages: vec![
                stage(0, "Read", StageKind::Source(SourceId(0)), vec![], vec![port(vec![EdgeId(0), EdgeId(1)])]),
                stage(1, "Here", StageKind::Sink(SinkId(0)), vec![EdgeId(0)], vec![]),
                stage(2, "There", StageKind::Sink(SinkId(1)), vec![EdgeId(1)], vec![]),
            ],
            edges: vec![edge(0, 1, Route::Local, "a"), edge(1, 2, Route::Keyed, "b")],
            sources: vec![StateId(1)],
            sinks: vec![StateId(2), StateId(3)],
            ..Plan::default()
        };
        let apart = distribute(&plan)?;
        assert!(apart.edges.iter().all(|e| e.route == Route::Local));
        assert!(apart.edges.iter().all(|e| e.from < e.to), "producers stand before consumers");
        let [exchange] = apart.exchanges.as_slice() else { unreachable!("one edge leaves") };
        assert_eq!((exchange.route, exchange.sink, exchange.source), (Route::Keyed, SinkId(2), SourceId(1)));
        let there = apart.stages.iter().find(|s| s.name == "There").map(|s| s.inputs.clone()).unwrap_or_default();
        let [input] = there.as_slice() else { unreachable!("it keeps its one input") };
        let input = apart.edge(*input);
        assert_eq!(
            (input.input, input.state),
            (3, StateId::derive("b", "edge")),
            "what is stored of it keeps its name"
        );
        assert!(matches!(apart.stage(input.from).kind, StageKind::Source(SourceId(1))));
        Ok(())
    }
}
